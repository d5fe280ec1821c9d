"""Scaling tables, the all-reduce model, and FLOPs worked out by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.flops import compute_utilisation, count_model_flops, find_peak_flops
from bench.measure.scaling import STRONG, WEAK, build_scaling_table, name_scaling
from bench.measure.scaling_model import (
    PREDICTED_CARDS,
    fit_scaling_model,
    predict_scaling,
    solve_nonnegative,
)

BERT_BASE = {
    "vocab_size": 30522,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
}
TINY = {
    "vocab_size": 11,
    "hidden_size": 4,
    "intermediate_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


def test_scaling_table_by_hand():
    table = build_scaling_table({1: [10.0], 4: [36.0], 2: []}, WEAK)
    one, two, four = table.rows
    assert (one.speed_up, one.efficiency, one.low) == (1.0, 1.0, None)
    assert (two.throughput, two.efficiency, two.n_launches) == (None, None, 0)
    assert four.speed_up == pytest.approx(3.6)
    assert four.efficiency == pytest.approx(0.9)
    assert four.low is None  # one launch
    assert not four.suspect


def test_efficiency_has_an_interval_and_too_good_is_suspect():
    rng = np.random.RandomState(2)
    rates = {n: (n * 10.0 * (1.0 + 0.01 * rng.standard_normal(5))).tolist() for n in (1, 2)}
    rates[8] = [90.0, 90.5, 89.5, 90.1]
    table = build_scaling_table(rates, STRONG)
    assert table.base == 1
    two, eight = table.rows[1:]
    assert two.low < two.efficiency < two.high
    assert two.high - two.low == pytest.approx(2 * 2.31 * 0.01 * np.sqrt(0.4), rel=0.5)
    assert eight.suspect
    assert eight.efficiency > 1.1


def test_base_is_the_smallest_count_measured():
    table = build_scaling_table({1: [], 2: [20.0], 8: [72.0]}, WEAK)
    assert table.base == 2
    assert table.rows[2].efficiency == pytest.approx(0.9)


def test_scaling_of_nothing_or_of_two_sessions_is_refused():
    with pytest.raises(ValueError, match="no card count"):
        build_scaling_table({1: [], 2: []}, WEAK)
    with pytest.raises(ValueError, match="one session, not from 2: monday, tuesday"):
        build_scaling_table({1: [1.0], 2: [2.0]}, WEAK, {1: ["monday"], 2: ["tuesday"]})


def test_weak_and_strong():
    assert name_scaling({1: 32, 2: 32, 8: 32}) == WEAK
    assert name_scaling({1: 64, 2: 32, 8: 8}) == STRONG
    assert name_scaling({1: 64, 2: 32, 8: 32}) is None


@pytest.mark.parametrize("kind", [WEAK, STRONG])
def test_the_model_gets_its_constants_back(kind):
    compute, latency, transfer = 0.2, 1e-4, 0.03
    times = {
        n: (compute / n if kind == STRONG else compute)
        + latency * 2 * (n - 1)
        + transfer * 2 * (n - 1) / n
        for n in (1, 2, 4, 8)
    }
    model = fit_scaling_model(times, kind, gradient_bytes=4.4e8)
    assert model.compute_seconds == pytest.approx(compute, rel=1e-6)
    assert model.latency_seconds == pytest.approx(latency, rel=1e-4)
    assert model.transfer_seconds == pytest.approx(transfer, rel=1e-5)
    assert model.bytes_per_second == pytest.approx(4.4e8 / transfer, rel=1e-5)
    assert model.error_ratio < 1e-9
    predictions = predict_scaling(model)
    assert [row.n_cards for row in predictions] == list(PREDICTED_CARDS)
    efficiencies = [row.efficiency for row in predictions]
    assert efficiencies == sorted(efficiencies, reverse=True)
    assert all(row.low <= row.efficiency <= row.high for row in predictions)


def test_predictions_widen_with_noise_and_start_above_what_was_measured():
    rng = np.random.RandomState(6)
    times = {n: 0.2 + 0.02 * 2 * (n - 1) / n for n in (1, 2, 4, 8, 16)}
    noisy = {n: time * (1.0 + 0.01 * rng.standard_normal()) for n, time in times.items()}
    exact = predict_scaling(fit_scaling_model(times, WEAK))
    rough = predict_scaling(fit_scaling_model(noisy, WEAK), n_draws=200)
    assert exact[0].n_cards == 32
    assert rough[0].high - rough[0].low > exact[0].high - exact[0].low
    assert predict_scaling(fit_scaling_model(times, WEAK), [2, 16]) == ()


def test_too_few_card_counts_fix_no_model():
    with pytest.raises(ValueError, match="3 card counts do not fix"):
        fit_scaling_model({1: 0.2, 2: 0.21, 4: 0.22}, WEAK)


@given(st.integers(0, 10_000))
def test_nonnegative_least_squares_is_optimal(seed):
    rng = np.random.RandomState(seed)
    terms, target = rng.standard_normal((6, 3)), rng.standard_normal(6)
    found = solve_nonnegative(terms, target)
    assert found.min() >= 0.0
    # Karush-Kuhn-Tucker: no coefficient can be moved for the better.
    slope = terms.T @ (terms @ found - target)
    assert np.all(slope > -1e-9)
    assert np.all(np.abs(slope[found > 0.0]) < 1e-9)


def test_flops_of_a_tiny_model_by_hand():
    # S = 3, P = 2, H = 4, I = 6, L = 2, V = 11.
    flops = count_model_flops(TINY, seq_length=3, n_predictions=2)
    assert flops.projections == 2 * 4 * (2 * 3 * 4 * 4)
    assert flops.attention == 2 * 2 * (2 * 3 * 3 * 4)
    assert flops.feed_forward == 2 * 2 * (2 * 3 * 4 * 6)
    assert flops.pooler == 2 * 4 * 4
    assert flops.mlm_head == 2 * 2 * 4 * 4 + 2 * 2 * 4 * 11
    assert flops.nsp_head == 2 * 4 * 2
    assert flops.relative_positions == 0
    assert flops.forward == 768 + 288 + 576 + 32 + 240 + 16
    assert flops.training == 3 * flops.forward


def test_relative_positions_cost_as_much_as_attention_forward_and_less_backward():
    flops = count_model_flops({**TINY, "use_relative_position": True}, 3, 2)
    plain = count_model_flops(TINY, 3, 2)
    assert flops.forward == plain.forward + plain.attention
    assert flops.training == plain.training + 2 * plain.attention


def test_flops_of_bert_base_are_about_six_per_parameter_and_token():
    flops = count_model_flops(BERT_BASE, seq_length=128, n_predictions=20)
    encoder_parameters = 12 * (4 * 768 * 768 + 2 * 768 * 3072)
    assert flops.training == pytest.approx(6.0 * encoder_parameters * 128, rel=0.1)
    assert flops.training > 6.0 * encoder_parameters * 128


def test_presets_of_the_trainer_have_all_sizes():
    folder = Path(__file__).resolve().parents[2] / "bert" / "configs"
    for path in folder.glob("*.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        assert count_model_flops(config, 128, 20).training > 0


def test_peak_is_cited_or_absent_with_a_reason():
    peak = find_peak_flops("Ascend910A", "fp16")
    assert peak.per_second == 256e12
    assert "Huawei" in peak.source
    assert find_peak_flops("910", "mixed") == peak
    for card, precision, word in (
        (None, "fp16", "not known"),
        ("910A", "fp32", "not for fp32"),
        ("Ascend910B", "fp16", "two generations"),
        ("910ProB", "fp16", "no figure"),
        ("something", "fp16", "on file"),
    ):
        unknown = find_peak_flops(card, precision)
        assert unknown.per_second is None
        assert word in unknown.reason


def test_utilisation_by_hand():
    flops = count_model_flops(BERT_BASE, 128, 20)
    rate = 1000.0
    found = compute_utilisation(rate, flops, find_peak_flops("910A", "fp16"))
    assert found == pytest.approx(rate * flops.training / 256e12)
    assert 0.2 < found < 0.4
    assert compute_utilisation(rate, flops, find_peak_flops(None, "fp16")) is None
