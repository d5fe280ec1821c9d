"""JSON files of data sets and predictions, read with messages that name file and line."""

from __future__ import annotations

import json
from typing import Any

from bert.downstream.readers.lines import BYTE_ORDER_MARK
from bert.errors import DataError


def read_json(path: str) -> Any:
    """Reads a JSON file in UTF-8, with or without byte-order mark.

    Raises:
        DataError: it is unreadable, empty, not UTF-8 or not JSON.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read()
        text = data.decode("utf-8")
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{line}: not UTF-8 ({error.reason}); convert the file, for example with iconv"
        ) from error
    if not text.strip(BYTE_ORDER_MARK + " \t\r\n"):
        raise DataError(f"{path} is empty; a JSON file is wanted")
    try:
        return json.loads(text[1:] if text.startswith(BYTE_ORDER_MARK) else text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is no data set: its JSON is {_describe(error)}") from error


def _describe(error: Exception) -> str:
    # Python refuses numbers of thousands of digits, and lists within lists without end.
    return "nested too deep" if isinstance(error, RecursionError) else f"refused: {error}"


def check_encodable(text: str, source: str) -> None:
    """Raises DataError for half a surrogate pair: JSON can escape one, UTF-8 cannot hold it."""
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise DataError(f"{source}: half a surrogate pair is no character; write the whole pair")
