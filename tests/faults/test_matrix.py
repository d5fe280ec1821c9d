"""Faults of ranks, logs, disks, signals and services: each is told for what it is.

Of every fault: the exit code, the verdict in the stored result, what was measured until then is
kept, nothing of others is touched, and no process lives on. The table stands at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.faults.faults import FAULTS, RANK_TABLES
from tests.faults.harness import ROOT, plant_foreign

SLOWEST_SECONDS = 30.0


def _get_verdict(outcome):
    if not outcome.results:
        return ""
    result = outcome.result
    if result["failure"] is not None:
        return result["failure"]["kind"]
    failed = [c["name"] for c in result["validity"] if c["passed"] is False and c["required"]]
    return f"invalid: {failed[0]}" if failed else "valid"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_fault(fault, tmp_path, matrix):
    plant_foreign(tmp_path / "out")
    outcome = fault.run(tmp_path / "out")
    delay, verdict, steps = outcome.find_delay(), _get_verdict(outcome), outcome.count_steps()
    matrix.append(
        (
            fault.name,
            "-" if delay is None else f"{delay:.1f} s",
            verdict or "refused",
            outcome.exit_code,
            steps,
            len(outcome.orphans),
        )
    )
    assert outcome.exit_code == fault.exit_code, outcome.errors
    assert verdict == fault.verdict
    assert "Traceback" not in outcome.errors
    assert all(result["state"] in ("finished", "failed") for result in outcome.results)
    assert steps >= fault.kept
    assert outcome.orphans == []
    assert outcome.damage == []
    assert delay is None or delay < SLOWEST_SECONDS
    failures = [r["failure"]["message"] for r in outcome.results if r["failure"] is not None]
    assert fault.told in " ".join([outcome.errors, *failures])
    if fault.verdict == "stalled" and "hang" in outcome.result["found"]:
        run = outcome.folder / "runs" / outcome.result["run_id"]
        hang = outcome.result["found"]["hang"]
        assert (run / "hang" / "hang.json").is_file()
        assert f"hang/rank_{hang['first_silent_rank']}.txt" in hang["files"]


@pytest.mark.parametrize("way", sorted(RANK_TABLES))
def test_rank_table(way, tmp_path, matrix):
    table = _build_table()
    RANK_TABLES[way](table)
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "ranktable", "check", str(path), "--rank-size", "8"],
        cwd=str(ROOT), capture_output=True, timeout=60,
    )  # fmt: skip
    matrix.append((f"rank table: {way}", "-", "refused", done.returncode, 0, 0))
    assert done.returncode in (2, 7), done.stdout + done.stderr
    assert b"Traceback" not in done.stderr


def _build_table():
    servers = [
        {
            "server_id": "10.0.0.1",
            "device": [
                {"device_id": str(n), "device_ip": f"192.168.{n}.1", "rank_id": str(n)}
                for n in range(8)
            ],
        }
    ]
    return {
        "version": "1.0",
        "server_count": "1",
        "status": "completed",
        "server_list": servers,
    }
