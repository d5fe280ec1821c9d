"""Checks that all functions of this package share."""

WORLD_GROUP = "hccl_world_group"


def check_group(group):
    """Raises ValueError unless `group` is a name that HCCL takes."""
    if not isinstance(group, str):
        raise ValueError(f"group name must be a str, not {type(group).__name__}")
    if not 0 < len(group) <= 127:
        raise ValueError(f"group name must have 1 to 127 characters, not {len(group)}")


def check_number(value, name):
    """Raises ValueError unless `value` is a whole number from 0 on."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{name} must be an int from 0 on, not {value!r}")
