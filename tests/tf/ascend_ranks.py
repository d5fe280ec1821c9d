"""Runs the trainer on the stand-in of the Ascend adapter, one process per rank."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

import tensorflow.compat.v1 as tf

from tests.tf.graphs import SMALL_MODEL, small_flags
from tests.tf.test_ranks import find_free_addresses

ROOT = Path(__file__).resolve().parents[2]
FAKES = ROOT / "tests" / "fakes" / "site"


class Result(NamedTuple):
    """What one rank left behind."""

    code: int
    log: str
    records: List[Dict[str, Any]]

    def find(self, event: str) -> List[Dict[str, Any]]:
        """Returns the records of one kind."""
        return [record for record in self.records if record["event"] == event]


def write_rank_table(path: Path, n_ranks: int) -> Path:
    """Writes a table of one server with the first cards."""
    devices = [
        {"device_id": str(i), "device_ip": f"192.0.2.{i + 1}", "rank_id": str(i)}
        for i in range(n_ranks)
    ]
    table = {
        "version": "1.0",
        "status": "completed",
        "server_count": "1",
        "server_list": [{"server_id": "198.51.100.1", "device": devices}],
    }
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


def make_devices(directory: Path, n_devices: int = 8) -> Path:
    """Makes files that stand for device nodes."""
    directory.mkdir(exist_ok=True)
    for i in range(n_devices):
        (directory / f"davinci{i}").touch()
    return directory


def ascend_flags(
    directory: Path, *words: str, model: Optional[Dict[str, Any]] = None, **changes: Any
) -> List[str]:
    """Returns a command line for the Ascend backend with the small model of one layer.

    Args:
        directory: where configuration, device nodes and output go.
        *words: further command line words.
        model: keys of the model configuration to add or replace.
        **changes: flags to add or replace.
    """
    common = {
        "backend": "ascend",
        "npu_device_root": str(make_devices(directory / "dev")),
        "connect_timeout_seconds": 120,
        "iterations_per_loop": 1,
    }
    common.update(changes)
    flags = small_flags(directory, **common)
    values = dict(SMALL_MODEL, num_hidden_layers=1, **(model or {}))
    (directory / "model.json").write_text(json.dumps(values), encoding="utf-8")
    return [*flags, *words]


def run_ranks(
    directory: Path,
    n_ranks: int,
    *words: str,
    environs: Optional[Sequence[Dict[str, str]]] = None,
    **changes: Any,
) -> List[Result]:
    """Trains on `n_ranks` processes.

    Args:
        directory: made if need be; output is in its `output`.
        n_ranks: number of processes.
        *words: further command line words.
        environs: further variables for each rank.
        **changes: flags to add or replace.
    """
    directory.mkdir(exist_ok=True)
    arguments = ascend_flags(directory, *words, **changes)
    addresses = ",".join(find_free_addresses(n_ranks))
    table = write_rank_table(directory / "rank_table.json", n_ranks)
    processes = []
    for rank in range(n_ranks):
        record = directory / f"rank_{rank}.jsonl"
        if record.exists():
            record.unlink()
        environ = dict(
            os.environ,
            PYTHONPATH=os.pathsep.join([str(FAKES), str(ROOT)]),
            JOB_ID="test",
            FAKE_NPU_RECORD=str(record),
        )
        if n_ranks > 1:
            environ.update(
                RANK_ID=str(rank),
                RANK_SIZE=str(n_ranks),
                RANK_TABLE_FILE=str(table),
                FAKE_NPU_ADDRESSES=addresses,
            )
        environ.update(environs[rank] if environs else {})
        with open(directory / f"rank_{rank}.log", "wb") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "bert.pretrain", *arguments],
                    env={name: value for name, value in environ.items() if value},
                    cwd=str(directory),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        codes = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [read_result(directory, rank, code) for rank, code in enumerate(codes)]


def read_result(directory: Path, rank: int, code: int) -> Result:
    """Reads what a rank left behind."""
    path = directory / f"rank_{rank}.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    log = (directory / f"rank_{rank}.log").read_text("utf-8")
    return Result(code, log, [json.loads(line) for line in lines])


def check_success(results: Sequence[Result]) -> None:
    """Asserts that all ranks ended well; shows the log of the first that did not."""
    for result in results:
        assert result.code == 0, result.log[-4000:]


def read_checkpoint(directory: Path, step: int) -> Dict[str, Any]:
    """Returns the variables of a checkpoint by name."""
    reader = tf.train.load_checkpoint(str(directory / "output" / f"model.ckpt-{step}"))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
