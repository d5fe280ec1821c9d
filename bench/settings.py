"""Settings: how a dataclass declares one, and how YAML or a command line gives its value."""

from __future__ import annotations

import math
import shlex
from dataclasses import field
from typing import Any, Iterable, List, Mapping, Optional, Sequence, Tuple

from bench.errors import UsageError


def setting(
    default: Any,
    kind: str,
    text: str,
    *,
    minimum: Optional[float] = None,
    maximum: Optional[float] = None,
    choices: Optional[Sequence[str]] = None,
) -> Any:
    """Declares a setting: its kind and the bounds that :func:`parse_value` enforces."""
    return field(
        default=default,
        metadata={
            "kind": kind,
            "help": text,
            "minimum": minimum,
            "maximum": maximum,
            "choices": choices,
        },
    )


def parse_value(source: str, key: str, raw: Any, declared: Mapping[str, Any]) -> Any:
    """Checks a raw value against the declaration of its setting.

    Args:
        source: where it comes from, for messages.
        key: dotted name, for messages.
        raw: what YAML or the command line gave.
        declared: metadata of the field, and its default.

    Raises:
        UsageError: wrong type, out of bounds, or none of the choices.
    """
    if raw is None:
        if declared["default"] is None:
            return None
        raise UsageError(f"{source}: {key} needs a value")
    if raw in ([], ()) and declared["default"] == ():
        return ()
    value: Any = _PARSERS[declared["kind"]](source, key, raw)
    numbers: Iterable[Any] = value if declared["kind"] == "ints" else (value,)
    for number in numbers:
        _check_bounds(source, key, number, declared)
    choices = declared["choices"]
    if choices and value not in choices:
        raise UsageError(
            "{}: {} must be one of {}, got {!r}".format(source, key, ", ".join(choices), value)
        )
    return value


def _check_bounds(source: str, key: str, number: Any, declared: Mapping[str, Any]) -> None:
    low, high = declared["minimum"], declared["maximum"]
    if low is not None and number < low:
        raise UsageError(f"{source}: {key} must be at least {low:g}, got {number}")
    if high is not None and number > high:
        raise UsageError(f"{source}: {key} must be at most {high:g}, got {number}")


def _wrong_type(source: str, key: str, wanted: str, raw: Any) -> UsageError:
    return UsageError(f"{source}: {key} must be {wanted}, got {raw!r}")


def _parse_int(source: str, key: str, raw: Any) -> int:
    if isinstance(raw, bool):
        raise _wrong_type(source, key, "a whole number", raw)
    try:
        number = int(raw) if not isinstance(raw, float) else (int(raw) if raw == int(raw) else None)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None:
        raise _wrong_type(source, key, "a whole number", raw)
    return number


def _parse_float(source: str, key: str, raw: Any) -> float:
    # YAML 1.1 reads 1e-4 (no dot) as a word, so words are tried as numbers too.
    if isinstance(raw, bool):
        raise _wrong_type(source, key, "a number", raw)
    try:
        number = float(raw)
    except (TypeError, ValueError) as error:
        raise _wrong_type(source, key, "a number", raw) from error
    if not math.isfinite(number):
        raise _wrong_type(source, key, "a finite number", raw)
    return number


def _parse_share(source: str, key: str, raw: Any) -> float:
    if isinstance(raw, str) and raw.strip().endswith("%"):
        return _parse_float(source, key, raw.strip()[:-1]) / 100.0
    return _parse_float(source, key, raw)


def _parse_bool(source: str, key: str, raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise _wrong_type(source, key, "true or false", raw)
    return raw


def _parse_str(source: str, key: str, raw: Any) -> str:
    if not isinstance(raw, str) or not raw or "\0" in raw:
        raise _wrong_type(source, key, "a word", raw)
    return raw


def _parse_ints(source: str, key: str, raw: Any) -> Tuple[int, ...]:
    if isinstance(raw, str):
        parts: List[Any] = [part.strip() for part in raw.split(",")]
    elif isinstance(raw, (list, tuple)):
        parts = list(raw)
    else:
        parts = [raw]
    if not parts or parts == [""]:
        raise _wrong_type(source, key, "a list of whole numbers like 1,2,8", raw)
    return tuple(_parse_int(source, key, part) for part in parts)


def _parse_words(source: str, key: str, raw: Any) -> Tuple[str, ...]:
    if "\0" in str(raw):
        raise _wrong_type(source, key, "a command line", raw)
    if isinstance(raw, str):
        try:
            return tuple(shlex.split(raw))
        except ValueError as error:
            raise _wrong_type(source, key, "a command line with closed quotes", raw) from error
    if isinstance(raw, (list, tuple)) and all(isinstance(word, str) for word in raw):
        return tuple(raw)
    raise _wrong_type(source, key, "a command line", raw)


_PARSERS = {
    "int": _parse_int,
    "float": _parse_float,
    "share": _parse_share,
    "bool": _parse_bool,
    "str": _parse_str,
    "ints": _parse_ints,
    "words": _parse_words,
}
