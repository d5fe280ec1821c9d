"""A log that TF 1.15 really wrote, with both of its handlers and all of its chatter."""

import pytest

from bench.logs import read_log, read_logs


@pytest.fixture(scope="module", name="report")
def fixture_report(golden_logs):
    return read_log(golden_logs / "tf_1_15_estimator.log")


def test_each_message_counts_once(report, golden_logs):
    text = (golden_logs / "tf_1_15_estimator.log").read_text()
    assert text.count("global_step/sec") == 8
    rates = [event.steps_per_second for event in report.step_rates]
    assert rates == [735.823, 3569.32, 1035.13, 4023.7]
    assert report.problem_counts == {"duplicate": 58}


def test_each_event_has_the_time_of_its_second_form(report):
    walls = report.step_rates.column("wall_seconds").tolist()
    assert walls == sorted(walls)
    assert walls[-1] - walls[0] == pytest.approx(0.029849, abs=1e-7)
    assert set(report.step_rates.column("thread_id")) == {139899180538752}


def test_losses_of_both_hooks(report):
    losses = list(report.losses)
    four_tags = [event for event in losses if event.masked_lm_loss is not None]
    assert [event.global_step for event in four_tags] == [1, 21, 41, 61, 81]
    assert [event.global_step for event in losses] == [1, 1, 21, 21, 41, 41, 61, 61, 81, 81]
    assert four_tags[0].elapsed_seconds is None
    assert four_tags[-1].next_sentence_loss == 8.378485e-10
    assert four_tags[-1].elapsed_seconds == 0.005


def test_the_rest_of_the_run(report, golden_logs):
    assert [event.global_step for event in report.checkpoints] == [0, 50, 100]
    assert [event.loss for event in report.final_losses] == [3.340331e-09]
    assert [event.phase for event in report.eval_progress] == (
        ["started"] + ["batch"] * 10 + ["finished"]
    )
    (result,) = report.eval_results
    assert result.metrics["masked_lm_loss"] == 2.7988407e-09
    assert {event.severity for event in report.notices} == {"W", "E"}
    stalls = [event for event in report.notices if event.text.startswith("It seems that global")]
    assert len(stalls) == 5
    (rank,) = read_logs([golden_logs / "tf_1_15_estimator.log"]).ranks
    assert rank.key.thread_id is None
