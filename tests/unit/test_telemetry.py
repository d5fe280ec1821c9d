"""The sampler against a host of scripts: values, failures, hanging tools, and what it costs."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest

from bench.devices import command
from bench.devices.command import CommandAnswer, run_command
from bench.errors import DataError, OutputError
from bench.spec import RunSpec, for_cards
from bench.telemetry.host import HostReader, RankReader, find_foreign
from bench.telemetry.model import CardReading, TelemetrySample, TelemetrySnapshot
from bench.telemetry.npu import (
    CardDirectory,
    _ask_overview,
    _list_detail_questions,
    build_npu_sources,
)
from bench.telemetry.polling import Answer, PolledSource, Question
from bench.telemetry.sampler import TelemetrySampler, open_sampler
from bench.telemetry.simulated import MAX_CARDS, simulate_cards
from bench.telemetry.store import FILE_NAME, TelemetryWriter, read_telemetry
from tests.fakes.npu_host import FakeHost, build_cards

FAST = 0.05
LIMIT_SECONDS = 20.0


def wait_for(condition, what):
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.01)


@contextmanager
def start_rank(code="import time; time.sleep(60)"):
    process = subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def run_dir(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def build_sampler(host, run_dir, process_ids=None):
    sources = build_npu_sources(str(host.root), FAST)
    ids = process_ids or {}
    return TelemetrySampler(run_dir, {0: 0, 1: 1}, ids, sources, None, FAST, str(host.root))


# --- commands ------------------------------------------------------------------------------------


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path):
    mark = tmp_path / "child"
    script = f"sleep 60 & echo $! > {mark}; echo started; wait"
    answer = run_command(["sh", "-c", script], 0.5)
    assert answer.reason == "sh took longer than 0.5 s"
    assert answer.output == "started\n"
    assert answer.seconds < 5.0
    child = int(mark.read_text())
    wait_for(lambda: not os.path.exists(f"/proc/{child}") or _is_zombie(child), "the child's end")


def _is_zombie(process_id):
    try:
        with open(f"/proc/{process_id}/stat", encoding="utf-8") as stream:
            return stream.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def test_a_command_that_leaves_a_child_with_its_streams_does_not_hold_us():
    answer = run_command(["sh", "-c", "sleep 60 & echo here"], 10.0)
    assert (answer.output, answer.reason) == ("here\n", None)
    assert answer.seconds < 5.0


def test_words_between_two_looks_at_a_command_are_not_lost(monkeypatch):
    """The command speaks and ends after its streams were found silent."""
    real = command._has_ended
    calls = []

    def has_ended(process):
        if not calls:
            time.sleep(0.5)
        calls.append(process)
        return real(process)

    monkeypatch.setattr("bench.devices.command._has_ended", has_ended)
    answer = run_command(["sh", "-c", "sleep 0.2; echo last words"], 10.0)
    assert (answer.output, answer.reason) == ("last words\n", None)
    assert calls


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        (["sh", "-c", "echo why >&2; exit 3"], "sh exited with 3: why"),
        (["sh", "-c", "echo said; exit 4"], "sh exited with 4: said"),
        (["sh", "-c", "kill -9 $$"], "sh exited with -9"),
        (["no-such-tool-here"], "no-such-tool-here is not installed"),
        (["/etc/passwd"], "passwd does not run: Permission denied"),
    ],
)
def test_why_a_command_failed(argv, reason):
    assert run_command(argv, 5.0).reason == reason


def test_a_command_that_is_no_longer_wanted_ends_at_once():
    cancel = threading.Event()
    timer = threading.Timer(0.1, cancel.set)
    timer.start()
    answer = run_command(["sleep", "60"], 50.0, cancel=cancel)
    timer.join()
    assert answer.reason == "sleep was no longer wanted"
    assert answer.seconds < 5.0


def test_a_babbling_command_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr("bench.devices.command.MAX_OUTPUT_BYTES", 1 << 16)
    answer = run_command(["sh", "-c", "while :; do echo babble; done"], 0.3)
    assert len(answer.output) <= 2 << 16
    assert answer.cpu_seconds > 0.0


# --- the cards -----------------------------------------------------------------------------------


def test_all_sources_of_a_host(tmp_path, run_dir):
    with start_rank() as rank:
        cards = build_cards(2, processes=((rank.pid, "python", 30784),), busy="93", ecc=(2, 0))
        host = FakeHost(tmp_path / "root", cards)
        with build_sampler(host, run_dir, {0: rank.pid}) as sampler:
            wait_for(
                lambda: (
                    sampler.latest().sample is not None
                    and len(sampler.latest().sample.cards) == 2
                    and sampler.latest().sample.cards[1].link_speed_bytes_per_second is not None
                    and sampler.latest().sample.cards[1].firmware_version is not None
                ),
                "all values",
            )
            snapshot = sampler.latest()
    card = snapshot.sample.cards[1]
    assert replace(card, energy_joules=None) == CardReading(
        device=1,
        name="910A",
        bus_id="0000:42:00.0",
        firmware_version="7.5.0.1.129",
        health="ok",
        error_codes=(),
        power_watts=68.6,
        temperature_celsius=36.0,
        hbm_temperature_celsius=41.0,
        core_usage_ratio=0.93,
        core_frequency_hertz=900e6,
        core_rated_frequency_hertz=1000e6,
        hbm_used_bytes=0,
        hbm_total_bytes=32768 << 20,
        hbm_bandwidth_usage_ratio=0.17,
        hbm_ecc_single_bit_errors=2,
        hbm_ecc_double_bit_errors=0,
        process_ids=(rank.pid,),
        foreign_process_ids=(),
        link_up=True,
        network_health="Success",
        link_up_count=1,
        link_speed_bytes_per_second=12.5e9,
        roce_receive_errors=0,
        roce_transmit_errors=0,
        roce_retries=3,
    )
    assert [name for name, state in snapshot.sources.items() if state.success] == [
        "host",
        "ranks",
        "npu_smi",
        "npu_details",
        "hccn",
    ]
    assert set(snapshot.sample.ages_seconds) == set(snapshot.sources)
    assert snapshot.sample.ranks[0].resident_bytes > 1 << 20
    assert 0.0 < snapshot.cost_seconds < 60.0


TWO_CHIPS = """\
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
| 0     Ascend910           | OK            | 171.3       36                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 12          0    / 0          3125 / 65536         |
| 0     Ascend910           | OK            | -           37                0    / 0             |
| 1     1                   | 0000:9F:00.0  | 0           0    / 0          2871 / 65536         |
"""


def test_a_card_with_two_chips_is_asked_by_its_own_number():
    """Device nodes 0 and 1 are the two chips of card 0; there is no card 1."""
    directory = CardDirectory()
    asked = []

    def run(argv, timeout_seconds, cancel):
        asked.append(" ".join(argv[1:]))
        text = "HBM Temperature(C) : 41\nChip ID : 0\nHBM Temperature(C) : 42\nChip ID : 1\n"
        text = TWO_CHIPS if argv[1:] == ["info"] else "NPU ID : 0\n" + text
        return CommandAnswer(text, "", 0, 0.0, 0.0, None)

    overview = _ask_overview("npu-smi", 1.0, run, directory).ask(threading.Event())
    assert sorted(overview.values) == [0, 1]
    questions = _list_detail_questions("npu-smi", [0, 1], run, directory)
    memory = [one for one in questions if one.name.startswith("-t memory")]
    first, second = (one.ask(threading.Event()) for one in memory)
    assert first.values == {
        0: {"hbm_temperature_celsius": 41.0},
        1: {"hbm_temperature_celsius": 42.0},
    }
    assert (second.values, second.reason) == ({}, None)
    assert asked == ["info", "info -t memory -i 0"]


def test_values_change_with_the_cards(tmp_path, run_dir):
    host = FakeHost(tmp_path / "root", build_cards(2))
    with build_sampler(host, run_dir) as sampler:
        wait_for(lambda: _has_health(sampler), "the first values")
        assert _get_card(sampler, 0).health == "ok"
        host.change(0, health="Alarm", power="250.5", temperature="95")
        wait_for(lambda: _get_card(sampler, 0).health == "alarm", "the alarm")
        assert _get_card(sampler, 0).power_watts == 250.5
        assert _get_card(sampler, 1).health == "ok"


def _has_health(sampler):
    card = _get_card(sampler, 0)
    return card is not None and card.health is not None


def _get_card(sampler, device):
    sample = sampler.latest().sample
    return None if sample is None else sample.cards.get(device)


def test_a_hanging_tool_slows_neither_the_samples_nor_the_end(tmp_path, run_dir):
    host = FakeHost(tmp_path / "root", build_cards(2))
    host.hang()
    with build_sampler(host, run_dir) as sampler:
        wait_for(lambda: sampler.latest().samples > 5, "samples")
        assert sampler.latest().sample.cards == {}
        assert sampler.latest().sample.host is not None
        start = time.monotonic()
    assert time.monotonic() - start < 3.0
    left = [line for line in _list_processes() if str(host.answers) in line]
    assert left == []


def _list_processes():
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and not _is_zombie(int(name)):
            try:
                with open(f"/proc/{name}/cmdline", encoding="utf-8", errors="replace") as stream:
                    found.append(stream.read())
            except OSError:
                pass
    return found


@pytest.mark.parametrize(
    ("text", "code", "reason", "parse_errors"),
    [
        ("dcmi module initialize failed. ret is -8005\n", 0, "dcmi module initialize failed", 0),
        ("", 5, "npu-smi exited with 5", 0),
        ("what is this\n", 0, "its output shows no card", 1),
    ],
)
def test_why_there_are_no_values(tmp_path, run_dir, text, code, reason, parse_errors):
    host = FakeHost(tmp_path / "root", build_cards(1))
    host.answer("npu-smi info", text, code)
    with build_sampler(host, run_dir) as sampler:
        wait_for(lambda: sampler.latest().sources["npu_smi"].collections > 0, "the first failure")
        state = sampler.latest().sources["npu_smi"]
    assert not state.success
    assert reason in state.reason
    assert state.last_success_seconds is None
    assert state.failures == state.collections
    assert (state.parse_errors > 0) == (parse_errors > 0)


def test_a_sub_query_that_is_not_supported_costs_only_its_own_values(tmp_path, run_dir):
    host = FakeHost(tmp_path / "root", build_cards(1))
    host.answer("npu-smi info -t ecc -i 0", "This device does not support querying ecc.\n", 255)
    with build_sampler(host, run_dir) as sampler:
        wait_for(
            lambda: (
                _get_card(sampler, 0) is not None
                and _get_card(sampler, 0).hbm_temperature_celsius is not None
            ),
            "the other values",
        )
        state = sampler.latest().sources["npu_details"]
        card = _get_card(sampler, 0)
    assert card.hbm_ecc_single_bit_errors is None
    assert state.success
    assert state.reason == "-t ecc of card 0: This device does not support querying ecc."


def test_without_the_tools_the_reason_stands_there(tmp_path, run_dir):
    (tmp_path / "root" / "dev").mkdir(parents=True)
    sampler = open_sampler(run_dir, RunSpec(), "ascend", {0: 0}, {}, FAST, str(tmp_path / "root"))
    with sampler:
        wait_for(lambda: sampler.latest().samples > 0, "a sample")
    sources = sampler.latest().sources
    assert "npu-smi is not installed" in sources["npu_smi"].reason
    assert "hccn_tool is not installed" in sources["hccn"].reason
    assert sources["npu_smi"].collections == 0


def test_a_question_without_an_answer_is_asked_ever_more_rarely():
    asked = []

    def ask(cancel):
        asked.append(time.monotonic())
        return Answer(reason="no")

    source = PolledSource("hccn", [Question("q", 0.02, ask)])
    source.start()
    wait_for(lambda: len(asked) >= 5, "five questions")
    source.stop()
    gaps = [after - before for before, after in zip(asked, asked[1:])]
    assert gaps[3] > 2.0 * gaps[0]


def test_an_error_in_a_reader_does_not_end_the_asking():
    answers = iter([ValueError("odd"), Answer({0: {"power_watts": 1.0}})])

    def ask(cancel):
        answer = next(answers, Answer({0: {"power_watts": 1.0}}))
        if isinstance(answer, Exception):
            raise answer
        return answer

    source = PolledSource("npu_smi", [Question("q", 0.01, ask)])
    source.start()
    wait_for(lambda: source.state.success, "an answer")
    source.stop()
    assert source.state.parse_errors == 1
    values, age = source.get_values()
    assert values == {0: {"power_watts": 1.0}}
    assert 0.0 <= age < LIMIT_SECONDS


def test_stale_values_are_withheld(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("bench.telemetry.polling.time.monotonic", lambda: now[0])
    source = PolledSource("npu_smi", [Question("q", 1.0, lambda cancel: Answer())])
    source._note(0, Answer({0: {"power_watts": 5.0}}), 1000.0, 1000.0, 0.0)
    assert source.get_values() == ({0: {"power_watts": 5.0}}, 0.0)
    now[0] += 14.0
    assert source.get_values()[1] == 14.0
    now[0] += 2.0
    assert source.get_values() == ({}, None)


# --- host and ranks ------------------------------------------------------------------------------


def test_the_host_is_told_of(tmp_path):
    reader = HostReader(str(tmp_path))
    reader.read()
    time.sleep(0.25)
    host = reader.read()
    assert host.cpu_seconds["user"] > 0.0
    assert 0.0 <= host.cpu_usage_ratio <= 1.0
    assert host.memory_total_bytes >= host.memory_available_bytes > 0
    assert host.output_total_bytes >= host.output_free_bytes > 0
    assert "lo" not in host.network_receive_bytes


def test_a_rank_counts_with_its_children():
    code = (
        "import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', 'while True: pass'])\n"
    )
    with start_rank(code) as rank:
        reader = RankReader({3: 7}, {3: rank.pid})
        wait_for(lambda: _count_children(rank.pid) == 1, "the child")
        for _ in range(6):
            reading = reader.read()[3]
        time.sleep(0.4)
        before, reading = reading, reader.read()[3]
        assert (reading.rank, reading.device, reading.process_id) == (3, 7, rank.pid)
        assert reading.cpu_seconds > before.cpu_seconds
        assert reading.cpu_usage_cores > 0.1
        assert reading.threads == 2
        assert reading.open_files >= 3
    assert reader.read() == {}


def _count_children(process_id):
    import psutil

    return len(psutil.Process(process_id).children(recursive=True))


def test_the_run_s_own_processes_are_not_foreign():
    sessions = {10: 10, 11: 10, 30: 30}

    def get_session(process_id):
        if process_id not in sessions:
            raise ProcessLookupError(process_id)
        return sessions[process_id]

    assert find_foreign((10, 11), {10}, True, get_session) == ()
    assert find_foreign((10, 30), {10}, True, get_session) == (30,)
    # Ended since the driver was asked.
    assert find_foreign((10, 99), {10}, True, get_session) == ()
    # In a container with numbers of its own nothing can be said, unless ours are among them.
    assert find_foreign((501, 502), {10}, False, get_session) is None
    assert find_foreign((10, 502), {10}, False, get_session) == (502,)
    assert find_foreign((), {10}, False, get_session) == ()


# --- simulated cards -----------------------------------------------------------------------------


def test_simulated_cards_are_labelled_and_repeatable(run_dir):
    spec = for_cards(RunSpec(), 2)
    with open_sampler(run_dir, spec, "simulated", {0: 0, 1: 1}, {}, FAST) as sampler:
        wait_for(lambda: sampler.latest().samples > 3, "samples")
    stored = read_telemetry(run_dir)
    assert stored.simulated
    assert sampler.latest().simulated
    assert sorted(stored.samples[-1].cards) == [0, 1]
    assert stored.samples[-1].cards[0].name.startswith("simulated")
    assert stored.samples[-1].cards[0].energy_joules > 0.0
    assert simulate_cards(spec, [0, 1], 12.5) == simulate_cards(spec, [0, 1], 12.5)
    assert simulate_cards(spec, [0], 12.5)[0] != simulate_cards(spec, [0], 13.5)[0]
    assert len(simulate_cards(spec, range(4096), 1.0)) == MAX_CARDS


def test_a_backend_without_cards_has_host_and_ranks_only(run_dir):
    with open_sampler(run_dir, RunSpec(), "cpu", {0: 0}, {}, FAST) as sampler:
        wait_for(lambda: sampler.latest().samples > 0, "a sample")
    snapshot = sampler.latest()
    assert list(snapshot.sources) == ["host", "ranks"]
    assert snapshot.sample.cards == {}
    assert not snapshot.simulated


# --- the file ------------------------------------------------------------------------------------


def build_sample(seconds, **values):
    return TelemetrySample(
        monotonic_seconds=seconds,
        wall_seconds=1.6e9 + seconds,
        cards={0: CardReading(0, name="910A", error_codes=(), **values)},
        ages_seconds={"npu_smi": 0.5},
    )


def test_what_is_written_is_read_back(run_dir):
    samples = [
        build_sample(float(second), power_watts=60.0 + second % 3, link_up=second % 7 != 0 or None)
        for second in range(130)
    ]
    samples[64] = replace(samples[64], cards={})
    writer = TelemetryWriter(run_dir / FILE_NAME, False, 1.0)
    writer.open()
    for sample in samples:
        writer.write(sample)
    writer.close(TelemetrySnapshot(samples=130, missed=2, cost_seconds=0.5))
    stored = read_telemetry(run_dir)
    assert list(stored.samples) == samples
    assert (stored.simulated, stored.interval_seconds, stored.n_damaged) == (False, 1.0, 0)
    assert (stored.end["samples"], stored.end["missed"]) == (130, 2)
    lines = (run_dir / FILE_NAME).read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
    assert "name" not in lines[3]


def test_a_file_cut_by_a_kill_keeps_its_samples(run_dir):
    writer = TelemetryWriter(run_dir / FILE_NAME, True, 1.0)
    writer.open()
    for second in range(70):
        writer.write(build_sample(float(second), power_watts=float(second)))
    file = run_dir / FILE_NAME
    text = file.read_text()
    file.write_text(text[: len(text) - 9], encoding="utf-8")
    writer.close(TelemetrySnapshot())
    stored = read_telemetry(file)
    assert len(stored.samples) == 69
    assert stored.samples[-1].cards[0].power_watts == 68.0
    assert stored.n_damaged == 1
    assert stored.end is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a file of telemetry"),
        ("[1]\n", "is not a file of telemetry"),
        ('{"format": "ascend-bert telemetry", "version": 9}\n', "is of version 9"),
    ],
)
def test_other_files_are_refused(run_dir, text, said):
    (run_dir / FILE_NAME).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=said):
        read_telemetry(run_dir)
    with pytest.raises(DataError, match="cannot be read"):
        read_telemetry(run_dir / "absent.jsonl")


def test_an_unwritable_folder_is_said_in_one_line(run_dir):
    sampler = TelemetrySampler(run_dir / "absent", {0: 0}, {})
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        sampler.__enter__()


def test_late_samples_are_counted_and_not_caught_up(run_dir, monkeypatch):
    sampler = TelemetrySampler(run_dir, {0: 0}, {}, interval_seconds=FAST)
    slow = iter([0.3])
    real = sampler._host.read

    def read():
        time.sleep(next(slow, 0.0))
        return real()

    monkeypatch.setattr(sampler._host, "read", read)
    with sampler:
        wait_for(lambda: sampler.latest().samples >= 4, "samples")
    snapshot = sampler.latest()
    assert snapshot.missed >= 4
    assert read_telemetry(run_dir).end["missed"] == snapshot.missed
    assert len(read_telemetry(run_dir).samples) == snapshot.samples
