"""Quantiles against printed tables, powers against draws, dependence against known series."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.autocorrelation import (
    choose_block_length,
    count_effective,
    estimate_lag_one,
    estimate_long_run_variance,
)
from bench.measure.distributions import (
    incomplete_beta,
    noncentral_student_tail,
    normal_cdf,
    normal_quantile,
    student_cdf,
    student_quantile,
    tabulate_chi,
)
from tests.simulation.traces import generate_noise


@pytest.mark.parametrize(
    ("p", "degrees", "expected"),
    [
        (0.95, 1, 6.314), (0.975, 1, 12.706), (0.995, 1, 63.657),
        (0.975, 2, 4.303), (0.99, 2, 6.965), (0.975, 4, 2.776), (0.99, 4, 3.747),
        (0.975, 10, 2.228), (0.995, 10, 3.169), (0.975, 30, 2.042), (0.9995, 30, 3.646),
        (0.975, 120, 1.980), (0.975, math.inf, 1.960),
    ],
)  # fmt: skip
def test_student_quantiles_are_those_of_the_printed_table(p, degrees, expected):
    assert student_quantile(p, degrees) == pytest.approx(expected, abs=6e-4)
    assert student_quantile(1.0 - p, degrees) == pytest.approx(-expected, abs=6e-4)


@pytest.mark.parametrize(
    ("p", "expected"), [(0.5, 0.0), (0.95, 1.644854), (0.975, 1.959964), (0.999, 3.090232)]
)
def test_normal_quantiles_are_those_of_the_printed_table(p, expected):
    assert normal_quantile(p) == pytest.approx(expected, abs=1e-6)


@given(st.floats(1e-4, 1.0 - 1e-4), st.floats(1.0, 500.0))
def test_quantile_undoes_cdf(p, degrees):
    assert student_cdf(student_quantile(p, degrees), degrees) == pytest.approx(p, rel=1e-6)


def test_closed_forms():
    assert student_cdf(1.0, 1.0) == pytest.approx(0.75, abs=1e-12)  # Cauchy
    assert student_cdf(math.sqrt(2.0), 2.0) == pytest.approx(0.5 + math.sqrt(2.0) / 4.0, abs=1e-12)
    assert incomplete_beta(0.3, 1.0, 1.0) == pytest.approx(0.3, abs=1e-14)
    assert incomplete_beta(0.3, 2.0, 3.0) == pytest.approx(0.3483, abs=1e-12)
    assert normal_cdf(0.0) == 0.5


@pytest.mark.parametrize("p", [0.0, 1.0, -0.1, 2.0])
def test_no_quantile_outside_of_probabilities(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        student_quantile(p, 3.0)


def test_degrees_of_freedom_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        student_cdf(1.0, 0.0)


@pytest.mark.parametrize(("degrees", "shift"), [(2.0, 8.0), (4.0, 5.0), (18.0, 4.0)])
def test_noncentral_tail_agrees_with_draws(degrees, shift):
    rng = np.random.RandomState(1)
    n = 200_000
    draws = (rng.standard_normal(n) + shift) / np.sqrt(rng.chisquare(degrees, n) / degrees)
    critical = student_quantile(0.99, degrees)
    found = noncentral_student_tail(critical, degrees, shift)
    assert found == pytest.approx(float(np.mean(draws > critical)), abs=0.004)
    assert noncentral_student_tail(critical, degrees, 0.0) == pytest.approx(0.01, abs=1e-5)


@pytest.mark.parametrize("degrees", [1.0, 2.0, 7.0, 100.0])
def test_chi_table_has_the_right_second_moment(degrees):
    values, weights = tabulate_chi(degrees)
    assert float(weights @ values**2) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_autocorrelation_of_a_known_series(rho):
    rng = np.random.RandomState(2)
    found = [generate_noise(rng, 400, rho, 1.0) for _ in range(100)]
    assert np.mean([estimate_lag_one(x) for x in found]) == pytest.approx(rho, abs=0.02)
    true_variance = (1.0 + rho) / (1.0 - rho)
    mean = np.mean([estimate_long_run_variance(x) for x in found])
    assert mean == pytest.approx(true_variance, rel=0.25)
    assert np.mean([count_effective(x) for x in found]) == pytest.approx(
        400.0 / true_variance, rel=0.2
    )


def test_bias_of_short_series_is_taken_off():
    rng = np.random.RandomState(3)
    found = [estimate_lag_one(generate_noise(rng, 25, 0.5, 1.0)) for _ in range(2000)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_block_length_grows_with_dependence():
    rng = np.random.RandomState(4)
    means = [
        np.mean([choose_block_length(generate_noise(rng, 300, rho, 1.0)) for _ in range(40)])
        for rho in (0.0, 0.5, 0.9)
    ]
    assert 1.0 <= means[0] < means[1] < means[2] <= 52.0
    assert means[0] < 4.0


@pytest.mark.parametrize("n", [1, 2, 3, 8, 9, 30])
def test_constant_series_have_no_dependence(n):
    values = np.full(n, 0.25)
    assert estimate_lag_one(values) == 0.0
    assert count_effective(values) == n
    assert choose_block_length(values) == 1
