"""Flag values checked: each by itself, and against each other and the environment."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Tuple

from bert.backends.rank import RankEnvironment
from bert.errors import UsageError, render_suggestion


class OptimizerDefaults(NamedTuple):
    """What flags left open become; the values of the original trainer."""

    epsilon: float
    lr_power: float


OPTIMIZERS = {
    "adam": OptimizerDefaults(epsilon=1e-4, lr_power=1.0),
    "lamb": OptimizerDefaults(epsilon=1e-6, lr_power=0.5),
}

# Values that no backend can honour, with the reason given to the user.
_REFUSED = (
    ("horovod", True, "ranks are averaged by the backend itself; leave the flag out"),
    ("use_fp16", True, "it rewrites graphs for GPUs; use --manual_fp16"),
)

# Flags that ask for something only the Ascend backend has, with what to do elsewhere.
_ASCEND_ONLY = {
    "over_dump": "",
    "over_dump_path": "",
    "npu_bert_job_start_file": "",
    "npu_option": "",
    "precision_mode": "; a CPU computes in the types of the graph, see --manual_fp16",
}

_AT_LEAST_ONE = (
    "max_seq_length",
    "train_batch_size",
    "eval_batch_size",
    "num_train_steps",
    "iterations_per_loop",
    "max_eval_steps",
    "keep_checkpoint_max",
    "connect_timeout_seconds",
    "num_accumulation_steps",
    "max_predictions_per_seq",
    "init_loss_scale_value",
)

_AT_LEAST_ZERO = (
    "num_warmup_steps",
    "save_checkpoints_steps",
    "save_summary_steps",
    "skip_corrupt",
    "learning_rate",
    "weight_decay",
    "random_seed",
)


def check_flags(flags: Mapping[str, Any], rank: RankEnvironment) -> None:
    """Checks all that can be told without reading a file.

    Args:
        flags: flag name → value, as `bert.flags.parse_flags` returns them.
        rank: this process among the ranks.

    Raises:
        UsageError: if a value is out of range, missing, refused, or contradicts another.
    """
    _check_refused(flags)
    _check_ranges(flags)
    _check_required(flags)
    _check_distributed(flags, rank)
    _check_profile(flags)


def split_directories(text: Optional[str]) -> Tuple[str, ...]:
    """Returns the names of a comma-separated list."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def parse_steps(name: str, text: Optional[str]) -> Tuple[int, ...]:
    """Returns the numbers of a comma-separated list of steps, sorted, each once.

    Raises:
        UsageError: if a word is not a whole number from 1 on.
    """
    words = [word.strip() for word in (text or "").split(",")] if text else []
    for word in words:
        if not (word.isdigit() and int(word)):
            raise UsageError(f"--{name}={text}: {word!r} is not a step; steps count from 1")
    return tuple(sorted({int(word) for word in words}))


def _check_refused(flags: Mapping[str, Any]) -> None:
    for name, value, reason in _REFUSED:
        if flags[name] == value:
            raise UsageError(f"--{name}={value} is refused: {reason}")
    for name, remedy in _ASCEND_ONLY.items():
        if flags[name] and flags["backend"] != "ascend":
            raise UsageError(
                f"--{name}={flags[name]} is refused: it needs --backend=ascend, not "
                f"{flags['backend']}{remedy}"
            )
    if flags["optimizer_type"] not in OPTIMIZERS:
        raise UsageError(
            "--optimizer_type={!r} is refused: it is none of {}{}".format(
                flags["optimizer_type"],
                ", ".join(OPTIMIZERS),
                render_suggestion(flags["optimizer_type"].lower(), OPTIMIZERS),
            )
        )


def _check_ranges(flags: Mapping[str, Any]) -> None:
    for name in _AT_LEAST_ONE:
        if flags[name] < 1:
            raise UsageError(f"--{name}={flags[name]} must be at least 1")
    for name in (*_AT_LEAST_ZERO, "lr_power"):
        if flags[name] is not None and not flags[name] >= 0:
            raise UsageError(f"--{name}={flags[name]} must not be below 0")
    for name in (
        "display_loss_steps",
        "intra_op_parallelism_threads",
        "inter_op_parallelism_threads",
    ):
        if flags[name] is not None and flags[name] < 1:
            raise UsageError(f"--{name}={flags[name]} must be at least 1")
    for name in ("adam_beta1", "adam_beta2"):
        if not 0.0 <= flags[name] < 1.0:
            raise UsageError(f"--{name}={flags[name]} must be in [0, 1)")
    for name in ("adam_epsilon", "clip_norm"):
        if flags[name] is not None and not flags[name] > 0.0:
            raise UsageError(f"--{name}={flags[name]} must be above 0")
    if flags["max_seq_length"] < 3:
        raise UsageError(
            f"--max_seq_length={flags['max_seq_length']} has no room for [CLS], [SEP] and a token"
        )


def _check_required(flags: Mapping[str, Any]) -> None:
    if not flags["bert_config_file"]:
        raise UsageError("--bert_config_file is missing; give a JSON or a preset such as bert-tiny")
    if not flags["output_dir"]:
        raise UsageError("--output_dir is empty; name a directory for the checkpoints")
    if not flags["do_train"] and not flags["do_eval"]:
        raise UsageError("--do_train and --do_eval are both off; there is nothing to do")
    if not flags["synthetic_input"]:
        if flags["do_train"] and not split_directories(flags["input_files_dir"]):
            raise UsageError("--input_files_dir is missing; name directories of *.tfrecord")
        if flags["do_eval"] and not split_directories(flags["eval_files_dir"]):
            raise UsageError("--eval_files_dir is missing, and --do_eval needs it")
    n_steps, n_per_loop = flags["num_train_steps"], flags["iterations_per_loop"]
    if flags["do_train"] and n_steps % n_per_loop:
        raise UsageError(
            f"--num_train_steps={n_steps} is not a multiple of --iterations_per_loop={n_per_loop}"
        )
    if (
        flags["do_train"]
        and flags["lr_crossover"] == "continuous"
        and flags["num_warmup_steps"] >= n_steps
    ):
        raise UsageError(
            f"--num_warmup_steps={flags['num_warmup_steps']} must be below "
            f"--num_train_steps={n_steps}, or no step is left for the decay"
        )


def _check_distributed(flags: Mapping[str, Any], rank: RankEnvironment) -> None:
    if flags["distributed"] is False and rank.rank_size > 1:
        raise UsageError(
            f"--distributed=False contradicts the environment RANK_SIZE={rank.rank_size}; every "
            "rank would train on the same data"
        )


def _check_profile(flags: Mapping[str, Any]) -> None:
    steps = parse_steps("profile_steps", flags["profile_steps"])
    if not steps:
        return
    if flags["backend"] == "ascend":
        raise UsageError(
            "--profile_steps is refused: an Ascend device profiles whole runs; use "
            "--npu_option enable_profiling=true and --npu_option profiling_options=…"
        )
    if steps[-1] > flags["num_train_steps"]:
        raise UsageError(
            f"--profile_steps={flags['profile_steps']}: step {steps[-1]} is behind the last one, "
            f"--num_train_steps={flags['num_train_steps']}"
        )
