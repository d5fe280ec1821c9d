"""A model of step time over card counts, and what it predicts for more cards.

``t(n) = c + α · 2 (n − 1) + β · 2 (n − 1) / n``: compute, then a ring all-reduce of 2 (n − 1)
messages, each with a latency α and a share 1/n of the gradient's bytes, so that β is the time to
send the gradient once (Patarasuk and Yuan 2009; Thakur et al. 2005). With strong scaling the
compute is c / n. All three are at least 0. It knows of one kind of link only: a prediction across
the border of a server, where links change, is a guess, and is marked as prediction in any case.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from bench.measure.distributions import student_quantile
from bench.measure.scaling import STRONG

MINIMUM_CARD_COUNTS = 4
"""Three unknowns need at least four card counts to have any error left to be judged by."""
PREDICTED_CARDS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True)
class ScalingModel:
    """Fitted step time.

    Attributes:
        kind: weak or strong scaling.
        compute_seconds: c.
        latency_seconds: α, of one message.
        transfer_seconds: β, to send the whole gradient once.
        bytes_per_second: bandwidth that β means; None without the gradient's size or for β = 0.
        error_ratio: root mean square of the relative residuals, with the degrees of freedom.
        largest_cards: the largest card count it was fitted to.
        points: card count → measured step time, seconds.
    """

    kind: str
    compute_seconds: float
    latency_seconds: float
    transfer_seconds: float
    bytes_per_second: Optional[float]
    error_ratio: float
    largest_cards: int
    points: Mapping[int, float]


@dataclass(frozen=True)
class Prediction:
    """What the model says for a card count that was not measured.

    Attributes:
        n_cards: cards.
        step_seconds: predicted step time.
        efficiency: predicted efficiency relative to one card.
        low, high: 95 % limits of the efficiency, for the model being right.
    """

    n_cards: int
    step_seconds: float
    efficiency: float
    low: float
    high: float


def fit_scaling_model(
    step_seconds: Mapping[int, float], kind: str, gradient_bytes: Optional[float] = None
) -> ScalingModel:
    """Fits the three constants by non-negative least squares on relative errors.

    Args:
        step_seconds: card count → measured step time.
        kind: weak or strong scaling.
        gradient_bytes: size of what is all-reduced.

    Raises:
        ValueError: fewer than :data:`MINIMUM_CARD_COUNTS` card counts.
    """
    if len(step_seconds) < MINIMUM_CARD_COUNTS:
        raise ValueError(
            f"{len(step_seconds)} card counts do not fix a model of three constants; "
            f"measure at least {MINIMUM_CARD_COUNTS}"
        )
    counts = sorted(step_seconds)
    times = np.array([step_seconds[n] for n in counts])
    constants = solve_nonnegative(_build_terms(counts, kind) / times[:, None], np.ones(len(counts)))
    fitted = _build_terms(counts, kind) @ constants
    degrees = max(1, len(counts) - int(np.count_nonzero(constants)))
    error = math.sqrt(float(((fitted / times - 1.0) ** 2).sum()) / degrees)
    bandwidth = None
    if gradient_bytes and constants[2] > 0.0:
        bandwidth = gradient_bytes / float(constants[2])
    return ScalingModel(
        kind=kind,
        compute_seconds=float(constants[0]),
        latency_seconds=float(constants[1]),
        transfer_seconds=float(constants[2]),
        bytes_per_second=bandwidth,
        error_ratio=error,
        largest_cards=counts[-1],
        points=dict(step_seconds),
    )


def predict_scaling(
    model: ScalingModel,
    card_counts: Sequence[int] = PREDICTED_CARDS,
    launch_error_ratio: float = 0.0,
    seed: int = 0,
    n_draws: int = 1000,
) -> Tuple[Prediction, ...]:
    """Predicts efficiencies, with limits from refits to disturbed points (parametric bootstrap).

    Args:
        model: fitted.
        card_counts: those not larger than the largest measured one are left out.
        launch_error_ratio: standard error of the measured step times; the residual error of the
            fit is used when it is larger.
        seed: of the draws.
        n_draws: refits.
    """
    rng = np.random.RandomState(seed)
    counts = sorted(model.points)
    wanted = [n for n in card_counts if n > model.largest_cards]
    if not wanted:
        return ()
    constants = np.array([model.compute_seconds, model.latency_seconds, model.transfer_seconds])
    terms = _build_terms(counts, model.kind)
    fitted = terms @ constants
    degrees = max(1, len(counts) - int(np.count_nonzero(constants)))
    # The error is itself estimated from few points.
    widening = student_quantile(0.975, degrees) / 1.96
    error = max(model.error_ratio * widening, launch_error_ratio)
    draws = np.empty((n_draws, len(wanted)))
    for index in range(n_draws):
        times = fitted * np.exp(error * rng.standard_normal(len(counts)))
        refit = solve_nonnegative(terms / times[:, None], np.ones(len(counts)))
        draws[index] = _compute_efficiency(refit, wanted, model.kind)
    best = _compute_efficiency(constants, wanted, model.kind)
    seconds = _build_terms(wanted, model.kind) @ constants
    limits = np.percentile(draws, [2.5, 97.5], axis=0)
    return tuple(
        Prediction(n, float(t), float(e), float(min(low, e)), float(max(high, e)))
        for n, t, e, low, high in zip(wanted, seconds, best, *limits)
    )


def solve_nonnegative(terms: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Least squares with all coefficients at least 0.

    With few columns the subsets can all be tried, which is exact: the solution is the ordinary one
    on some subset of the columns.

    Args:
        terms: [m, k], k small.
        target: [m].

    Returns:
        Coefficients, [k].
    """
    n_terms = terms.shape[1]
    best, best_error = np.zeros(n_terms), float(target @ target)
    for size in range(1, n_terms + 1):
        for subset in itertools.combinations(range(n_terms), size):
            columns = terms[:, subset]
            found = np.linalg.lstsq(columns, target, rcond=None)[0]
            if found.min() >= 0.0:
                error = float(((columns @ found - target) ** 2).sum())
                if error < best_error * (1.0 - 1e-12):
                    best, best_error = np.zeros(n_terms), error
                    best[list(subset)] = found
    return best


def _build_terms(counts: Sequence[int], kind: str) -> np.ndarray:
    """Columns of the model: compute, messages, transfers, [len(counts), 3]."""
    n = np.asarray(counts, dtype=float)
    compute = 1.0 / n if kind == STRONG else np.ones_like(n)
    return np.stack([compute, 2.0 * (n - 1.0), 2.0 * (n - 1.0) / n], axis=1)


def _compute_efficiency(constants: np.ndarray, counts: Sequence[int], kind: str) -> np.ndarray:
    """Efficiency relative to one card, [len(counts)]."""
    one = float(constants[0])
    times = _build_terms(counts, kind) @ constants
    ideal = one / np.asarray(counts, dtype=float) if kind == STRONG else one
    return np.divide(ideal, times, out=np.zeros_like(times), where=times > 0.0)


def render_constants(model: ScalingModel) -> Dict[str, Optional[float]]:
    """The constants by name, for tables and files."""
    return {
        "compute_seconds": model.compute_seconds,
        "latency_seconds": model.latency_seconds,
        "transfer_seconds": model.transfer_seconds,
        "bytes_per_second": model.bytes_per_second,
        "error_ratio": model.error_ratio,
    }
