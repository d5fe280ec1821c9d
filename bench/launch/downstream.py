"""The trainer's command line for fine-tuning and prediction, and the data and model behind it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional

from bench.errors import DataError, UsageError
from bench.launch.trainer import (
    PRECISION_FLAGS,
    TRAINER_PACKAGE,
    find_model_config,
    find_trainer_folder,
    resolve_warmup_steps,
)
from bench.spec import RunSpec
from bench.spec_downstream import DEFAULT_DATASETS, PREDICT

SAMPLE_MODEL = Path("samples") / "pretrain-toy"
_DEFAULT_MODEL = RunSpec().model
_TRAIN_STEPS_OF_PREDICT = 1


@dataclass(frozen=True)
class DownstreamPlan:
    """What a run of a downstream task works on.

    Attributes:
        head: ``"classifier"``, ``"ner"`` or ``"reading"``: the trainer's module.
        dataset: the trainer's name of the data set.
        data_dir: directory of its files.
        vocab: vocabulary file.
        model_config: BERT configuration file.
        is_sample: the data are the made-up sample that comes with the trainer.
    """

    head: str
    dataset: str
    data_dir: Path
    vocab: Path
    model_config: Path
    is_sample: bool


def plan_downstream(spec: RunSpec) -> DownstreamPlan:
    """Finds data, vocabulary and model of a downstream task.

    Raises:
        UsageError: a vocabulary without its model or the reverse, or no sample for the data set.
        DataError: a file or directory that was named is not there.
    """
    settings = spec.downstream
    head = settings.predict_with if spec.task == PREDICT else spec.task
    dataset = settings.dataset or DEFAULT_DATASETS[head]
    folder = find_trainer_folder()
    if folder is None:
        raise UsageError("downstream tasks need the trainer package bert beside the harness")
    if settings.data_dir is not None:
        data_dir = Path(settings.data_dir)
    else:
        data_dir = folder / "downstream" / "samples" / dataset
        if not data_dir.is_dir():
            raise UsageError(
                f"there is no sample of data set {dataset!r}; name its downstream.data_dir"
            )
    if settings.vocab is None and spec.model != _DEFAULT_MODEL:
        raise UsageError(f"model {spec.model} needs its vocabulary: set downstream.vocab=FILE")
    if settings.vocab is None:
        vocab = folder / SAMPLE_MODEL / "vocab.txt"
        model_config = folder / SAMPLE_MODEL / "bert_config.json"
    else:
        vocab, model_config = Path(settings.vocab), find_model_config(spec.model)
    for path, what in ((data_dir, "data directory"), (vocab, "vocabulary")):
        if not path.exists():
            raise DataError(f"{what} {path} does not exist")
    return DownstreamPlan(
        head, dataset, data_dir.resolve(), vocab.resolve(), model_config, settings.data_dir is None
    )


def build_downstream_argv(
    spec: RunSpec,
    plan: DownstreamPlan,
    backend: str,
    iterations_per_loop: int,
    output_dir: Path,
    python: Optional[str] = None,
) -> List[str]:
    """The trainer's command line; the same for every rank.

    Fine-tuning trains for ``steps`` steps and then scores some checkpoints; prediction fine-tunes
    for a single step, unless a fine-tuned checkpoint is given, as weights do not change its speed,
    and then times ``steps`` batches.
    """
    flags: Dict[str, object] = {
        "task_name": plan.dataset,
        "data_dir": plan.data_dir,
        "vocab_file": plan.vocab,
        "bert_config_file": plan.model_config,
        "output_dir": output_dir,
        "backend": backend,
        "max_seq_length": spec.seq_length,
        "learning_rate": repr(spec.learning_rate),
        "optimizer_type": spec.optimizer,
        "random_seed": spec.random_seed,
        **PRECISION_FLAGS[spec.precision],
    }
    if spec.downstream.init_checkpoint is not None:
        flags["init_checkpoint"] = Path(spec.downstream.init_checkpoint).resolve()
    if spec.task == PREDICT:
        trains = spec.downstream.init_checkpoint is None
        flags.update(
            do_train=_word(trains),
            do_eval="false",
            do_predict="true",
            max_steps=_TRAIN_STEPS_OF_PREDICT,
            iterations_per_loop=_TRAIN_STEPS_OF_PREDICT,
            train_batch_size=1,
            predict_batch_size=spec.batch_size,
            predict_batches=spec.steps,
            predict_warmup_batches=10,
        )
    else:
        every = max(1, spec.steps // spec.downstream.n_scorings)
        flags.update(
            do_train="true",
            do_eval="true",
            do_predict="false",
            max_steps=spec.steps,
            warmup_proportion=repr(resolve_warmup_steps(spec) / spec.steps),
            iterations_per_loop=iterations_per_loop,
            train_batch_size=spec.batch_size,
            save_checkpoints_steps=spec.save_checkpoints_steps or every,
        )
    words = [f"--{name}={value}" for name, value in flags.items()]
    module = f"{TRAINER_PACKAGE}.downstream.{plan.head}"
    return [python or sys.executable, "-m", module, *words, *spec.trainer_options]


def describe_downstream(plan: DownstreamPlan) -> Dict[str, str]:
    """What a result keeps of the data."""
    return {
        "kind": "sample" if plan.is_sample else "user's",
        "directory": str(plan.data_dir),
        "dataset": plan.dataset,
        "vocab": str(plan.vocab),
    }


def _word(value: bool) -> str:
    return "true" if value else "false"
