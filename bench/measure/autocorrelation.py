"""How much the intervals of a run depend on each other, and what that costs.

Step times of neighbouring intervals are alike: clocks, temperature and input queues change slowly.
``n`` dependent values tell as much about their mean as ``n_eff < n`` independent ones; tests and
intervals that forget this are too sure of themselves.
"""

from __future__ import annotations

import math

import numpy as np

MAXIMUM_CORRELATION = 0.98
"""Estimates are kept below this: at 1 a series has no mean to estimate."""


def compute_autocovariance(values: np.ndarray, n_lags: int) -> np.ndarray:
    """Sample autocovariances with divisor n.

    Args:
        values: the series, [n].
        n_lags: highest lag, less than n.

    Returns:
        Lags 0 to ``n_lags``, [n_lags + 1].
    """
    centred = values - values.mean()
    n = len(values)
    return np.array([centred[: n - lag] @ centred[lag:] for lag in range(n_lags + 1)]) / n


def estimate_lag_one(values: np.ndarray) -> float:
    """First autocorrelation, corrected for the bias of a short series.

    The sample value falls short by about ``(1 + 3ρ) / n`` when the mean is estimated too
    (Marriott and Pope 1954, Kendall 1954).

    Args:
        values: the series, [n].

    Returns:
        Between -:data:`MAXIMUM_CORRELATION` and +:data:`MAXIMUM_CORRELATION`; 0 for fewer than 3
        values or a constant series.
    """
    n = len(values)
    if n < 3:
        return 0.0
    gamma = compute_autocovariance(values, 1)
    if gamma[0] <= 0.0:
        return 0.0
    sample = gamma[1] / gamma[0]
    corrected = (n * sample + 1.0) / (n - 3.0) if n > 6 else sample
    return float(min(MAXIMUM_CORRELATION, max(-MAXIMUM_CORRELATION, corrected)))


def estimate_long_run_variance(values: np.ndarray) -> float:
    """Variance of the mean times n, for a series of dependent values.

    Prewhitened: an AR(1) is fitted, the sum of the autocovariances of its residuals is taken with
    Bartlett weights, and the fit is undone by ``1 / (1 - ρ)²`` (Andrews and Monahan 1992). The
    bandwidth ``4 (n/100)^(2/9)`` is that of Newey and West (1994). Series that swing from side to
    side get no credit for it: a negative sum of correlations would rest on a few lags only.

    Args:
        values: the series, [n], n at least 2.

    Returns:
        At least the plain variance with divisor n - 1.
    """
    n = len(values)
    variance = float(values.var(ddof=1))
    rho = max(0.0, estimate_lag_one(values))
    centred = values - values.mean()
    residuals = centred[1:] - rho * centred[:-1]
    n_lags = min(len(residuals) - 1, int(4.0 * (n / 100.0) ** (2.0 / 9.0)))
    if rho == 0.0 or n_lags < 1:
        return variance
    gamma = compute_autocovariance(residuals, n_lags)
    weights = 1.0 - np.arange(1, n_lags + 1) / (n_lags + 1.0)
    spread = (gamma[0] + max(0.0, 2.0 * float(weights @ gamma[1:]))) * n / (n - 2.0)
    return max(variance, spread / (1.0 - rho) ** 2)


def count_effective(values: np.ndarray) -> float:
    """Number of independent values that tell as much about the mean as these.

    Args:
        values: the series, [n].

    Returns:
        Between 1 and n; n for a constant series.
    """
    n = len(values)
    if n < 2:
        return float(n)
    variance = float(values.var(ddof=1))
    if variance <= 0.0:
        return float(n)
    return float(min(n, max(1.0, n * variance / estimate_long_run_variance(values))))


def choose_block_length(values: np.ndarray) -> int:
    """Block length for a circular block bootstrap of the mean, from the data.

    The automatic rule of Politis and White (2004) with the correction of Patton, Politis and White
    (2009): autocorrelations up to twice the lag behind which all are within
    ``2 sqrt(log10 n / n)``, weighted by a flat-top window.

    Args:
        values: the series, [n].

    Returns:
        1 to ``ceil(min(3 sqrt n, n / 3))``.
    """
    n = len(values)
    if n < 9:
        return 1
    highest = int(math.ceil(min(3.0 * math.sqrt(n), n / 3.0)))
    run_length = max(5, int(math.ceil(math.sqrt(math.log10(n)))))
    n_lags = min(n - 1, int(math.ceil(math.sqrt(n))) + run_length)
    gamma = compute_autocovariance(values, n_lags)
    if gamma[0] <= 0.0:
        return 1
    bound = 2.0 * math.sqrt(math.log10(n) / n)
    large = np.flatnonzero(np.abs(gamma[1:] / gamma[0]) > bound) + 1
    last = 0
    for lag in large:
        if lag - last > run_length:
            break
        last = int(lag)
    if last == 0:
        return 1
    width = min(2 * last, n_lags)
    lags = np.arange(1, width + 1)
    weights = np.clip(2.0 * (1.0 - lags / width), 0.0, 1.0)
    weighted = weights * gamma[1 : width + 1]
    slope = 2.0 * float(lags @ weighted)
    spread = gamma[0] + 2.0 * float(weighted.sum())
    if spread <= 0.0:
        return 1
    length = (1.5 * slope * slope / (spread * spread) * n) ** (1.0 / 3.0)
    return int(min(highest, max(1, round(length))))
