"""Telemetry in results: what a run stores, marks beside intervals, the measured window."""

import datetime
import json

import pytest

from bench.cli import main
from bench.results.model import RankRecord
from bench.session.telemetry import (
    NO_DRIVER,
    describe_telemetry,
    get_foreign_processes,
    join_telemetry,
)
from bench.telemetry.model import CardReading, SourceState, TelemetrySample, TelemetrySnapshot
from bench.telemetry.store import FILE_NAME, TelemetryWriter, read_telemetry
from bench.telemetry.summary import find_hold, summarise

START = datetime.datetime(2026, 3, 2, 12).timestamp()
# As in a log: without a year, counted from 1 January in a calendar with a 29 February.
STAMP = (datetime.datetime(2020, 3, 2, 12) - datetime.datetime(2020, 1, 1)).total_seconds()


def write_telemetry(folder, seconds, simulated=False, sources=None, **columns):
    writer = TelemetryWriter(folder / FILE_NAME, simulated, 1.0)
    writer.open()
    for second in range(seconds):
        cards = {
            device: CardReading(
                device, **{name: read(second, device) for name, read in columns.items()}
            )
            for device in (4, 5)
        }
        writer.write(TelemetrySample(float(second), START + second, cards))
    writer.close(TelemetrySnapshot(samples=seconds, missed=1, sources=sources or {}))


def build_record(rank, reasons):
    """Intervals of 10 s, the first one ends 10 s after the start."""
    return RankRecord(
        rank=rank,
        label=str(rank),
        device=rank + 4,
        exit_code=0,
        last_step=100,
        intervals={
            "end_step": [10 * (index + 1) for index in range(len(reasons))],
            "seconds": [10.0] * len(reasons),
            "wall_seconds": [STAMP + 10.0 * (index + 1) for index in range(len(reasons))],
            "reason": list(reasons),
        },
        losses={},
        loss_scales=[],
        problems={},
    )


REASONS = ("warm-up", "steady", "steady", "outlier", "checkpoint")


def test_marks_and_the_measured_window(tmp_path):
    write_telemetry(
        tmp_path,
        60,
        power_watts=lambda second, device: 300.0 if 10 <= second < 40 else 50.0,
        hbm_ecc_single_bit_errors=lambda second, device: int(device == 5 and second >= 35),
    )
    telemetry = describe_telemetry(tmp_path, {4: 0, 5: 1})
    assert (telemetry["samples"], telemetry["missed"], telemetry["simulated"]) == (60, 1, False)
    ranks = [build_record(0, REASONS), build_record(1, REASONS)]
    (first, second), joined = join_telemetry(tmp_path, telemetry, ranks)
    assert first.intervals["marks"] == ["", "", "", "", ""]
    assert second.intervals["marks"] == ["", "", "", "memory errors", ""]
    assert first.intervals["reason"] == list(REASONS)
    window = joined["window"]
    assert (window["seconds"], window["start_seconds"]) == (30.0, START + 10.0)
    assert window["cards"]["4"]["power_mean_watts"] == pytest.approx(300.0)
    assert window["cards"]["5"]["energy_joules"] == pytest.approx(9000.0)
    assert window["cards"]["5"]["rank"] == 1
    assert joined["cards"]["4"]["power_mean_watts"] < 200.0


def test_a_log_without_times_has_no_marks(tmp_path):
    write_telemetry(tmp_path, 60, power_watts=lambda second, device: 1.0)
    record = build_record(0, REASONS)
    record.intervals["wall_seconds"][:] = [None] * len(REASONS)
    (found,), joined = join_telemetry(tmp_path, describe_telemetry(tmp_path, {4: 0}), [record])
    assert found.intervals["marks"] == [None] * len(REASONS)
    assert joined["window"] is None


def test_a_rank_of_another_host_is_left_alone(tmp_path):
    write_telemetry(tmp_path, 60, power_watts=lambda second, device: 1.0)
    (found,), joined = join_telemetry(
        tmp_path, describe_telemetry(tmp_path, {4: 0}), [build_record(9, REASONS)]
    )
    assert found.intervals["marks"] == [None] * len(REASONS)
    assert joined["window"] is None


def test_without_a_file_there_is_a_reason(tmp_path):
    telemetry = describe_telemetry(tmp_path, {})
    assert list(telemetry) == ["reason"]
    record = build_record(0, REASONS)
    assert join_telemetry(tmp_path, telemetry, [record])[0] == (record,)
    assert get_foreign_processes(telemetry) == (None, telemetry["reason"])


def test_foreign_processes_for_the_validity_check(tmp_path):
    write_telemetry(
        tmp_path,
        5,
        foreign_process_ids=lambda second, device: (77,) if (second, device) == (3, 5) else (),
    )
    telemetry = describe_telemetry(tmp_path, {4: 0, 5: 1})
    assert get_foreign_processes(telemetry)[0] == ["process 77 on card 5"]
    assert get_foreign_processes(describe_telemetry(tmp_path, {4: 0}))[0] == []
    write_telemetry(tmp_path, 5, simulated=True, foreign_process_ids=lambda second, device: ())
    assert get_foreign_processes(describe_telemetry(tmp_path, {4: 0})) == (None, NO_DRIVER)
    sources = {"npu_smi": SourceState("npu_smi", reason="npu-smi is not installed")}
    write_telemetry(tmp_path, 5, sources=sources)
    assert get_foreign_processes(describe_telemetry(tmp_path, {4: 0})) == (
        None,
        "npu-smi is not installed",
    )


def test_a_run_of_days_is_read_thinned(tmp_path):
    write_telemetry(tmp_path, 100, power_watts=lambda second, device: float(second))
    thin = read_telemetry(tmp_path, most_samples=10).samples
    assert 9 <= len(thin) <= 12
    assert (thin[0].wall_seconds, thin[-1].wall_seconds) == (START, START + 99.0)
    whole = {sample.wall_seconds: sample for sample in read_telemetry(tmp_path).samples}
    assert all(whole[sample.wall_seconds] == sample for sample in thin)
    assert find_hold(thin) > 10.0
    assert summarise(thin)["cards"]["4"]["power_mean_watts"] == pytest.approx(44.5, abs=2.0)


def test_a_simulated_run_keeps_its_telemetry(tmp_path, capsys):
    code = main(
        ["bench", "--backend", "simulated", "--cards", "2", "--steps", "100", "--quiet"]
        + ["--output", str(tmp_path)]
    )
    assert code == 0, capsys.readouterr().err
    (folder,) = (tmp_path / "runs").iterdir()
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    telemetry = result["found"]["telemetry"]
    assert telemetry["file"] == FILE_NAME
    assert telemetry["simulated"] is True
    assert sorted(telemetry["cards"]) == ["0", "1"]
    assert telemetry["cost_seconds"] < 60.0
    assert read_telemetry(folder).end["samples"] == telemetry["samples"]
    assert all(len(set(map(len, rank["intervals"].values()))) == 1 for rank in result["ranks"])
