"""What stands below a result table: windows, what the intervals mean, what was not checked."""

from __future__ import annotations

import math
from typing import Dict, List, Optional, Sequence, Set, Tuple

import numpy as np

from bench.measure.power import ALPHA, POWER
from bench.measure.repeats import MINIMUM_LAUNCHES, ONE_LAUNCH_SAYS, decide_next_launch
from bench.measure.scaling import SUSPECT_EFFICIENCY, ScalingTable, bound_ratio
from bench.measure.scaling_model import (
    MINIMUM_CARD_COUNTS,
    PREDICTED_CARDS,
    fit_scaling_model,
    predict_scaling,
)
from bench.results.model import RunResult
from bench.views.rows import CaseView, Row

MAX_LAUNCH_NOTES = 12


def list_notes(views: Sequence[CaseView], rows: Sequence[Row]) -> List[str]:
    """All notes of a table, one line each."""
    notes = [
        *_describe_windows(views, rows),
        *_describe_repeats(views, rows),
        *_describe_precision(views),
        *_describe_order(views),
        *describe_scaling(views),
        *_compare_builds(views),
        *_describe_quoted(views),
    ]
    if any(row["oversubscribed"] for row in rows):
        notes.append("* more cards than cores: ranks share cores, rates do not compare.")
    return [*notes, *_describe_problems(views), *_describe_open_checks(views)]


def name_case(view: CaseView, views: Sequence[CaseView]) -> str:
    """``8 card(s)``, with the build and the batch where they tell cases apart."""
    first = view.case.first
    sizes = {
        other.case.first.batch_size
        for other in views
        if (other.case.first.build, other.case.first.n_cards) == (first.build, first.n_cards)
    }
    batch = f", batch {first.batch_size}" if len(sizes) > 1 else ""
    return "{}{} card(s){}".format(f"{first.build}, " if first.build else "", first.n_cards, batch)


def _describe_windows(views: Sequence[CaseView], rows: Sequence[Row]) -> List[str]:
    notes = []
    for view, row in zip(views, rows):
        if row["intervals"]:
            notes.append(f"{name_case(view, views)}: {row['window']}.")
    if notes:
        notes.insert(0, "steps/s = steps ÷ time of all ranks over the measured intervals:")
    return notes


def _describe_repeats(views: Sequence[CaseView], rows: Sequence[Row]) -> List[str]:
    # What an invalid launch could detect is nobody's business.
    pairs = [(view, row) for view, row in zip(views, rows) if any(x.valid for x in view.case.used)]
    measured = [row for _, row in pairs]
    notes = []
    if any(row["launches_used"] == 1 for row in measured):
        notes.append(f"± is 95 %. {ONE_LAUNCH_SAYS[0].upper()}{ONE_LAUNCH_SAYS[1:]}.")
    several = [(view, row) for view, row in pairs if row["launches_used"] > 1]
    if several:
        effects = ", ".join(
            "{} at {} ({} launches)".format(
                _percent(row["detectable_effect_ratio"]),
                name_case(view, views),
                row["launches_used"],
            )
            for view, row in several
        )
        notes.append("± is 95 %, over launches.")
        notes.append(
            f"Smallest slow-down that a comparison of two such cases finds (power {POWER:.0%}, "
            f"false alarms {ALPHA:.0%}): {effects}."
        )
    return notes


def _describe_precision(views: Sequence[CaseView]) -> List[str]:
    """Cases of which a session wanted to know the rate more precisely than it does."""
    notes = []
    for view in views:
        wanted = view.results[0].session.get("until_precision") if view.results else None
        if not wanted:
            continue
        series = [x.series for x in view.case.launches if x.valid and x.series is not None]
        maximum = max(MINIMUM_LAUNCHES, len(series))
        decision = decide_next_launch(series, float(wanted), maximum=maximum)
        if not decision.met:
            reason = decision.reason.partition(";")[0]
            notes.append(f"PRECISION NOT REACHED at {name_case(view, views)}: {reason}.")
    return notes


def _percent(value: Optional[float]) -> str:
    return "not known" if value is None else f"{100.0 * value:.2g} %"


def _describe_order(views: Sequence[CaseView]) -> List[str]:
    """Which order the launches of each session took, and by which seed."""
    sessions: Dict[str, RunResult] = {}
    for view in views:
        for result in view.results:
            sessions.setdefault(str(result.session.get("id")), result)
    notes = []
    for name, result in sessions.items():
        order = result.session.get("order") or []
        if len(set(order)) < len(order) and len(set(order)) > 1:
            notes.append(
                f"Session {name}: launched in the order {' '.join(map(str, order))} "
                f"(seed {result.session.get('order_seed')})."
            )
    return notes


def describe_scaling(views: Sequence[CaseView]) -> List[str]:
    """The kind of scaling, suspect baselines, and what a fitted model predicts."""
    notes: List[str] = []
    seen: List[ScalingTable] = []
    for view in views:
        table = view.scaling
        if table is None or table in seen:
            continue
        seen.append(table)
        held = "the batch per card" if table.kind == "weak" else "the global batch"
        notes.append(
            f"Scaling: {table.kind} ({held} is the same), efficiency relative to {table.base} "
            f"card(s) of the same {'session' if view.case.first.session else 'logs'}."
        )
        suspect = [str(row.n_cards) for row in table.rows if row.suspect]
        if suspect:
            notes.append(
                f"SUSPECT BASELINE: efficiency above {SUSPECT_EFFICIENCY:.0%} at "
                f"{', '.join(suspect)} card(s); the launches at {table.base} card(s) were "
                "probably disturbed."
            )
        notes.extend(_predict(table, views))
    return notes


