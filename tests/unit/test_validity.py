"""Each validity check, passing and failing, with its figure."""

import dataclasses
from pathlib import Path

import pytest

from bench.measure import loss_band
from bench.measure.intervals import OVERFLOW, Interval, LossRecord, RankTrack
from bench.measure.loss_band import (
    LossBand,
    check_loss_band,
    describe_case,
    learn_loss_band,
    read_loss_bands,
    render_loss_bands,
)
from bench.measure.validity import (
    check_clock,
    check_declared,
    check_group_size,
    check_intervals,
    check_no_foreign_processes,
    check_shards,
    check_skipped,
    check_steady,
)
from bench.measure.windows import classify_intervals
from bench.spec import build_spec


def _rank(n, reason="steady", seconds=4.0):
    return [Interval(10 * (i + 1), 10, seconds, 10.0 / seconds, reason) for i in range(n)]


def _losses(values, seconds=4.0, start=100.0):
    return [
        LossRecord(i, 10 * (i + 1), seconds, None, None, value, start + i * seconds)
        for i, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("told", "n_cards", "passed"),
    [
        (["2", "2"], 2, True),
        ([None], 1, True),
        (["2", "1"], 2, False),
        (["2", None], 2, False),
        (["1", "1"], 2, False),
        ([None, None], 2, None),
    ],
)
def test_group_size(told, n_cards, passed):
    assert check_group_size(told, n_cards).passed is passed


@pytest.mark.parametrize(
    ("told", "passed"),
    [
        (["a:0/1 b:0/1", "c:0/1"], True),
        (["a:0/2", "a:1/2"], True),
        (["a:0/1 b:0/1", "b:0/1"], False),
        (["a:0/2", "a:0/2"], False),
        (["a:0/1", "a:1/2"], False),
        (["a:0/2", None], None),
        ([None, None], None),
        (["a:0/1 ...", "b:0/1"], None),
    ],
)
def test_shards(told, passed):
    assert check_shards(told, 2).passed is passed


def test_declared_flags_are_held_against_those_of_the_log():
    asked = {"train_batch_size": "16", "learning_rate": "0.001", "do_train": "true"}
    told = {"train_batch_size": "16", "learning_rate": "1e-3", "do_train": "True", "other": "x"}
    assert check_declared(asked, [told, told]).found == "6 flags agree"
    wrong = check_declared(asked, [told, dict(told, train_batch_size="8")])
    assert wrong.passed is False
    assert wrong.found == "train_batch_size is 8, not 16"
    assert check_declared(asked, [{}]).passed is None
    assert check_declared({}, [told]).passed is None


def _skipping(gained):
    """Of 44 intervals of 10 steps three gain fewer."""
    good = [*_rank(1), *_rank(3, OVERFLOW), *_rank(40)]
    return [
        Interval(
            10 * (i + 1),
            gained if item.reason == OVERFLOW else 10,
            item.seconds,
            item.steps_per_second,
            item.reason,
        )
        for i, item in enumerate(good)
    ]


def test_skipped_updates_count_from_the_window_on():
    rank = _skipping(8)
    assert check_skipped(classify_intervals([rank])).passed is False
    assert check_skipped(classify_intervals([rank]), 0.1).passed is True
    none = check_skipped(classify_intervals([_rank(40)]))
    assert none.found == "0 of 400 steps, in 0 intervals"


def test_one_skipped_step_in_a_long_interval_is_no_storm():
    assert check_skipped(classify_intervals([_skipping(9)])).passed is True


def test_steady_state_and_intervals():
    steady = classify_intervals([_rank(40)])
    assert check_steady(steady, True).passed is True
    assert check_intervals(steady).found == "40 per rank at the least"
    short = classify_intervals([_rank(4)])
    assert check_steady(short, True).fatal
    assert not check_steady(short, False).fatal
    assert check_intervals(short).passed is True
    assert check_intervals(classify_intervals([[]])).passed is False


def test_clock():
    track = RankTrack("rank 0", losses=_losses([1.0] * 20))
    assert check_clock([track]).passed is True
    slow = [
        LossRecord(i, r.step, 4.0, None, None, 1.0, 100.0 + 5.0 * i)
        for i, r in enumerate(track.losses)
    ]
    assert check_clock([RankTrack("rank 0", losses=slow)]).passed is False
    back = list(track.losses)
    back[10] = LossRecord(10, 110, 4.0, None, None, 1.0, 50.0)
    assert check_clock([RankTrack("rank 0", losses=back)]).passed is False
    assert check_clock([RankTrack("rank 0")]).passed is None
    # A lost line makes a gap in the stamps, and is no fault of the clock.
    lost = [record for i, record in enumerate(track.losses) if i not in (5, 6, 7)]
    assert check_clock([RankTrack("rank 0", losses=lost)]).passed is True


def test_cards_to_itself():
    assert check_no_foreign_processes([], "").passed is True
    assert check_no_foreign_processes(["pid 7 on NPU 0"], "").found == "pid 7 on NPU 0"
    assert check_no_foreign_processes(None, "no driver").passed is None


def _runs():
    return [[_losses([10.0 - 0.4 * i + 0.01 * k for i in range(20)])] for k in range(6)]


def test_a_band_is_learned_and_holds_its_own_kind():
    band = learn_loss_band({"model": "x", "cards": 1}, _runs(), [100, 200])
    assert [step for step, _, _ in band.points] == [100, 200]
    for runs in _runs():
        assert check_loss_band([band], {"model": "x", "cards": 1}, runs).passed is True
    high = [_losses([10.0] * 20)]
    check = check_loss_band([band], {"model": "x", "cards": 1}, high)
    assert check.passed is False
    assert "at step 100" in check.wanted
    assert check_loss_band([band], {"model": "x", "cards": 1}, [[]]).passed is False
    assert check_loss_band([band], {"model": "x", "cards": 2}, high).passed is None
    with pytest.raises(ValueError, match="at least 5 runs"):
        learn_loss_band({}, _runs()[:3], [100])


def test_bands_survive_writing(tmp_path):
    band = LossBand({"model": "x", "cards": 2, "data_language": None}, 6, ((50, 5.0, 6.5),))
    path = tmp_path / "bands.yaml"
    path.write_text(render_loss_bands([band]))
    assert read_loss_bands(path) == [band]


def test_the_shipped_bands_are_those_of_the_default_case():
    spec = build_spec([])
    bands = read_loss_bands(Path(loss_band.__file__).with_name("loss_bands.yaml"))
    cases = [describe_case(dataclasses.asdict(spec), n_cards) for n_cards in (1, 2)]
    assert [dict(band.case) for band in bands] == cases
    for band in bands:
        assert band.n_runs >= 5
        # Far below the loss of a model that has learned nothing, ln 8000 and ln 2.
        assert all(0.0 < low < high < 9.0 for _, low, high in band.points)
