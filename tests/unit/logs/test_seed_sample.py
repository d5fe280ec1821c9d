"""The training-log sample that the seed project published, read without being told anything."""

from collections import Counter
from pathlib import Path

import pytest

from bench.logs import read_log, read_logs

SAMPLE = Path(__file__).parents[2] / "golden" / "logs" / "seed_sample.log"


@pytest.fixture(scope="module")
def report():
    return read_log(SAMPLE)


def test_step_rates(report):
    rates = Counter(event.steps_per_second for event in report.step_rates)
    assert rates == {2.451: 4, 2.45098: 1}


def test_losses(report):
    losses = list(report.losses)
    assert [event.global_step for event in losses] == [1323600] * 6
    assert Counter(event.elapsed_seconds for event in losses) == {81.6: 5, 81.599: 1}
    first = losses[0]
    assert (first.line_number, first.thread_id) == (2, 281473228546064)
    assert first.masked_lm_loss == 0.7687549
    assert first.next_sentence_loss == 0.005564222
    assert first.total_loss == 0.7743191


def test_loss_scales_although_labels_and_values_are_apart(report):
    assert [event.value for event in report.loss_scales] == [65536.0] * 5
    assert [event.labelled for event in report.loss_scales] == [True] * 4 + [False]


def test_graph_callbacks(report):
    assert [(e.status, e.kernel, e.microseconds) for e in report.geops] == [
        (0, "GeOp15_0", 2409),
        (0, "GeOp15_0", 2445),
    ]


def test_ranks_by_thread():
    ranks = read_logs([SAMPLE]).ranks
    assert [str(rank.key.thread_id)[-9:] for rank in ranks] == (
        "752813584 228546064 117769744 584246800 971046928 385623568 416220688".split()
    )
    assert [len(rank.rows("losses")) for rank in ranks] == [1, 1, 1, 1, 1, 1, 0]


def test_times(report):
    day = 31 + 29 + 31 + 30 + 20
    walls = report.step_rates.column("wall_seconds")
    assert walls[0] == pytest.approx(day * 86400 + 19 * 3600 + 45 * 60 + 5.731803, abs=1e-7)


def test_problems_and_counts(report):
    assert report.problem_counts == {"merged_lines": 3, "split_loss_scale": 1}
    assert [p.line_number for p in report.problems if p.kind == "merged_lines"] == [7, 14, 16]
    assert (report.n_lines, report.n_bytes) == (17, SAMPLE.stat().st_size)
    assert report.n_events == 18
