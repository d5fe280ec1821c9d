"""Fine-tuning in processes of its own: one per rank, on the CPU or on the stand-in of Ascend."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

from tests.tf.ascend_ranks import FAKES, make_devices, write_rank_table
from tests.tf.test_ranks import find_free_addresses

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "bert" / "samples" / "pretrain-toy"
SAMPLES = ROOT / "bert" / "downstream" / "samples"


class Run(NamedTuple):
    """What the ranks left behind."""

    codes: List[int]
    logs: List[str]
    output: Path

    def read_json(self, name: str) -> Any:
        """Returns the content of a file of the output."""
        return json.loads((self.output / name).read_text("utf-8"))

    def find_errors(self) -> List[str]:
        """Returns the error lines of all ranks."""
        lines = [line for log in self.logs for line in log.splitlines()]
        return [line for line in lines if line.startswith("ERROR: ")]


def build_command_line(values: Dict[str, Any]) -> List[str]:
    """Returns flags; those that are None are left out."""
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def sample_flags(task: str, **changes: Any) -> Dict[str, Any]:
    """Returns the flags of a fine-tuning on a shipped sample."""
    flags = {
        "task_name": task,
        "data_dir": str(SAMPLES),
        "vocab_file": str(TOY / "vocab.txt"),
        "bert_config_file": str(TOY / "bert_config.json"),
        "train_batch_size": 16,
        "max_seq_length": 48,
        "learning_rate": 3e-4,
    }
    flags.update(changes)
    return flags


def run_module(
    module: str, directory: Path, flags: Dict[str, Any], n_ranks: int = 1, fake_npu: bool = False
) -> Run:
    """Runs `python -m <module>`, one process per rank.

    Args:
        module: name of the entry.
        directory: of logs, and of the output in its `output` unless flags say where.
        flags: flag name → value.
        n_ranks: number of processes.
        fake_npu: on the stand-in of an Ascend device.
    """
    directory.mkdir(parents=True, exist_ok=True)
    flags = {"output_dir": str(directory / "output"), **flags}
    environs = build_environs(directory, n_ranks, fake_npu)
    if fake_npu:
        flags.update(backend="ascend", npu_device_root=str(make_devices(directory / "dev")))
    processes = []
    for rank, environ in enumerate(environs):
        with open(directory / f"rank_{rank}.log", "wb") as log:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", module, *build_command_line(flags)],
                    env=environ,
                    cwd=str(directory),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    try:
        codes = [process.wait(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    logs = [(directory / f"rank_{rank}.log").read_text("utf-8") for rank in range(n_ranks)]
    return Run(codes, logs, Path(flags["output_dir"]))


def build_environs(directory: Path, n_ranks: int, fake_npu: bool) -> List[Dict[str, str]]:
    """Returns the environment of each rank."""
    addresses = find_free_addresses(n_ranks)
    environs = []
    for rank in range(n_ranks):
        paths = [str(FAKES), str(ROOT)] if fake_npu else [str(ROOT)]
        environ = dict(os.environ, PYTHONPATH=os.pathsep.join(paths))
        if n_ranks > 1:
            environ.update(RANK_ID=str(rank), RANK_SIZE=str(n_ranks))
        if fake_npu:
            environ.update(JOB_ID="test", FAKE_NPU_RECORD=str(directory / f"rank_{rank}.jsonl"))
            if n_ranks > 1:
                table = write_rank_table(directory / "rank_table.json", n_ranks)
                environ.update(RANK_TABLE_FILE=str(table), FAKE_NPU_ADDRESSES=",".join(addresses))
        elif n_ranks > 1:
            task = {"type": "worker", "index": rank}
            environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
        environs.append(environ)
    return environs


def check_success(run: Run) -> None:
    """Asserts that all ranks ended well; shows the log of the first."""
    assert run.codes == [0] * len(run.codes), run.logs[0][-4000:]
