"""What one training run was asked to do: the flags, checked and resolved, frozen.

Model, optimiser and hooks read these dataclasses; none of them reads a flag or the environment.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Optional, Tuple

from bert.backends.ascend_config import AscendConfig, build_ascend_config
from bert.backends.rank import RankEnvironment
from bert.config import BertConfig, check_sequence_length, override_dropout, read_bert_config
from bert.errors import UsageError
from bert.flag_checks import OPTIMIZERS, check_flags, parse_steps, split_directories


@dataclasses.dataclass(frozen=True)
class ScheduleConfig:
    """Linear warm-up followed by polynomial decay to 0 at `n_train_steps`.

    Attributes:
        learning_rate: rate where the warm-up ends.
        n_warmup_steps: length of the warm-up.
        n_train_steps: step at which the rate is 0.
        power: power of the decay.
        continuous: start the decay high enough that it passes through `learning_rate` where the
            warm-up ends; else it starts at `learning_rate` in step 0 and there is a drop.
    """

    learning_rate: float
    n_warmup_steps: int
    n_train_steps: int
    power: float = 1.0
    continuous: bool = True


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """Optimiser with decoupled weight decay, and gradient clipping.

    Attributes:
        kind: "adam" or "lamb".
        beta1, beta2: decay of the first and of the second moment.
        epsilon: added to the root of the second moment.
        weight_decay: rate of decay, times the learning rate, of the decayed variables.
        clip_norm: largest norm.
        clip_by_global_norm: clip by the norm of all gradients together, else one by one.
    """

    schedule: ScheduleConfig
    kind: str = "adam"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-4
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    clip_by_global_norm: bool = True


@dataclasses.dataclass(frozen=True)
class LossScaleConfig:
    """How the loss is scaled before the backward pass.

    Attributes:
        mode: "off", "static" or "dynamic".
        initial: the scale, or its first value.
        grow_every_n_steps: finite steps after which a dynamic scale doubles.
        shrink_every_n_bad: non-finite steps after which it halves.
    """

    mode: str = "off"
    initial: float = 65536.0
    grow_every_n_steps: int = 1000
    shrink_every_n_bad: int = 2


@dataclasses.dataclass(frozen=True)
class PrecisionConfig:
    """Compute type, "float32" or "float16", of the encoder and of pooler and heads."""

    encoder: str = "float32"
    heads: str = "float32"


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """Where the sequences come from and their shape.

    Attributes:
        train_directories, eval_directories: directories of TFRecords.
        train_batch_size: sequences of one micro-batch on one device.
        n_micro_batches: micro-batches per update.
        skip_corrupt: damaged places of the files to leave out; one more ends the run.
        synthetic: random ids in memory instead of files.
        shuffle: whether training data are shuffled.
    """

    train_directories: Tuple[str, ...]
    eval_directories: Tuple[str, ...]
    max_seq_length: int
    max_predictions_per_seq: int
    train_batch_size: int
    eval_batch_size: int
    synthetic: bool = False
    shuffle: bool = True
    n_micro_batches: int = 1
    skip_corrupt: int = 0

    @property
    def n_sequences_per_step(self) -> int:
        """Sequences that one device takes per update."""
        return self.train_batch_size * self.n_micro_batches


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Everything one run of the trainer was asked to do."""

    backend: str
    bert: BertConfig
    input: InputConfig
    optimizer: OptimizerConfig
    loss_scale: LossScaleConfig
    precision: PrecisionConfig
    output_dir: str
    init_checkpoint: Optional[str]
    do_train: bool
    do_eval: bool
    max_eval_steps: int
    n_steps_per_loop: int
    n_steps_per_loss_line: int
    save_checkpoints_steps: int
    keep_checkpoint_max: int
    save_summary_steps: int
    profile_steps: Tuple[int, ...]
    report_loss: bool
    verbose_logging: bool
    random_seed: int
    deterministic: bool
    fused_gelu: bool
    dense_gather: bool
    use_xla: bool
    n_intra_op_threads: Optional[int]
    n_inter_op_threads: Optional[int]
    connect_timeout_seconds: int
    ascend: AscendConfig = AscendConfig()


