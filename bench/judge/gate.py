"""The gate: which of three verdicts each cell has earned, and whether more launches would help.

Two null hypotheses are tested in every cell, both by Student's t on :mod:`bench.judge.contrast`.

* *Nothing is lost*: the candidate is as good as the baseline. Rejecting it is evidence of a loss.
  Over all cells of a night Holm's step-down procedure (1979) holds the chance of any false
  rejection at ``alpha`` = 1 %, however the metrics hang together.
* *The margin is lost*: the candidate is worse by the margin (3 %) or more. Rejecting it shows
  non-inferiority (Blackwelder 1982). Each cell must reject at ``alpha_pass`` = 1 %; a night passes
  only if every cell does, so no correction is needed (Berger 1982, intersection-union test).

A cell where the second is rejected is a PASS, also when a small loss within the margin is shown.
A cell where the first is rejected and the second is not is a REGRESSION. Everything else is NO
VERDICT. So a pass is never the mere absence of evidence: a build that truly lost the margin passes
with a chance of 1 %, which is the power, 99 %, that stands behind every green night.

Why a regression does not have to show a loss *beyond* the margin: a true loss of just the margin
would then be found with the chance ``alpha``, 1 %, whatever the number of launches. Tested against
"nothing is lost" it is found as soon as 3 % are far from 0. With CV 1 %, 5 launches and a baseline
of 15 the standard error is 0.52 %, the loss is 5.8 of them away, and Student's critical value is
3.7 at the level that Holm leaves for the first of 6 cells at the first look.

Looks: what is inconclusive may be launched again, at most twice. Both chances are split over the
looks by ``look_shares``; as they add up to 1, the chance over all looks keeps its bound by the
union of events, whatever made one look again. The first look gets the most: it decides nearly
every night, and later looks have more launches and hence more power to spend.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Dict, List, Optional, Sequence, Tuple

from bench.catalogue import LOWER
from bench.judge.contrast import build_contrast
from bench.judge.model import (
    NO_VERDICT,
    PASS,
    REGRESSION,
    Cell,
    CellVerdict,
    Contrast,
    GateVerdict,
    Plan,
)
from bench.measure.distributions import (
    noncentral_student_tail,
    student_cdf,
    student_quantile,
)

ONE_NIGHT = "the baseline is one night: how nights differ is assumed, not measured"


def judge_cells(cells: Sequence[Cell], plan: Plan, explain: bool = True) -> GateVerdict:
    """Judges the cells of a night together.

    Args:
        cells: of all metrics and cases; names differ.
        plan: levels and looks.
        explain: also compute intervals and detectable losses, which take far longer.

    Raises:
        ValueError: two cells have the same name, or a margin or a look is out of range.
    """
    _check_cells(cells, plan)
    drafts = [_test_cell(cell, plan) for cell in cells]
    tested = {
        draft.cell.name: draft.p_loss / plan.look_shares[draft.cell.look - 1]
        for draft in drafts
        if draft.p_loss is not None
    }
    adjusted = adjust_holm(tested)
    verdicts = tuple(_conclude(draft, adjusted, plan, explain) for draft in drafts)
    return combine_verdicts(verdicts, plan)


def combine_verdicts(
    verdicts: Tuple[CellVerdict, ...], plan: Plan, notes: Tuple[str, ...] = ()
) -> GateVerdict:
    """The verdict of the night from those of its cells; waived regressions do not count."""
    by_verdict: Dict[str, List[CellVerdict]] = {PASS: [], REGRESSION: [], NO_VERDICT: []}
    for item in verdicts:
        by_verdict[PASS if item.waiver else item.verdict].append(item)
    waived = sum(1 for item in verdicts if item.waiver)
    if by_verdict[REGRESSION]:
        names = "; ".join(item.cell.name for item in by_verdict[REGRESSION])
        return GateVerdict(REGRESSION, f"slower: {names}", verdicts, plan, notes)
    if by_verdict[NO_VERDICT] or not verdicts or waived == len(verdicts):
        names = "; ".join(item.cell.name for item in by_verdict[NO_VERDICT])
        reason = f"not decided: {names}" if names else "nothing was judged"
        return GateVerdict(NO_VERDICT, reason, verdicts, plan, notes)
    text = f"{len(verdicts) - waived} of {len(verdicts)} shown to be within their margins"
    text += f", {waived} waived" if waived else ""
    return GateVerdict(PASS, text, verdicts, plan, notes)


def decide_more_launches(verdict: GateVerdict) -> int:
    """How many more launches of the candidate would be worth it, per undecided case.

    Returns:
        ``plan.more_launches`` when no cell regressed, some are undecided and a look is left for
        them; else 0. After those launches judge again with ``look`` one higher.
    """
    return verdict.plan.more_launches if list_open_cells(verdict) else 0


def list_open_cells(verdict: GateVerdict) -> List[CellVerdict]:
    """Undecided cells with a look left; none when another one decides the night already."""
    if verdict.verdict != NO_VERDICT:
        return []
    looks = len(verdict.plan.look_shares)
    return [
        item
        for item in verdict.cells
        if item.verdict == NO_VERDICT and not item.waiver and item.contrast is not None
        if item.cell.look < looks
    ]


def adjust_holm(p_values: Dict[str, float]) -> Dict[str, float]:
    """Holm's step-down adjusted p values (Holm 1979); reject where they are at most alpha."""
    adjusted: Dict[str, float] = {}
    running = 0.0
    count = len(p_values)
    for index, name in enumerate(sorted(p_values, key=lambda key: (p_values[key], key))):
        running = max(running, min(1.0, (count - index) * p_values[name]))
        adjusted[name] = running
    return adjusted


