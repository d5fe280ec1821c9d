"""What judging gives: one contrast per case and metric, its verdict, and the verdict of the night.

A *cell* is a metric of a case, for example sequences/s with 8 cards. A *night* is one session: its
launches share the state of the machine on that day.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping, Optional, Tuple

PASS = "pass"
REGRESSION = "regression"
NO_VERDICT = "no verdict"
VERDICTS = (PASS, REGRESSION, NO_VERDICT)


@dataclass(frozen=True)
class NightSpread:
    """What is known beforehand of how much nights differ, beyond their launches.

    Attributes:
        sd_ratio: standard deviation of the nights' true rates, relative.
        nights: how many nights' worth of evidence that is.
    """

    sd_ratio: float = 0.0
    nights: float = 4.0


@dataclass(frozen=True)
class Cell:
    """The launches of one metric of one case, on both sides.

    Attributes:
        name: case and metric, for people; unique in a gate.
        metric: key of the catalogue.
        better: ``"higher"`` or ``"lower"``.
        margin_ratio: the loss that must be ruled out for a pass, 0 to 1.
        baseline: nights, each with the values of its launches, in the metric's unit.
        candidate: values of the candidate's launches.
        look: how often the candidate has been looked at, this time included; 1 for the first.
        case: the facts that make the case, for example ``{"cards": 8}``.
        night_spread: of this cell; None for that of the plan.
        caveats: what is known to differ between the sides without forbidding the comparison.
    """

    name: str
    metric: str
    better: str
    margin_ratio: float
    baseline: Tuple[Tuple[float, ...], ...]
    candidate: Tuple[float, ...]
    look: int = 1
    case: Mapping[str, Any] = field(default_factory=dict)
    night_spread: Optional[NightSpread] = None
    caveats: Tuple[str, ...] = ()


@dataclass(frozen=True)
class Contrast:
    """How the candidate stands to the baseline: the figures of a comparison.

    Differences are of logarithms with the metric's direction taken out: below 0 is worse.

    Attributes:
        difference: mean log of the candidate minus that of the baseline; negative is worse.
        error: standard error of ``difference``.
        degrees: degrees of freedom of ``error``.
        launch_sd_ratio: spread of launches within a night, relative.
        night_sd_ratio: spread of nights beyond that, relative; as shrunk, see ``build_contrast``.
        n_baseline, n_candidate: launches.
        n_nights: nights of the baseline.
        separate: the candidate spreads so much more than the baseline that its own spread is used.
    """

    difference: float
    error: float
    degrees: float
    launch_sd_ratio: float
    night_sd_ratio: float
    n_baseline: int
    n_candidate: int
    n_nights: int
    separate: bool


@dataclass(frozen=True)
class CellVerdict:
    """The verdict on a cell, with every number behind it.

    Attributes:
        cell: what was judged.
        verdict: :data:`PASS`, :data:`REGRESSION` or :data:`NO_VERDICT`.
        reason: one line for people.
        contrast: None when there were too few launches for any.
        change_ratio: value of the candidate relative to the baseline minus 1, in the metric's own
            direction (a step time that rose by 2 % has +0.02).
        low_ratio, high_ratio: its confidence limits at ``level``.
        level: of the two-sided interval, for reading only; the verdict rests on the p values.
        p_loss: chance of such a candidate, or a worse one, if nothing had changed.
        p_loss_adjusted: the same after Holm's correction and for the looks taken.
        p_inferior: chance of such a candidate, or a better one, if the loss were the margin.
        p_inferior_adjusted: the same for the looks taken.
        detectable_ratio: true loss that this comparison finds with ``power``.
        power: of the statement before.
        caveats: what the figures do not cover.
        waiver: why a regression here does not count, None when it does.
    """

    cell: Cell
    verdict: str
    reason: str
    contrast: Optional[Contrast] = None
    change_ratio: Optional[float] = None
    low_ratio: Optional[float] = None
    high_ratio: Optional[float] = None
    level: float = 0.95
    p_loss: Optional[float] = None
    p_loss_adjusted: Optional[float] = None
    p_inferior: Optional[float] = None
    p_inferior_adjusted: Optional[float] = None
    detectable_ratio: Optional[float] = None
    power: float = 0.95
    caveats: Tuple[str, ...] = ()
    waiver: Optional[str] = None


@dataclass(frozen=True)
class Plan:
    """The promises of a gate; all of its cells together share the first.

    Attributes:
        alpha: chance per night that any cell is called a regression although none is.
        alpha_pass: chance that a cell with a true loss of its margin or more passes.
        look_shares: how both chances are split over the looks; they add up to at most 1.
        first_launches: launches of the first look.
        more_launches: launches that each further look adds.
        minimum_launches: below, on either side, nothing is judged.
        night_spread: assumed of nights, before the baseline's own nights are seen.
    """

    alpha: float = 0.01
    alpha_pass: float = 0.01
    look_shares: Tuple[float, ...] = (0.5, 0.2, 0.15, 0.15)
    first_launches: int = 5
    more_launches: int = 5
    minimum_launches: int = 3
    night_spread: NightSpread = NightSpread()

    @property
    def most_launches(self) -> int:
        """Launches of the candidate after the last look."""
        return self.first_launches + (len(self.look_shares) - 1) * self.more_launches


@dataclass(frozen=True)
class GateVerdict:
    """The verdict of a night.

    Attributes:
        verdict: :data:`REGRESSION` when a cell that is not waived regressed; else
            :data:`NO_VERDICT` when one could not be judged; else :data:`PASS`.
        reason: one line for people.
        cells: verdict of each cell.
        plan: the promises it was made under.
        notes: what was left out or ignored, one line each.
    """

    verdict: str
    reason: str
    cells: Tuple[CellVerdict, ...]
    plan: Plan
    notes: Tuple[str, ...] = ()
