"""Older result documents to the present form, one step per version.

A document is the JSON of ``result.json`` as plain values. The version changes only when the place
or the meaning of something changes; a field that is merely new has a default and needs no step.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping

from bench.errors import DataError

_NOT_RECORDED = "not recorded in version 1 of the result"

# Version 1 called the harness's interpreter simply Python; the trainer has one of its own.
_RENAMED_FACTS = {
    "python_version": "harness_python_version",
    "python_executable": "harness_python_executable",
}
_STATE_FACTS = ("load_average_1min",)


def upgrade_document(plain: Mapping[str, Any], source: str, version: int) -> Dict[str, Any]:
    """Brings a document to a version; the input stays as it is.

    Args:
        plain: the document.
        source: where it comes from, for messages.
        version: the version wanted.

    Raises:
        DataError: no result, newer than the version, or not whole.
    """
    found = plain.get("schema_version")
    if not isinstance(found, int) or isinstance(found, bool):
        raise DataError(f"{source} is not a result: it has no schema_version")
    if found > version:
        raise DataError(
            f"{source} has schema version {found}, this ascend-bert reads up to {version}; "
            "use a newer one"
        )
    document = dict(plain)
    for step in range(found, version):
        if step not in UPGRADERS:
            raise DataError(f"{source} has schema version {step}, which never existed")
        try:
            document = UPGRADERS[step](document)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{source} is not a whole result: {error}") from error
        document["schema_version"] = step + 1
    return document


def _upgrade_1_to_2(document: Mapping[str, Any]) -> Dict[str, Any]:
    """The environment: one flat mapping becomes facts, reasons of absence, and state."""
    found = dict(document["found"])
    flat = dict(found.get("environment", {}))
    if "facts" not in flat:
        state = {key: flat.pop(key, None) for key in _STATE_FACTS}
        facts = {_RENAMED_FACTS.get(key, key): value for key, value in flat.items()}
        found["environment"] = _with_reasons(facts)
        found["state_before"] = _with_reasons(state)
    return {**document, "found": found}


def _with_reasons(facts: Mapping[str, Any]) -> Dict[str, Any]:
    absent = {key: _NOT_RECORDED for key, value in facts.items() if value is None}
    return {"facts": dict(facts), "absent": absent}


def _upgrade_2_to_3(document: Mapping[str, Any]) -> Dict[str, Any]:
    """Intervals: up to version 2 the reason was what the log told, and no time was kept."""
    ranks = []
    for rank in document["ranks"]:
        columns = dict(rank.get("intervals", {}))
        if "reason" in columns:
            columns.setdefault("told", list(columns["reason"]))
            columns.setdefault("wall_seconds", [None] * len(columns["reason"]))
        ranks.append({**rank, "intervals": columns})
    return {**document, "ranks": ranks}


UPGRADERS: Dict[int, Callable[[Mapping[str, Any]], Dict[str, Any]]] = {
    1: _upgrade_1_to_2,
    2: _upgrade_2_to_3,
}
"""Version → how it becomes the next one."""
