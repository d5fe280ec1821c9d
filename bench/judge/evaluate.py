"""From launches and rules to the verdict of a night, and to the exit code that says it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from bench.catalogue import METRICS
from bench.errors import EXIT_OK, EXIT_REGRESSION, KINDS, BenchError, MismatchError, NoVerdictError
from bench.judge.gate import combine_verdicts, judge_cells
from bench.judge.launches import (
    CASE_FIELDS,
    Launch,
    count_looks,
    describe_case,
    group_cases,
    group_nights,
    name_cases,
)
from bench.judge.model import NO_VERDICT, PASS, REGRESSION, Cell, CellVerdict, GateVerdict
from bench.judge.rules import Rules, find_waivers, get_margin, get_night_spread, list_metrics
from bench.results.fingerprint import (
    NOT_COMPARABLE,
    Comparability,
    compare_fingerprints,
    render_comparability,
)


@dataclass(frozen=True)
class Outcome:
    """What a gate says.

    Attributes:
        gate: the verdict; :data:`NO_VERDICT` also where an error stands in its way.
        exit_code: for the shell.
        error: what forbids a verdict, one line: a launch that failed or hung, or environments
            that must not be compared; None when there is no such thing.
        comparability: of each case with a counterpart: name of the case → how its environment
            differs from the baseline's.
    """

    gate: GateVerdict
    exit_code: int
    error: Optional[str]
    comparability: Mapping[str, Comparability]


def judge_launches(
    candidate: Sequence[Launch],
    baseline: Sequence[Launch],
    rules: Rules,
    today: datetime.date,
    explain: bool = True,
) -> Outcome:
    """Judges a night.

    A launch of the candidate that failed, or is not valid, is never passed over: the first gives
    the exit code of its failure, the second leaves its case without a verdict.

    Args:
        candidate: all launches of the night.
        baseline: what they are held against; launches that are not usable are left out.
        rules: of the gate.
        today: for waivers.
        explain: also compute intervals and detectable losses.
    """
    notes: List[str] = []
    sound = [launch for launch in baseline if launch.usable]
    own = {launch.run_id for launch in candidate}
    shared = [launch for launch in sound if launch.run_id in own]
    if shared:
        notes.append(f"{len(shared)} launches of the candidate are in the baseline; left out there")
        sound = [launch for launch in sound if launch.run_id not in own]
    if len(sound) + len(shared) < len(baseline):
        left_out = len(baseline) - len(sound) - len(shared)
        notes.append(f"{left_out} launches of the baseline are not valid and left out")
    cells: List[Cell] = []
    undecided: List[CellVerdict] = []
    levels: Dict[str, Comparability] = {}
    mismatch: Optional[str] = None
    cases = group_cases(candidate)
    described = [describe_case(case[0]) for case in cases]
    matched: Set[str] = set()
    for case, facts, name in zip(cases, described, name_cases(described)):
        partners, found, refused = _match(case[0], sound, rules)
        matched.update(launch.run_id for launch in partners)
        if refused is not None:
            text = f"{name}: {render_comparability(refused)}"
            mismatch = mismatch or text
            undecided += _leave_open(rules, case, name, facts, "environments must not be compared")
            levels[name] = refused
        elif not partners:
            undecided += _leave_open(rules, case, name, facts, "the baseline has no such case")
        else:
            if found is not None:
                levels[name] = found
            made, open_cells = _build_cells(case, partners, rules, name, facts, found)
            cells += made
            undecided += open_cells
    missing = [] if rules.allow_missing else _find_missing(sound, matched, candidate)
    for launch, facts, name in missing:
        undecided += _leave_open(rules, [launch], name, facts, "in the baseline, but not measured")
    gate = judge_cells(cells, rules.plan, explain)
    verdicts, waiver_notes = _apply_waivers((*gate.cells, *undecided), rules, today)
    gate = combine_verdicts(verdicts, rules.plan, tuple(notes + waiver_notes))
    return _conclude(gate, candidate, mismatch, levels)


def _conclude(
    gate: GateVerdict,
    candidate: Sequence[Launch],
    mismatch: Optional[str],
    levels: Mapping[str, Comparability],
) -> Outcome:
    failed = next((launch for launch in candidate if launch.failure is not None), None)
    if failed is not None and failed.failure is not None:
        text = f"{failed.run_id}: {failed.failure.message}"
        code = KINDS.get(failed.failure.kind, BenchError).exit_code
        if failed.failure.kind == "interrupted":
            code = NoVerdictError.exit_code
        stopped = replace(gate, verdict=NO_VERDICT, reason="a launch failed")
        return Outcome(stopped, code, text, levels)
    if mismatch is not None and gate.verdict != REGRESSION:
        stopped = replace(gate, verdict=NO_VERDICT, reason="environments must not be compared")
        return Outcome(stopped, MismatchError.exit_code, mismatch, levels)
    codes = {
        PASS: EXIT_OK,
        REGRESSION: EXIT_REGRESSION,
        NO_VERDICT: NoVerdictError.exit_code,
    }
    return Outcome(gate, codes[gate.verdict], None, levels)


def _match(
    launch: Launch, baseline: Sequence[Launch], rules: Rules
) -> Tuple[List[Launch], Optional[Comparability], Optional[Comparability]]:
    """Comparable launches, how their environment differs, or what forbids all comparison.

    The level with the most differences is told, as every launch of the baseline counts.
    """
    partners: List[Launch] = []
    worst: Optional[Comparability] = None
    refused: Optional[Comparability] = None
    known: Dict[str, Comparability] = {}
    for other in baseline:
        if any(
            launch.fingerprint.values.get(name) != other.fingerprint.values.get(name)
            for name in CASE_FIELDS
        ):
            continue
        key = repr(sorted(other.fingerprint.values.items()))
        if key not in known:
            known[key] = compare_fingerprints(other.fingerprint, launch.fingerprint)
        found = known[key]
        forbidden = [name for name in found.fields if name in rules.refuse]
        if found.level == NOT_COMPARABLE or forbidden:
            refused = replace(found, level=NOT_COMPARABLE)
            continue
        partners.append(other)
        if worst is None or len(found.differences) > len(worst.differences):
            worst = found
    return partners, worst, None if partners else refused


def _build_cells(
    case: Sequence[Launch],
    partners: Sequence[Launch],
    rules: Rules,
    name: str,
    facts: Mapping[str, Any],
    found: Optional[Comparability],
) -> Tuple[List[Cell], List[CellVerdict]]:
    cells: List[Cell] = []
    undecided: List[CellVerdict] = []
    unfit = [launch for launch in case if not launch.usable]
    look = count_looks(case)
    caveats: Tuple[str, ...] = ()
    if found is not None and found.differences:
        caveats = (render_comparability(found),)
    for metric in list_metrics(rules, [*case, *partners]):
        cell = Cell(
            name=f"{METRICS[metric].header}, {name}",
            metric=metric,
            better=str(METRICS[metric].better),
            margin_ratio=get_margin(rules, metric, facts),
            baseline=tuple(
                tuple(launch.values[metric] for launch in night if metric in launch.values)
                for night in group_nights(partners)
            ),
            candidate=tuple(
                launch.values[metric] for launch in case if launch.usable if metric in launch.values
            ),
            look=min(look, len(rules.plan.look_shares)),
            case=facts,
            night_spread=get_night_spread(rules, metric, facts),
            caveats=caveats,
        )
        blank = sum(1 for launch in case if launch.usable and metric not in launch.values)
        if unfit:
            flaws = ", ".join(unfit[0].flaws) or unfit[0].state
            text = f"{len(unfit)} of {len(case)} launches not valid ({flaws})"
            undecided.append(CellVerdict(cell, NO_VERDICT, text))
        elif blank:
            text = f"{blank} of {len(case)} launches have no value"
            undecided.append(CellVerdict(cell, NO_VERDICT, text))
        elif look > len(rules.plan.look_shares):
            text = f"looked at {look} times, {len(rules.plan.look_shares)} were planned"
            undecided.append(CellVerdict(cell, NO_VERDICT, text))
        else:
            cells.append(cell)
    return cells, undecided


def _leave_open(
    rules: Rules, launches: Sequence[Launch], name: str, facts: Mapping[str, Any], reason: str
) -> List[CellVerdict]:
    return [
        CellVerdict(
            Cell(
                f"{METRICS[metric].header}, {name}",
                metric,
                str(METRICS[metric].better),
                get_margin(rules, metric, facts),
                (),
                (),
                case=facts,
            ),
            NO_VERDICT,
            reason,
        )
        for metric in list_metrics(rules, launches)
    ]


def _find_missing(
    baseline: Sequence[Launch],
    matched: Set[str],
    candidate: Sequence[Launch],
) -> List[Tuple[Launch, Dict[str, Any], str]]:
    """Cases of the baseline of which the candidate has nothing, with a name."""
    asked = {_get_asked(launch) for launch in candidate}
    left = [launch for launch in baseline if launch.run_id not in matched]
    first: Dict[str, Launch] = {}
    for launch in left:
        if _get_asked(launch) not in asked:
            first.setdefault(_get_asked(launch), launch)
    facts = [describe_case(launch) for launch in first.values()]
    return list(zip(first.values(), facts, name_cases(facts)))


def _get_asked(launch: Launch) -> str:
    return repr([launch.fingerprint.values.get(name) for name in CASE_FIELDS])


def _apply_waivers(
    verdicts: Sequence[CellVerdict], rules: Rules, today: datetime.date
) -> Tuple[Tuple[CellVerdict, ...], List[str]]:
    notes: List[str] = []
    result = []
    for item in verdicts:
        if item.verdict == REGRESSION:
            for waiver in find_waivers(rules, item.cell.metric, item.cell.case):
                if today > waiver.expires:
                    notes.append(
                        f"the waiver of {item.cell.name} by {waiver.owner} expired on "
                        f"{waiver.expires}; it counts again"
                    )
                else:
                    text = f"waived by {waiver.owner} until {waiver.expires}: {waiver.reason}"
                    item = replace(item, waiver=text)
        result.append(item)
    return tuple(result), notes
