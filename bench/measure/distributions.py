"""The normal, Student and noncentral Student distributions, for which SciPy would be a large load.

Plain ``math``; correct to about 1e-10, as the tests show against published tables.
"""

from __future__ import annotations

import math
from typing import Callable, Tuple

import numpy as np

_TINY = 1e-300
_NODES = 48


def normal_cdf(x: float) -> float:
    """P(Z ≤ x) of the standard normal."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def normal_quantile(p: float) -> float:
    """x with P(Z ≤ x) = p.

    Raises:
        ValueError: p is not between 0 and 1.
    """
    _check_probability(p)
    return _invert(normal_cdf, p, 40.0)


def student_cdf(t: float, degrees: float) -> float:
    """P(T ≤ t) of Student's distribution.

    Through the regularised incomplete beta function: ``P(|T| > t) = I_x(ν/2, 1/2)`` with
    ``x = ν / (ν + t²)`` (Abramowitz and Stegun 26.7.1).

    Args:
        t: any number.
        degrees: ν, positive; need not be whole; may be infinite.
    """
    if degrees <= 0.0:
        raise ValueError(f"degrees of freedom must be positive, not {degrees}")
    if math.isinf(degrees) or degrees > 1e7:
        return normal_cdf(t)
    tail = 0.5 * incomplete_beta(degrees / (degrees + t * t), 0.5 * degrees, 0.5)
    return 1.0 - tail if t > 0.0 else tail


def student_quantile(p: float, degrees: float) -> float:
    """t with P(T ≤ t) = p.

    Raises:
        ValueError: p is not between 0 and 1, or degrees is not positive.
    """
    _check_probability(p)
    return _invert(lambda t: student_cdf(t, degrees), p, 1e8)


def noncentral_student_tail(critical: float, degrees: float, shift: float) -> float:
    """P(T' > critical), with T' = (Z + shift) / sqrt(χ²_ν / ν): the power of a t test.

    The normal tail is averaged over the distribution of the estimated standard deviation.

    Args:
        critical: critical value of the test.
        degrees: ν of the variance estimate; may be infinite.
        shift: true effect in standard errors.
    """
    if math.isinf(degrees):
        return normal_cdf(shift - critical)
    deviations, weights = tabulate_chi(degrees)
    return float(sum(w * normal_cdf(shift - critical * s) for s, w in zip(deviations, weights)))


def tabulate_chi(degrees: float) -> Tuple[np.ndarray, np.ndarray]:
    """Nodes and weights to average over ``s/σ = sqrt(χ²_ν / ν)``.

    Args:
        degrees: ν, positive.

    Returns:
        Values of s/σ, [48], and weights that add up to 1, [48].
    """
    # log(s/σ) has a smooth density with light tails, on which the plain sum converges fast.
    centre, width = -0.5 / degrees, max(1.0 / math.sqrt(2.0 * degrees), 0.02)
    logs = np.linspace(centre - 9.0 * width - 6.0 / degrees, centre + 7.0 * width, _NODES)
    density = degrees * (logs - 0.5 * np.exp(2.0 * logs))
    weights = np.exp(density - density.max())
    return np.exp(logs), weights / weights.sum()


def incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), by its continued fraction.

    Args:
        x: 0 to 1.
        a, b: positive.
    """
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - incomplete_beta(1.0 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return front / a / _evaluate_fraction(x, a, b)


def _evaluate_fraction(x: float, a: float, b: float) -> float:
    """The continued fraction 1 + d1/(1 + d2/(1 + …)) (Abramowitz and Stegun 26.5.8), forwards.

    Numerators and denominators of the convergents are followed as ratios (Lentz's method).
    """
    value = ratio_up = 1.0
    ratio_down = 0.0
    for index in range(1, 10_000):
        m = index // 2
        if index % 2:
            d = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            d = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        ratio_down = 1.0 / ((1.0 + d * ratio_down) or _TINY)
        ratio_up = (1.0 + d / ratio_up) or _TINY
        change = ratio_up * ratio_down
        value *= change
        if abs(change - 1.0) < 1e-15:
            break
    return value


def _invert(cdf: Callable[[float], float], p: float, bound: float) -> float:
    """Solves cdf(x) = p on a symmetric distribution by bisection."""
    if p == 0.5:
        return 0.0
    low, high = (0.0, 1.0) if p > 0.5 else (-1.0, 0.0)
    # The bracket is doubled until it holds the answer.
    while high < bound and cdf(high) < p:
        low, high = high, 2.0 * high
    while low > -bound and cdf(low) > p:
        low, high = 2.0 * low, low
    for _ in range(200):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        if cdf(middle) < p:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _check_probability(p: float) -> None:
    if not 0.0 < p < 1.0:
        raise ValueError(f"a probability between 0 and 1 is needed, not {p}")
