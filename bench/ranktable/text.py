"""JSON of a rank table to plain objects: bounded, without repeated keys, refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping, NoReturn, Tuple

from bench.errors import UsageError

MAX_BYTES = 4 << 20
"""A table of 4,096 ranks takes some 500 kB."""
_SHOWN = 60
_LONGEST_NUMBER = 20


def read_text_file(path: Path, what: str) -> str:
    """Reads a small UTF-8 file.

    Raises:
        UsageError: not a readable file, too large, or not UTF-8.
    """
    try:
        if path.is_dir():
            raise UsageError(f"{what} {path} is a folder; a file is wanted")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(f"{what} {path} is larger than {MAX_BYTES >> 20} MiB")
        return data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path} is not UTF-8 at byte {error.start}") from error
    except ValueError as error:  # a NUL in the path
        raise UsageError(f"{what} {str(path)!r} cannot be read: {error}") from error


def parse_json_object(text: str, source: str) -> Dict[str, Any]:
    """Parses JSON whose outermost value is an object.

    Raises:
        UsageError: not such JSON; the message has the place.
    """

    def fail(message: str) -> NoReturn:
        raise UsageError(f"rank table {source}: {message}")

    def build_object(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        plain: Dict[str, Any] = {}
        for key, value in pairs:
            if key in plain:
                fail(f"the key {shorten(key)} stands twice in one object")
            plain[key] = value
        return plain

    def build_number(digits: str) -> int:
        # Python's time for a number grows with the square of its length.
        if len(digits) > _LONGEST_NUMBER:
            fail(f"a number of {len(digits)} digits")
        return int(digits)

    try:
        loaded = json.loads(text, object_pairs_hook=build_object, parse_int=build_number)
    except RecursionError:
        fail("the values lie in each other too deep")
    except ValueError as error:
        fail(f"not valid JSON: {' '.join(str(error).split())}")
    if not isinstance(loaded, dict):
        fail(f"must be a JSON object, found {describe_kind(loaded)}")
    return loaded


def shorten(value: Any) -> str:
    """``repr`` of a value from a file, cut to what fits a message."""
    if isinstance(value, (dict, list)):
        return describe_kind(value)
    text = ascii(value[: 2 * _SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def describe_kind(value: Any) -> str:
    """What kind of JSON value something is, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: Mapping[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a text",
        int: "a number",
        float: "a number",
    }
    return names[type(value)]
