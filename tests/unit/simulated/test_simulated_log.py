"""The logs of simulated ranks, read by the reader that reads real ones."""

import io
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.devices import simulated_rank
from bench.devices.simulated import SimulatedBackend, count_processes, list_ranks_of_process
from bench.devices.simulated_log import merge_logs, render_log
from bench.devices.simulation import simulate_loops
from bench.errors import UsageError
from bench.logs import read_logs
from tests.unit.simulated.test_simulation import build

START = datetime(2026, 12, 31, 23, 59, 50)


def write_log(path, spec, rank=0, loop=10):
    path.write_bytes(b"".join(data for _, data in render_log(spec, rank, loop, START)))
    return path


def read_rank(path):
    (rank,) = read_logs([path]).ranks
    return rank


def test_the_reader_finds_every_loop(tmp_path):
    spec = build(save=200, noise_ratio=0.05, cards=2)
    loops = list(simulate_loops(spec, 1, 10))
    rank = read_rank(write_log(tmp_path / "train_1.log", spec, rank=1))
    rates = rank.rows("step_rates")["steps_per_second"]
    assert rates == pytest.approx([loop.steps / loop.seconds for loop in loops[1:]], rel=1e-5)
    losses = rank.rows("losses")
    assert losses["global_step"].tolist() == [loop.end_step for loop in loops]
    assert losses["masked_lm_loss"] == pytest.approx([loop.mlm_loss for loop in loops], rel=1e-6)
    assert len(rank.rows("checkpoints")) == 5
    assert (rank.key.rank_id, rank.key.rank_size) == (1, 2)
    assert not rank.report.problem_counts


def test_two_handlers_say_each_thing_once(tmp_path):
    plain = read_rank(write_log(tmp_path / "train_0.log", build()))
    twice = read_rank(write_log(tmp_path / "train_1.log", build(two_handlers=True)))
    for kind, column in (("step_rates", "steps_per_second"), ("losses", "global_step")):
        assert plain.rows(kind)[column].tolist() == twice.rows(kind)[column].tolist()
    assert twice.report.n_lines > plain.report.n_lines * 1.4


def test_checkpoints_may_stay_unsaid(tmp_path):
    spec = build(save=100, checkpoint_logged=False, checkpoint_seconds=9.0)
    assert len(read_rank(write_log(tmp_path / "train_0.log", spec)).rows("checkpoints")) == 0


def test_glued_lines_lose_nothing(tmp_path):
    whole = read_rank(write_log(tmp_path / "train_0.log", build()))
    glued = read_rank(write_log(tmp_path / "train_1.log", build(glued_share=0.5)))
    assert glued.report.problem_counts["merged_lines"] > 10
    kept = glued.rows("losses")["global_step"].tolist()
    assert set(kept) <= set(whole.rows("losses")["global_step"].tolist())
    assert len(kept) >= 0.9 * len(whole.rows("losses"))


@settings(max_examples=12)
@given(st.floats(0.0, 0.5), st.floats(0.0, 0.3), st.integers(0, 10**6), st.booleans())
def test_damage_invents_no_rate(tmp_path_factory, torn, lost, seed, two_handlers):
    spec = build(
        steps=150, torn_share=torn, lost_share=lost, seed=seed, two_handlers=two_handlers,
        noise_ratio=0.1, lockstep=False,
    )  # fmt: skip
    printed = [f"{loop.steps / loop.seconds:g}" for loop in simulate_loops(spec, 0, 10)]
    path = write_log(tmp_path_factory.mktemp("log") / "train_0.log", spec)
    for rank in read_logs([path]).ranks:
        rates = rank.rows("step_rates")
        for rate in rates["steps_per_second"][rates["is_whole"]].tolist():
            assert min(abs(rate / float(text) - 1.0) for text in printed) < 1e-5


def test_one_file_of_many_ranks_is_taken_apart(tmp_path):
    spec = build(cards=8, steps=500, jitter_seconds=0.05, noise_ratio=0.02, lockstep=False)
    path = tmp_path / "all.log"
    path.write_bytes(merge_logs([render_log(spec, rank, 10, START) for rank in range(8)]))
    ranks = read_logs([path]).ranks
    assert len(ranks) == 8
    found = sorted(rank.rows("step_rates")["steps_per_second"].sum() for rank in ranks)
    wanted = sorted(
        sum(loop.steps / loop.seconds for loop in list(simulate_loops(spec, rank, 10))[1:])
        for rank in range(8)
    )
    assert found == pytest.approx(wanted, rel=1e-5)


def test_a_failing_rank_ends_with_its_error(tmp_path):
    spec = build(fail_rank=0, fail_step=100, torn_share=1.0)
    last = list(render_log(spec, 0, 10, START))[-1]
    assert last[1] == b"ERROR: internal: simulated failure at step 110\n"


@pytest.mark.parametrize(
    ("cards", "asked", "processes"), [(8, None, 8), (4096, None, 16), (10, 4, 3)]
)
def test_processes_share_the_ranks_without_gap_or_overlap(cards, asked, processes):
    spec = build(cards=cards, ranks_per_process=asked)
    assert count_processes(spec) == processes == SimulatedBackend().count_processes(spec)
    shared = [rank for leader in range(processes) for rank in list_ranks_of_process(spec, leader)]
    assert sorted(shared) == list(range(cards))


def test_a_rank_without_process_cannot_fail():
    spec = build(cards=64, fail_rank=40)
    with pytest.raises(UsageError, match="ranks_per_process=1"):
        SimulatedBackend().allocate(spec, (64,))


class _Stream:
    def __init__(self):
        self.buffer = io.BytesIO()
        self.text = ""

    def write(self, text):
        self.text += text


def test_a_process_writes_its_ranks_and_the_truth(tmp_path, monkeypatch):
    from bench.results.store import write_spec
    from bench.spec import spec_to_dict

    spec = build(cards=4, steps=100, ranks_per_process=2)
    (tmp_path / "logs").mkdir()
    write_spec(tmp_path, spec_to_dict(spec))
    stream = _Stream()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("RANK_ID", "0")
    argv = ["--spec", str(tmp_path / "spec.yaml"), "--iterations-per-loop", "10"]
    assert simulated_rank.main(argv) == 0
    assert stream.buffer.getvalue().count(b"global_step/sec") == 9
    assert [path.name for path in (tmp_path / "logs").iterdir()] == ["train_2.log"]
    assert (tmp_path / "truth.json").is_file()
    monkeypatch.setenv("RANK_ID", "1")
    assert simulated_rank.main(argv) == 0
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [
        "train_2.log",
        "train_3.log",
    ]
    (tmp_path / "spec.yaml").write_text("nonsense: 1\n")
    assert simulated_rank.main(argv) == 64
    assert stream.text.startswith("ERROR: usage: ")