def compute_margin(margin_ratio: float, better: str) -> float:
    """The margin on the log scale: a rate that falls, or a time that rises, by the ratio."""
    return math.log1p(margin_ratio) if better == LOWER else -math.log1p(-margin_ratio)


def compute_detectable_loss(contrast: Contrast, level: float, power: float, better: str) -> float:
    """True loss that a one-sided test at ``level`` finds with ``power``, as a ratio."""
    critical = student_quantile(1.0 - level, contrast.degrees)
    low, high = 0.0, 1.0
    while noncentral_student_tail(critical, contrast.degrees, high) < power and high < 1e6:
        low, high = high, 2.0 * high
    while high - low > 1e-4 * high:
        middle = 0.5 * (low + high)
        if noncentral_student_tail(critical, contrast.degrees, middle) < power:
            low = middle
        else:
            high = middle
    shift = min(high * contrast.error, 700.0)
    return math.expm1(shift) if better == LOWER else -math.expm1(-shift)


def _check_cells(cells: Sequence[Cell], plan: Plan) -> None:
    names = [cell.name for cell in cells]
    if len(set(names)) != len(names):
        raise ValueError("two cells have the same name")
    for cell in cells:
        if not 0.0 < cell.margin_ratio < 1.0:
            raise ValueError(f"{cell.name}: a margin is between 0 and 1, not {cell.margin_ratio}")
        if not 1 <= cell.look <= len(plan.look_shares):
            raise ValueError(f"{cell.name}: there are {len(plan.look_shares)} looks")


def _test_cell(cell: Cell, plan: Plan) -> CellVerdict:
    """Contrast and plain p values; without them when there is too little to test."""
    n_baseline = sum(map(len, cell.baseline))
    least = plan.minimum_launches
    if n_baseline < least or len(cell.candidate) < least:
        return CellVerdict(
            cell,
            NO_VERDICT,
            f"{len(cell.candidate)} launches against {n_baseline}; at least {least} on each side "
            "are needed",
        )
    try:
        contrast = build_contrast(
            cell.baseline, cell.candidate, cell.better, cell.night_spread or plan.night_spread
        )
    except ValueError as error:
        return CellVerdict(cell, NO_VERDICT, str(error))
    t_loss = contrast.difference / contrast.error
    t_margin = t_loss + compute_margin(cell.margin_ratio, cell.better) / contrast.error
    return CellVerdict(
        cell,
        NO_VERDICT,
        "",
        contrast,
        change_ratio=_to_ratio(contrast.difference, cell.better),
        p_loss=student_cdf(t_loss, contrast.degrees),
        p_inferior=student_cdf(-t_margin, contrast.degrees),
        caveats=cell.caveats + ((ONE_NIGHT,) if contrast.n_nights == 1 else ()),
    )


def _conclude(
    draft: CellVerdict, adjusted: Dict[str, float], plan: Plan, explain: bool
) -> CellVerdict:
    cell, contrast = draft.cell, draft.contrast
    if contrast is None or draft.p_inferior is None:
        return draft
    share = plan.look_shares[cell.look - 1]
    p_loss = adjusted[cell.name]
    p_inferior = min(1.0, draft.p_inferior / share)
    lost, within = p_loss <= plan.alpha, p_inferior <= plan.alpha_pass
    verdict = PASS if within else REGRESSION if lost else NO_VERDICT
    result = replace(
        draft,
        verdict=verdict,
        p_loss_adjusted=p_loss,
        p_inferior_adjusted=p_inferior,
        reason=_describe(verdict, lost, draft),
    )
    if not explain:
        return result
    reach = student_quantile(0.5 * (1.0 + draft.level), contrast.degrees) * contrast.error
    limits = sorted(_to_ratio(contrast.difference + side, cell.better) for side in (-reach, reach))
    return replace(
        result,
        low_ratio=limits[0],
        high_ratio=limits[1],
        detectable_ratio=compute_detectable_loss(
            contrast, plan.alpha * share / len(adjusted), draft.power, cell.better
        ),
    )


def _to_ratio(difference: float, better: str) -> float:
    return math.expm1(-difference if better == LOWER else difference)


def _describe(verdict: str, lost: bool, draft: CellVerdict) -> str:
    margin = f"{100.0 * draft.cell.margin_ratio:g} %"
    change = _describe_change(draft.change_ratio)
    if verdict == PASS and lost:
        return f"{change}; worse, but shown to lose less than {margin}"
    if verdict == PASS:
        return f"{change}; a loss of {margin} is ruled out"
    if verdict == REGRESSION:
        return f"{change}; worse, and a loss of {margin} is not ruled out"
    return f"{change}; neither a loss is shown nor one of {margin} ruled out"


def _describe_change(ratio: Optional[float]) -> str:
    return "-" if ratio is None else f"{100.0 * ratio:+.2f} %"
