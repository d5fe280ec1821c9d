"""What one fine-tuning was asked to do: the flags, checked and resolved, frozen.

Device, model, optimiser and precision are configured as in pre-training, by the same code; the
number of steps follows from the data, and is put in once they are counted.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Dict, List, Mapping, Optional, Tuple

from bert.backends.rank import RankEnvironment
from bert.downstream.datasets import READING, find_split_file, get_dataset
from bert.downstream.flags import SHARED_NAMES
from bert.errors import UsageError
from bert.flags import ALL_FLAGS
from bert.train_config import TrainConfig, build_train_config

_STEPS_PER_LOOP = 10
_TPU_FLAGS = ("use_tpu", "tpu_name", "tpu_zone", "gcp_project", "master")


@dataclasses.dataclass(frozen=True)
class FineTuneConfig:
    """One fine-tuning.

    Attributes:
        train: device, model, optimiser, precision, as in pre-training. Before `resolve_steps` the
            number of steps and all that follows from it are placeholders.
        task_name: name of the data set, as in `bert.downstream.datasets`.
        data_dir: directory of the data set, or None.
        files: split → file, for those that are named.
        vocab_file, do_lower_case: of the tokenizer.
        max_seq_length: S.
        do_train, do_eval, do_predict: what is asked for.
        scores_all: whether all kept checkpoints are scored, or only the best one known.
        predict_has_labels: whether the data to predict have labels.
        n_epochs, n_steps: length of the training; `n_steps` goes first if it is not None.
        warmup_ratio: share of the steps.
        n_steps_per_loop, save_steps: as asked for; None if they follow from the steps.
        eval_batch_size, predict_batch_size: sequences per step.
        n_warmup_batches, n_rounds, n_batches: how latency is measured.
        options: flags that only the task knows.
    """

    train: TrainConfig
    task_name: str
    data_dir: Optional[str]
    files: Mapping[str, str]
    vocab_file: str
    do_lower_case: bool
    max_seq_length: int
    do_train: bool
    do_eval: bool
    do_predict: bool
    scores_all: bool
    predict_has_labels: bool
    n_epochs: float
    n_steps: Optional[int]
    warmup_ratio: float
    n_steps_per_loop: Optional[int]
    save_steps: Optional[int]
    eval_batch_size: int
    predict_batch_size: int
    n_warmup_batches: int
    n_rounds: int
    n_batches: int
    options: Mapping[str, Any]


def build_finetune_config(
    kind: str, flags: Mapping[str, Any], rank: RankEnvironment
) -> FineTuneConfig:
    """Checks flag values and resolves those that do not depend on the data.

    Args:
        kind: "classifier", "ner" or "reading".
        flags: flag name → value.
        rank: this process among the ranks.

    Raises:
        UsageError: if a value is out of range, missing, refused, or contradicts another.
    """
    _check_flags(kind, flags)
    do_train = flags["do_train"] or flags["do_train_and_eval"]
    do_eval = flags["do_eval"] or flags["do_train_and_eval"]
    asked_all = flags["do_eval_all"]
    if asked_all is None:
        asked_all = flags.get("do_predict_all")
    scores_all = do_train if asked_all is None else asked_all
    if not do_train and not do_eval and not asked_all and not flags["do_predict"]:
        raise UsageError("--do_train, --do_eval and --do_predict are all off; nothing is to do")
    names = {"train": "train_file", "dev": "eval_file", "test": "predict_file"}
    config = FineTuneConfig(
        train=_build_train_config(flags, rank),
        task_name=get_dataset(flags["task_name"]).name,
        data_dir=flags["data_dir"] or None,
        files={split: flags[name] for split, name in names.items() if flags[name]},
        vocab_file=flags["vocab_file"],
        do_lower_case=flags["do_lower_case"],
        max_seq_length=flags["max_seq_length"],
        do_train=do_train,
        do_eval=do_eval or bool(asked_all),
        do_predict=flags["do_predict"],
        scores_all=scores_all,
        predict_has_labels=flags["predict_has_labels"],
        n_epochs=flags["num_train_epochs"],
        n_steps=flags["max_steps"],
        warmup_ratio=flags["warmup_proportion"],
        n_steps_per_loop=flags["iterations_per_loop"],
        save_steps=flags["save_checkpoints_steps"],
        eval_batch_size=flags["eval_batch_size"],
        predict_batch_size=flags["predict_batch_size"],
        n_warmup_batches=flags["predict_warmup_batches"],
        n_rounds=flags["predict_rounds"],
        n_batches=flags["predict_batches"],
        options=dict(flags),
    )
    if kind == READING and "dev" not in config.files and "test" in config.files:
        # The field's command has one file for both.
        files = {**config.files, "dev": config.files["test"]}
        config = dataclasses.replace(config, files=files)
    for split in list_splits(config):
        find_file(config, split)
    return config


def list_splits(config: FineTuneConfig) -> List[str]:
    """Returns the splits that the run reads."""
    asked = (("train", config.do_train), ("dev", config.do_eval), ("test", config.do_predict))
    return [split for split, is_asked in asked if is_asked]


def find_file(config: FineTuneConfig, split: str) -> str:
    """Returns the file of a split.

    Raises:
        UsageError: neither the file nor a directory is named.
        DataError: the directory does not hold it.
    """
    if split in config.files:
        return config.files[split]
    if config.data_dir is None:
        flag = {"train": "train_file", "dev": "eval_file", "test": "predict_file"}[split]
        raise UsageError(f"--{flag} is missing; name the file, or its directory by --data_dir")
    return find_split_file(config.task_name, config.data_dir, split)


def resolve_steps(config: FineTuneConfig, n_rows: int, rank_size: int) -> FineTuneConfig:
    """Puts in the numbers of steps, now that the training data are counted.

    Args:
        config: with placeholders.
        n_rows: sequences of one epoch, of all ranks.
        rank_size: number of ranks.
    """
    n_per_step = config.train.input.n_sequences_per_step * rank_size
    n_steps_per_epoch = max(1, math.ceil(n_rows / n_per_step))
    n_steps, n_per_loop = _resolve_loop(
        config, max(1, math.ceil(n_rows * config.n_epochs / n_per_step))
    )
    n_warmup = min(int(n_steps * config.warmup_ratio), n_steps - 1)
    schedule = dataclasses.replace(
        config.train.optimizer.schedule, n_warmup_steps=n_warmup, n_train_steps=n_steps
    )
    save_steps = config.save_steps
    if save_steps is None:
        # All checkpoints of a training are kept, so that the best of all can be chosen.
        fewest = math.ceil(n_steps / config.train.keep_checkpoint_max)
        save_steps = max(n_steps_per_epoch, fewest)
        if config.train.backend == "ascend":  # it saves between loops
            save_steps = math.ceil(save_steps / n_per_loop) * n_per_loop
    train = dataclasses.replace(
        config.train,
        optimizer=dataclasses.replace(config.train.optimizer, schedule=schedule),
        n_steps_per_loop=n_per_loop,
        n_steps_per_loss_line=config.options["display_loss_steps"] or n_per_loop,
        save_checkpoints_steps=save_steps,
    )
    return dataclasses.replace(config, train=train)


def _resolve_loop(config: FineTuneConfig, n_epoch_steps: int) -> Tuple[int, int]:
    """Returns the number of steps, and of steps per loop."""
    if config.n_steps is not None:
        n_steps = config.n_steps
        n_per_loop = config.n_steps_per_loop
        if n_per_loop is None:
            n_per_loop = math.gcd(n_steps, _STEPS_PER_LOOP)
        return n_steps, n_per_loop
    n_per_loop = config.n_steps_per_loop or min(_STEPS_PER_LOOP, n_epoch_steps)
    if config.train.backend == "ascend":
        # A device takes whole loops; a last one that is cut short would take another graph.
        n_epoch_steps = math.ceil(n_epoch_steps / n_per_loop) * n_per_loop
    return n_epoch_steps, n_per_loop


def _check_flags(kind: str, flags: Mapping[str, Any]) -> None:
    for name in _TPU_FLAGS:
        if flags[name]:
            raise UsageError(f"--{name}={flags[name]} is refused: there is no TPU backend")
    if not flags["task_name"]:
        raise UsageError("--task_name is missing: xnli, lcqmc, chnsenti or generic")
    dataset = get_dataset(flags["task_name"])
    if dataset.kind != kind:
        raise UsageError(
            f"--task_name={flags['task_name']}: use python -m bert.downstream.{dataset.kind}"
        )
    if dataset.name == "cmrc" and flags["version_2_with_negative"]:
        raise UsageError(
            "--version_2_with_negative does not go with --task_name=cmrc, whose scores have no "
            "questions without answer; use squad_v2"
        )
    for name in ("vocab_file", "output_dir"):
        if not flags[name]:
            raise UsageError(f"--{name} is missing; --help tells what it is")
    for name in (
        *("predict_batch_size", "predict_rounds", "max_steps", "save_checkpoints_steps"),
        *("predict_batches", "n_best_size", "max_answer_length"),
    ):
        if flags.get(name) is not None and flags[name] < 1:
            raise UsageError(f"--{name}={flags[name]} must be at least 1")
    n_steps, n_per_loop = flags["max_steps"], flags["iterations_per_loop"]
    if n_steps and n_per_loop and n_steps % n_per_loop:
        raise UsageError(
            f"--max_steps={n_steps} is not a multiple of --iterations_per_loop={n_per_loop}"
        )
    if flags["predict_warmup_batches"] < 0:
        raise UsageError("--predict_warmup_batches must not be below 0")
    if not flags["num_train_epochs"] > 0 or math.isinf(flags["num_train_epochs"]):
        raise UsageError(f"--num_train_epochs={flags['num_train_epochs']} must be above 0")
    if not 0 <= flags["warmup_proportion"] < 1:
        raise UsageError(f"--warmup_proportion={flags['warmup_proportion']} must be in [0, 1)")


def _build_train_config(flags: Mapping[str, Any], rank: RankEnvironment) -> TrainConfig:
    """Lets pre-training check and resolve what is its own."""
    own: Dict[str, Any] = {spec.name: spec.default for spec in ALL_FLAGS}
    own.update({name: flags[name] for name in SHARED_NAMES})
    for name in ("output_dir", "train_batch_size", "eval_batch_size", "keep_checkpoint_max"):
        own[name] = flags[name]
    if flags.get("rand_seed") is not None:
        own["random_seed"] = flags["rand_seed"]
    n_steps = flags["max_steps"] or 1
    own.update(
        input_files_dir=flags["data_dir"] or "named by files",
        do_train=True,
        do_eval=False,
        num_warmup_steps=0,
        num_train_steps=n_steps,
        iterations_per_loop=1
        if flags["iterations_per_loop"] is None
        else flags["iterations_per_loop"],
        save_checkpoints_steps=flags["save_checkpoints_steps"] or 0,
    )
    if flags["max_steps"] is None:
        own["num_train_steps"] = own["iterations_per_loop"]
    if flags["profile_steps"] and flags["max_steps"] is None:
        raise UsageError("--profile_steps needs --max_steps, to tell which steps there are")
    return build_train_config(own, rank)
