"""Which rank wrote what, and that damage does not add a rank."""

import random

import pytest

from bench.logs import read_logs, write
from bench.logs.ranks import find_stray_threads
from tests.log_corpus import WHEN, build_lines, damage, join

RATE = "global_step/sec: 2.451"
# Addresses of main threads: anywhere, at the same place of a page.
THREADS = [281473752813584, 281473228546064, 281473117769744, 281473584246800, 281472971046928]


def write_log(path, lines):
    path.write_bytes(b"".join(line.encode() + b"\n" for line in lines))
    return path


def absl(thread, message=RATE):
    return write.render_absl(message, WHEN, thread, write.STEP_RATE_SOURCE)


def list_labels(*paths):
    return [rank.key.label for rank in read_logs(paths).ranks]


def test_by_the_name_of_the_file(tmp_path):
    paths = [write_log(tmp_path / f"train_{n}.log", [absl(THREADS[0])]) for n in (10, 2, 0)]
    assert list_labels(*paths) == ["device 0", "device 2", "device 10"]
    assert list_labels(tmp_path) == ["device 0", "device 2", "device 10"]


def test_by_the_line_that_tells_the_rank(tmp_path):
    lines = [write.render_rank_line(8, 3), absl(THREADS[0]), RATE]
    (rank,) = read_logs([write_log(tmp_path / "train_7.log", lines)]).ranks
    assert (rank.key.rank_id, rank.key.rank_size, rank.key.device) == (3, 8, 7)
    assert rank.key.label == "rank 3"
    assert len(rank.rows("step_rates")) == 2


def test_by_thread_where_ranks_share_a_log(tmp_path):
    lines = [absl(THREADS[1]), absl(THREADS[0]), absl(THREADS[1]), RATE]
    found = read_logs([write_log(tmp_path / "all.log", lines)])
    assert [rank.key.thread_id for rank in found.ranks] == [THREADS[1], THREADS[0]]
    assert [len(rank.rows("step_rates")) for rank in found.ranks] == [2, 1]
    assert (found.n_lines, found.n_bytes) == (4, found.reports[0].n_bytes)


def test_several_ranks_that_name_themselves_in_one_log(tmp_path):
    lines = [write.render_rank_line(2, n) for n in range(2)] + [absl(t) for t in THREADS[:2]]
    assert len(list_labels(write_log(tmp_path / "train_0.log", lines))) == 2


def test_a_log_without_threads_is_one_rank_and_one_without_training_none(tmp_path):
    assert list_labels(write_log(tmp_path / "a.log", [RATE, RATE])) == ["a.log"]
    assert list_labels(write_log(tmp_path / "b.log", ["hello"])) == []


def test_other_threads_of_a_process_are_no_ranks(tmp_path):
    lines = [absl(THREADS[0]), absl(140123456789504, "Calling model_fn.")]
    assert list_labels(write_log(tmp_path / "a.log", lines)) == ["a.log"]


@pytest.mark.parametrize(
    ("counts", "strays"),
    [
        (dict.fromkeys(THREADS, 1), set()),
        ({**dict.fromkeys(THREADS, 1), THREADS[0] + 1: 1}, {THREADS[0] + 1}),
        ({**dict.fromkeys(THREADS, 1), 28147375: 1}, {28147375}),
        ({**dict.fromkeys(THREADS, 900), THREADS[0] + 4096: 2}, {THREADS[0] + 4096}),
        ({**dict.fromkeys(THREADS, 9), THREADS[0] + 1: 9}, set()),
        ({**dict.fromkeys(THREADS, 9), 12345: 9}, set()),
        ({**dict.fromkeys(THREADS, 1), 271473752813584: 1}, {271473752813584}),
        ({THREADS[0]: 9, 281473752813583: 1}, {281473752813583}),
        ({THREADS[0]: 9, 28147375281358: 1}, {28147375281358}),
        ({THREADS[0]: 9, 2814737528135845: 1}, {2814737528135845}),
        ({THREADS[0]: 9, THREADS[0] + 4096: 9}, set()),
        ({12345: 5, 12346: 5, 12347: 5}, set()),
        ({}, set()),
    ],
)
def test_stray_thread_ids(counts, strays):
    assert find_stray_threads(counts) == strays


@pytest.mark.parametrize("seed", range(6))
def test_damage_never_adds_a_rank(seed, tmp_path):
    lines = build_lines(seed, 800, n_ranks=1 + seed, others=0.0)
    clean, hurt = tmp_path / "clean.log", tmp_path / "hurt.log"
    clean.write_bytes(join(lines))
    hurt.write_bytes(join(damage(lines, seed, 0.5)))
    threads = {row["thread_id"] for rank in read_logs([clean]).ranks for row in rank.rows("losses")}
    wanted = {rank.key.thread_id for rank in read_logs([clean]).ranks}
    assert len(wanted) == 1 + seed
    found = {rank.key.thread_id for rank in read_logs([hurt]).ranks}
    assert found <= wanted
    assert len(found) > seed // 2
    assert threads


@pytest.mark.parametrize("seed", range(40))
def test_a_changed_digit_in_the_sample_adds_no_rank(seed, golden_logs, tmp_path):
    rng = random.Random(seed)
    data = (golden_logs / "seed_sample.log").read_bytes()
    wanted = {rank.key.thread_id for rank in read_logs([golden_logs / "seed_sample.log"]).ranks}
    places = [place for place in range(len(data)) if data[place : place + 6] == b"281473"]
    place = rng.choice(places) + rng.randrange(15)
    changed = data[:place] + str(rng.randrange(10)).encode() + data[place + 1 :]
    path = tmp_path / "changed.log"
    path.write_bytes(changed)
    assert {rank.key.thread_id for rank in read_logs([path]).ranks} <= wanted
