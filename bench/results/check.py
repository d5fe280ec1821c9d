"""Holds a result document to the JSON Schema of its version, before anything believes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Mapping

import jsonschema

from bench.errors import DataError

_FOLDER = Path(__file__).resolve().parent / "schema"


def read_schema(version: int) -> Dict[str, Any]:
    """The JSON Schema of a version.

    Raises:
        DataError: there is no such version.
    """
    path = _FOLDER / f"result-v{version}.json"
    if not path.is_file():
        raise DataError(f"there is no schema of result version {version}")
    schema: Dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return schema


def check_document(plain: Mapping[str, Any], source: str) -> None:
    """Checks a document as it stands in its file, words for NaN and infinity included.

    Raises:
        DataError: it breaks the schema; the message names the place and the first thing wrong.
    """
    version = plain.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise DataError(f"{source} is not a result: it has no schema_version")
    validator = jsonschema.Draft7Validator(read_schema(version))
    errors = sorted(validator.iter_errors(plain), key=lambda error: [str(p) for p in error.path])
    if errors:
        place = "/".join(str(part) for part in errors[0].absolute_path) or "the top"
        raise DataError(f"{source} breaks the result schema at {place}: {errors[0].message[:200]}")
    for index, rank in enumerate(plain["ranks"]):
        for name in ("intervals", "losses"):
            _check_columns(rank.get(name, {}), f"{source}: ranks/{index}/{name}")


def _check_columns(columns: Mapping[str, List[Any]], place: str) -> None:
    # JSON Schema cannot say that columns are equally long.
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise DataError(f"{place}: the columns differ in length: {sorted(lengths)}")
