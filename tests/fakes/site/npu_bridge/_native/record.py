"""Writes down what the adapter is given."""

import json
import os


def write(event, **facts):
    """Appends one JSON object to the file named by FAKE_NPU_RECORD, if there is one."""
    path = os.getenv("FAKE_NPU_RECORD")
    if path:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps({"event": event, **facts}, default=_describe) + "\n")


def _describe(value):
    """Objects of the adapter as their attributes, anything else as its name."""
    name = type(value).__name__
    if name in ("ProfilingConfig", "DumpConfig", "DynamicInputConfig"):
        return {key.lstrip("_"): item for key, item in vars(value).items()}
    if isinstance(value, bytes):
        return value.decode()
    return name