def _predict(table: ScalingTable, views: Sequence[CaseView]) -> List[str]:
    times = {}
    for view in views:
        rate = view.case.summary.get("steps_per_second")
        if view.scaling is table and rate is not None and rate.value and view.case.used:
            times[view.case.first.n_cards] = 1.0 / rate.value
    if len(times) < MINIMUM_CARD_COUNTS:
        return []
    model = fit_scaling_model(times, table.kind)
    wanted = [n for n in PREDICTED_CARDS if n > model.largest_cards]
    lines = [
        "PREDICTION, not measured: step time = "
        f"{1e3 * model.compute_seconds:.4g} ms compute + "
        f"{1e3 * model.latency_seconds:.3g} ms · 2(n-1) latency + "
        f"{1e3 * model.transfer_seconds:.4g} ms · 2(n-1)/n transfer; "
        f"fits the measured counts within {100.0 * model.error_ratio:.2g} %."
    ]
    told = [
        f"{item.n_cards} cards {100.0 * item.efficiency:.1f} % "
        f"({100.0 * item.low:.1f} to {100.0 * item.high:.1f})"
        for item in predict_scaling(model, wanted)
    ]
    if told:
        lines.append(
            "PREDICTED efficiency relative to one card, if the links stay the same: "
            + ", ".join(told)
            + "."
        )
    return lines


def _compare_builds(views: Sequence[CaseView]) -> List[str]:
    """Sequences/s of build B over those of A, by card count, for sessions that launched both."""
    built = [view for view in views if view.case.first.build]
    sizes: Dict[Tuple[str, int, str], Set[Optional[int]]] = {}
    for view in built:
        first = view.case.first
        sizes.setdefault((first.session, first.n_cards, first.build), set()).add(first.batch_size)
    rates: Dict[Tuple[str, int, Optional[int], str], List[float]] = {}
    for view in built:
        first = view.case.first
        # One batch size of each build is compared also where the builds differ in it.
        several = len(sizes[(first.session, first.n_cards, first.build)]) > 1
        batch = first.batch_size if several else None
        rates[(first.session, first.n_cards, batch, first.build)] = [
            launch.series.rate * (launch.batch_size or 1)
            for launch in view.case.used
            if launch.series and launch.valid
        ]
    notes = []
    for (session, n_cards, batch, build), top in rates.items():
        bottom = rates.get((session, n_cards, batch, "A"), [])
        if build != "B" or not top or not bottom:
            continue
        ratio = math.fsum(top) / len(top) / (math.fsum(bottom) / len(bottom))
        text = f"B runs at {ratio:.4f} times the rate of A at {n_cards} card(s)"
        text += "" if batch is None else f", batch {batch}"
        if min(len(top), len(bottom)) > 1:
            rng = np.random.RandomState(0)
            low, high = bound_ratio(np.array(top), np.array(bottom), 0.95, rng, 2000)
            text += f", 95 % {low:.4f} to {high:.4f}"
        else:
            text += "; one launch each cannot tell a difference from chance"
        notes.append(text + ".")
    return notes


def is_quoted(result: RunResult) -> bool:
    """Whether the figures come from a summary of others, without intervals."""
    return bool(result.found.get("imported")) and not result.ranks


def _describe_quoted(views: Sequence[CaseView]) -> List[str]:
    notes = []
    for view in views:
        for result in filter(is_quoted, view.results):
            estimate = result.found["imported"]["estimate"]
            notes.append(f"{result.n_cards} card(s): not measured by us but quoted: {estimate}.")
    return notes


def _describe_problems(views: Sequence[CaseView]) -> List[str]:
    notes = []
    for view in views:
        several = len(view.case.launches) > 1
        for place, launch in enumerate(view.case.launches):
            name = name_case(view, views) + (f", launch {place + 1}" if several else "")
            result = view.results[place] if view.results else None
            if result is not None and result.failure is not None:
                notes.append(f"{name}: {result.failure.message}")
            if result is not None:
                notes.extend(f"{name}: {text}" for text in _describe_history(result))
            for check in launch.checks:
                if check.passed is False:
                    weight = "" if check.required else " (not required here)"
                    notes.append(
                        f"{name}: {check.name}: found {check.found}, wanted {check.wanted}{weight}"
                    )
    if len(notes) > MAX_LAUNCH_NOTES:
        rest = len(notes) - MAX_LAUNCH_NOTES
        notes = [*notes[:MAX_LAUNCH_NOTES], f"... and {rest} more; see the result files."]
    return notes


def _describe_history(result: RunResult) -> List[str]:
    """What a reader of the figures must know of how they came about."""
    texts = []
    attempts = result.found.get("attempts") or []
    if len(attempts) > 1:
        texts.append(
            f"attempt {len(attempts)}, from step {attempts[-1].get('first_step')} on; earlier ones "
            "failed and are not in the figures"
        )
    if result.found.get("recovered"):
        texts.append("rebuilt from the logs after the harness had died")
    return texts


def _describe_open_checks(views: Sequence[CaseView]) -> List[str]:
    """Checks that could not be made, once for all launches."""
    names: Dict[str, List[str]] = {}
    for view in views:
        for launch in view.case.launches:
            for check in launch.checks:
                if check.passed is None and check.name not in names.get(check.found, ()):
                    names.setdefault(check.found, []).append(check.name)
    told = "; ".join(f"{', '.join(checks)} ({reason})" for reason, checks in names.items())
    return [f"Not checked: {told}."] if told else []
