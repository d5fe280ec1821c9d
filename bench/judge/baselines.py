"""Baseline files: launches that later ones are held against, with who chose them and why.

A file holds what judging needs of each launch and no raw data, so that it can be committed. It
grows by promotion: a new one replaces the launches or adds to them, and every one is recorded.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import jsonschema

from bench.errors import DataError, NoVerdictError, UsageError
from bench.judge.launches import Launch, get_cards, group_cases, group_nights
from bench.results.fingerprint import Fingerprint
from bench.results.store import write_text_atomically

BASELINE_VERSION = 1

_SCHEMA = Path(__file__).resolve().parent / "schema" / "baseline-v1.json"


@dataclass(frozen=True)
class Promotion:
    """One decision to make launches a baseline.

    Attributes:
        at: ISO 8601, UTC.
        by: who decided.
        why: in words.
        run_ids: launches that it brought in.
        replaced: whether those before it were dropped.
    """

    at: str
    by: str
    why: str
    run_ids: Tuple[str, ...]
    replaced: bool


@dataclass(frozen=True)
class Baseline:
    """Launches with their history.

    Attributes:
        promotions: oldest first.
        launches: that count now.
    """

    promotions: Tuple[Promotion, ...]
    launches: Tuple[Launch, ...]


def is_baseline(plain: object) -> bool:
    """Whether a JSON document is a baseline file."""
    return isinstance(plain, dict) and "baseline_version" in plain


def promote_launches(
    earlier: Sequence[Baseline],
    launches: Sequence[Launch],
    at: str,
    by: str,
    why: str,
    add: bool = False,
) -> Baseline:
    """Makes launches a baseline.

    Args:
        earlier: the baseline so far, or none.
        launches: to be promoted; all must be usable.
        at: now, ISO 8601, UTC.
        by: who decides.
        why: in words.
        add: keep the launches so far, too.

    Raises:
        NoVerdictError: a launch failed or is not valid: a baseline must be sound.
        UsageError: nobody or no reason is named, or there is nothing to promote.
    """
    if not by.strip() or not why.strip():
        raise UsageError("a promotion needs --by and --why")
    if not launches:
        raise UsageError("there is nothing to promote")
    unfit = [launch for launch in launches if not launch.usable]
    if unfit:
        first = unfit[0]
        cause = first.failure.message if first.failure else ", ".join(first.flaws) or first.state
        raise NoVerdictError(
            f"{len(unfit)} of {len(launches)} launches are not valid, first {first.run_id}: "
            f"{cause}; a baseline must be sound"
        )
    kept = {
        launch.run_id: launch for old in earlier for launch in (old.launches if add else ())
    }  # a launch promoted twice is there once
    kept.update({launch.run_id: launch for launch in launches})
    promotion = Promotion(at, by, why, tuple(launch.run_id for launch in launches), not add)
    history = tuple(item for old in earlier for item in old.promotions)
    return Baseline((*history, promotion), tuple(kept.values()))


def describe_baseline(baseline: Baseline) -> List[str]:
    """One line per case: launches and nights; and what would make it better."""
    lines = []
    for case in group_cases(baseline.launches):
        nights = len(group_nights(case))
        advice = ""
        if nights < 3:
            advice = "; add two more nights with --add, to know how nights differ"
        lines.append(
            f"{get_cards(case[0])} card(s): {len(case)} launches of {nights} night(s){advice}"
        )
    return lines


def write_baseline(path: Path, baseline: Baseline) -> None:
    """Writes the file whole or not at all, in an order that gives small differences.

    Raises:
        OutputError: it cannot be written.
    """
    # Launches of a night have the same environment: it is written once.
    texts = [json.dumps(asdict(item.fingerprint), sort_keys=True) for item in baseline.launches]
    environments = list(dict.fromkeys(texts))
    plain = {
        "baseline_version": BASELINE_VERSION,
        "promotions": [asdict(item) for item in baseline.promotions],
        "fingerprints": [json.loads(text)["values"] for text in environments],
        "launches": [
            {**asdict(launch), "fingerprint": environments.index(text)}
            for launch, text in zip(baseline.launches, texts)
        ],
    }
    write_text_atomically(path, json.dumps(plain, indent=1, sort_keys=True) + "\n")


def read_baseline(path: Path) -> Baseline:
    """Reads a baseline file.

    Raises:
        DataError: absent, or not a baseline of a version that is known.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read baseline {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    version = plain.get("baseline_version") if isinstance(plain, dict) else None
    if version != BASELINE_VERSION:
        raise DataError(
            f"{path} is no baseline of version {BASELINE_VERSION}; make one with "
            "'ascend-bert promote'"
        )
    schema: Dict[str, Any] = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    errors = sorted(
        jsonschema.Draft7Validator(schema).iter_errors(plain),
        key=lambda error: [str(part) for part in error.path],
    )
    if errors:
        place = "/".join(str(part) for part in errors[0].absolute_path) or "the top"
        raise DataError(f"{path} breaks the baseline schema at {place}: {errors[0].message[:200]}")
    return Baseline(
        tuple(
            Promotion(**{**item, "run_ids": tuple(item["run_ids"])}) for item in plain["promotions"]
        ),
        tuple(_restore_launch(item, plain["fingerprints"], path) for item in plain["launches"]),
    )


def _restore_launch(plain: Dict[str, Any], fingerprints: List[Any], path: Path) -> Launch:
    place = plain["fingerprint"]
    if place >= len(fingerprints):
        raise DataError(f"{path}: {plain['run_id']} names fingerprint {place}, which is not there")
    return Launch(
        **{
            **plain,
            "flaws": tuple(plain["flaws"]),
            "fingerprint": Fingerprint(fingerprints[place]),
        }
    )