def build_train_config(flags: Mapping[str, Any], rank: RankEnvironment) -> TrainConfig:
    """Checks flag values against each other and resolves those left open.

    Args:
        flags: flag name → value, as `bert.flags.parse_flags` returns them.
        rank: this process among the ranks.

    Raises:
        UsageError: if a value is out of range, missing, refused, or contradicts another.
    """
    check_flags(flags, rank)
    bert = override_dropout(
        read_bert_config(flags["bert_config_file"]),
        0.0 if flags["npu_bert_debug"] else flags["hidden_dropout_prob"],
        0.0 if flags["npu_bert_debug"] else flags["attention_probs_dropout_prob"],
    )
    check_sequence_length(bert, flags["max_seq_length"])
    precision = _build_precision(flags)
    return TrainConfig(
        backend=flags["backend"],
        bert=bert,
        input=_build_input(flags),
        optimizer=_build_optimizer(flags),
        loss_scale=_build_loss_scale(flags, precision),
        precision=precision,
        output_dir=flags["output_dir"],
        init_checkpoint=flags["init_checkpoint"] or None,
        do_train=flags["do_train"],
        do_eval=flags["do_eval"],
        max_eval_steps=flags["max_eval_steps"],
        n_steps_per_loop=flags["iterations_per_loop"],
        n_steps_per_loss_line=flags["display_loss_steps"] or flags["iterations_per_loop"],
        save_checkpoints_steps=flags["save_checkpoints_steps"],
        keep_checkpoint_max=flags["keep_checkpoint_max"],
        save_summary_steps=flags["save_summary_steps"],
        profile_steps=parse_steps("profile_steps", flags["profile_steps"]),
        report_loss=flags["report_loss"],
        verbose_logging=flags["verbose_logging"],
        random_seed=flags["random_seed"],
        deterministic=flags["deterministic"],
        fused_gelu=flags["npu_bert_fused_gelu"],
        dense_gather=flags["npu_gather"],
        use_xla=flags["use_xla"],
        n_intra_op_threads=flags["intra_op_parallelism_threads"],
        n_inter_op_threads=flags["inter_op_parallelism_threads"],
        connect_timeout_seconds=flags["connect_timeout_seconds"],
        ascend=build_ascend_config(flags, rank.rank_size),
    )


def _build_input(flags: Mapping[str, Any]) -> InputConfig:
    return InputConfig(
        train_directories=split_directories(flags["input_files_dir"]),
        eval_directories=split_directories(flags["eval_files_dir"]),
        max_seq_length=flags["max_seq_length"],
        max_predictions_per_seq=flags["max_predictions_per_seq"],
        train_batch_size=flags["train_batch_size"],
        eval_batch_size=flags["eval_batch_size"],
        synthetic=flags["synthetic_input"],
        shuffle=not flags["npu_bert_debug"],
        n_micro_batches=flags["num_accumulation_steps"],
        skip_corrupt=flags["skip_corrupt"],
    )


def _build_optimizer(flags: Mapping[str, Any]) -> OptimizerConfig:
    defaults = OPTIMIZERS[flags["optimizer_type"]]
    schedule = ScheduleConfig(
        learning_rate=flags["learning_rate"],
        n_warmup_steps=flags["num_warmup_steps"],
        n_train_steps=flags["num_train_steps"],
        power=defaults.lr_power if flags["lr_power"] is None else flags["lr_power"],
        continuous=flags["lr_crossover"] == "continuous",
    )
    return OptimizerConfig(
        schedule=schedule,
        kind=flags["optimizer_type"],
        beta1=flags["adam_beta1"],
        beta2=flags["adam_beta2"],
        epsilon=defaults.epsilon if flags["adam_epsilon"] is None else flags["adam_epsilon"],
        weight_decay=flags["weight_decay"],
        clip_norm=flags["clip_norm"],
        clip_by_global_norm=flags["npu_bert_clip_by_global_norm"],
    )


def _build_precision(flags: Mapping[str, Any]) -> PrecisionConfig:
    encoder_fp16 = flags["manual_fp16"]
    if encoder_fp16 is None:
        # A precision mode makes the device choose the type of every operator by itself.
        encoder_fp16 = flags["backend"] == "ascend" and flags["precision_mode"] is None
    heads_fp16 = encoder_fp16 if flags["use_fp16_cls"] is None else flags["use_fp16_cls"]
    return PrecisionConfig(
        encoder="float16" if encoder_fp16 else "float32",
        heads="float16" if heads_fp16 else "float32",
    )


def _build_loss_scale(flags: Mapping[str, Any], precision: PrecisionConfig) -> LossScaleConfig:
    asked = flags["npu_bert_loss_scale"]
    if asked is None:
        # An Ascend device lowers float32 to float16 by itself unless it is told not to.
        keeps = flags["backend"] != "ascend" or flags["precision_mode"] == "must_keep_origin_dtype"
        asked = -1 if keeps and "float16" not in (precision.encoder, precision.heads) else 0
    if asked < -1:
        raise UsageError(
            f"--npu_bert_loss_scale={asked}: give -1 for none, 0 for dynamic, or the scale"
        )
    if asked == -1:
        return LossScaleConfig(mode="off", initial=1.0)
    if asked == 0:
        return LossScaleConfig(mode="dynamic", initial=float(flags["init_loss_scale_value"]))
    return LossScaleConfig(mode="static", initial=float(asked))


def render_resolved_line(config: TrainConfig) -> str:
    """Returns the log line with the values of flags that were left open."""
    values = {
        "manual_fp16": config.precision.encoder == "float16",
        "use_fp16_cls": config.precision.heads == "float16",
        "loss_scale": config.loss_scale.mode,
        "adam_epsilon": config.optimizer.epsilon,
        "lr_power": config.optimizer.schedule.power,
        "display_loss_steps": config.n_steps_per_loss_line,
        "hidden_dropout_prob": config.bert.hidden_dropout_prob,
        "attention_probs_dropout_prob": config.bert.attention_probs_dropout_prob,
    }
    return "resolved: " + ", ".join(f"{name}={value}" for name, value in values.items())
