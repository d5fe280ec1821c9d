"""The stand-in of the Ascend adapter within the process of a test."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List

import tensorflow.compat.v1 as tf

from bert.backends.base import build_backend
from bert.backends.rank import RankEnvironment
from bert.flags import parse_flags
from bert.train_config import TrainConfig, build_train_config
from bert.training import run
from tests.tf.ascend_ranks import FAKES, ascend_flags, read_checkpoint


class FakeNpu:
    """A single rank on the stand-in, in this process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record = directory / "record.jsonl"

    def build_config(self, *words: str, **changes: Any) -> TrainConfig:
        """Returns the configuration of a command line for the small model."""
        flags = parse_flags(ascend_flags(self.directory, *words, **changes))
        return build_train_config(flags, RankEnvironment())

    def build_estimator(self, *words: str, **changes: Any) -> Any:
        """Returns the estimator that a training would use; builds no graph."""
        forget_job()
        config = self.build_config(*words, **changes)
        backend = build_backend(config, RankEnvironment(job_id=os.environ.get("JOB_ID", "")))
        backend.check()
        return backend.build_train_estimator(lambda features, labels, mode: None)

    def find_parameters(self, *words: str, **changes: Any) -> Dict[str, Any]:
        """Returns what the device would be given; raises where it would end the process."""
        from npu_bridge._native import sessions

        estimator = self.build_estimator(*words, **changes)
        parameters = sessions.find_parameters(estimator.config.session_config)
        sessions.check_parameters(parameters)
        return parameters

    def train(self, *words: str, **changes: Any) -> Dict[str, Any]:
        """Trains; returns the variables of the newest checkpoint."""
        tf.reset_default_graph()
        forget_job()
        config = self.build_config(*words, **changes)
        run.train_and_evaluate(config, RankEnvironment(job_id=os.environ.get("JOB_ID", "")))
        newest = tf.train.latest_checkpoint(config.output_dir)
        return read_checkpoint(self.directory, int(newest.rsplit("-", 1)[1])) if newest else {}

    def find(self, event: str) -> List[Dict[str, Any]]:
        """Returns what was recorded under a name."""
        lines = self.record.read_text("utf-8").splitlines() if self.record.exists() else []
        return [record for record in map(json.loads, lines) if record["event"] == event]


def forget_job() -> None:
    """Lets the adapter read the job anew, which it does once per process."""
    from npu_bridge.estimator.npu.npu_common import NPUBasics

    NPUBasics._instance = None


def provide(directory: Path) -> Iterator[FakeNpu]:
    """Body of a fixture: the stand-in can be imported, the environment is put back afterwards."""
    saved = dict(os.environ)
    sys.path.insert(0, str(FAKES))
    npu = FakeNpu(directory)
    os.environ.update(JOB_ID="test", FAKE_NPU_RECORD=str(npu.record))
    try:
        yield npu
    finally:
        os.environ.clear()
        os.environ.update(saved)
        sys.path[:] = [path for path in sys.path if path != str(FAKES)]
