"""Every flag of the trainer, once: name, type, default, meaning.

The first table holds the flags of the Ascend BERT-base trainer that launch scripts in the field
already pass; the second holds those added here. A default of None means "follows from the rest",
and `bert.train_config` says how. Nothing but `bert.train_config` reads a flag.
"""

from __future__ import annotations

import sys
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from absl import flags as absl_flags

from bert.backends.ascend_options import PRECISION_MODES
from bert.errors import UsageError


class FlagSpec(NamedTuple):
    """One flag: `kind` is one of str, int, float, bool, list, or a tuple of the allowed words.

    A list is a flag that may be given several times.
    """

    name: str
    kind: Any
    default: Any
    help: str


FIELD_FLAGS = (
    FlagSpec("bert_config_file", str, None, "model configuration JSON, or the name of a preset"),
    FlagSpec("input_files_dir", str, None, "directories of training TFRecords, comma separated"),
    FlagSpec("eval_files_dir", str, None, "directories of evaluation TFRecords, comma separated"),
    FlagSpec("output_dir", str, "./models", "directory of checkpoints and eval_results.txt"),
    FlagSpec("init_checkpoint", str, None, "checkpoint whose variables of equal name are taken"),
    FlagSpec("optimizer_type", str, "adam", "optimiser: adam or lamb"),
    FlagSpec("max_seq_length", int, 128, "tokens per sequence; must equal the data's"),
    FlagSpec("max_predictions_per_seq", int, 20, "masked tokens; must equal the data's"),
    FlagSpec("do_train", bool, True, "train"),
    FlagSpec("do_eval", bool, False, "evaluate after training, once, by rank 0"),
    FlagSpec("train_batch_size", int, 64, "sequences per micro-batch on EACH device"),
    FlagSpec("eval_batch_size", int, 8, "sequences per evaluation step"),
    FlagSpec("learning_rate", float, 1e-4, "learning rate at the end of the warm-up"),
    FlagSpec("num_train_steps", int, 1000000, "global step at which training ends"),
    FlagSpec("num_warmup_steps", int, 10000, "steps of linear warm-up"),
    FlagSpec("save_checkpoints_steps", int, 10000, "steps between checkpoints; 0 saves none"),
    FlagSpec("display_loss_steps", int, None, "steps between loss lines; default one loop"),
    FlagSpec(
        "iterations_per_loop",
        int,
        1000,
        "steps that the device takes per host call; on CPU the steps between log lines",
    ),
    FlagSpec("max_eval_steps", int, 100, "most steps of an evaluation"),
    FlagSpec("num_accumulation_steps", int, 1, "micro-batches per update"),
    FlagSpec("allreduce_post_accumulation", bool, False, "ranks average once per update anyway"),
    FlagSpec("verbose_logging", bool, False, "log every trainable variable"),
    FlagSpec("horovod", bool, False, "refused: ranks are averaged by the backend itself"),
    FlagSpec("report_loss", bool, True, "write the loss lines"),
    FlagSpec("manual_fp16", bool, None, "encoder in float16, variables in float32"),
    FlagSpec("use_xla", bool, False, "compile clusters with XLA (CPU backend)"),
    FlagSpec("over_dump", bool, False, "dump overflowing operators (Ascend backend)"),
    FlagSpec("over_dump_path", str, None, "directory of the overflow dump (Ascend backend)"),
    FlagSpec("use_fp16", bool, False, "refused: graph rewriting for GPUs; use --manual_fp16"),
    FlagSpec("use_fp16_cls", bool, None, "pooler and heads in float16; follows --manual_fp16"),
    FlagSpec("distributed", bool, None, "average over RANK_SIZE ranks; follows RANK_SIZE"),
    FlagSpec("npu_bert_fused_gelu", bool, True, "GELU as one operator with its own gradient"),
    FlagSpec("npu_bert_debug", bool, False, "no dropout, no shuffling"),
    FlagSpec("npu_bert_use_tdt", bool, True, "feed data through the device queue (Ascend)"),
    FlagSpec("npu_bert_job_start_file", str, "", "job description JSON (Ascend)"),
    FlagSpec(
        "npu_bert_loss_scale",
        int,
        None,
        "-1 no loss scale, 0 dynamic, from 1 on a fixed one; default 0 in float16, else -1",
    ),
    FlagSpec(
        "npu_bert_clip_by_global_norm", bool, True, "clip all gradients together, else one by one"
    ),
    FlagSpec("npu_bert_npu_dropout", bool, True, "dropout operator of the device (Ascend)"),
    FlagSpec("npu_gather", bool, True, "embedding lookup whose gradient is dense"),
    FlagSpec("hcom_parallel", bool, True, "all-reduce beside the backward pass (Ascend)"),
    FlagSpec("init_loss_scale_value", int, 65536, "first value of the dynamic loss scale"),
)

OWN_FLAGS = (
    FlagSpec("backend", ("cpu", "ascend"), "cpu", "device backend"),
    FlagSpec("random_seed", int, 42, "seed of initial values, dropout and data order"),
    FlagSpec("deterministic", bool, False, "one operator at a time, so that runs repeat exactly"),
    FlagSpec("weight_decay", float, 0.01, "decoupled weight decay rate"),
    FlagSpec("adam_beta1", float, 0.9, "decay of the first moment"),
    FlagSpec("adam_beta2", float, 0.999, "decay of the second moment"),
    FlagSpec(
        "adam_epsilon", float, None, "added to the root of the second moment; 1e-4, LAMB 1e-6"
    ),
    FlagSpec("clip_norm", float, 1.0, "norm above which gradients are scaled down"),
    FlagSpec("lr_power", float, None, "power of the polynomial decay; default 1, LAMB 0.5"),
    FlagSpec(
        "lr_crossover",
        ("continuous", "jump"),
        "continuous",
        "whether the rate is continuous where warm-up ends, or drops as the original's does",
    ),
    FlagSpec("hidden_dropout_prob", float, None, "replaces the model configuration's"),
    FlagSpec("attention_probs_dropout_prob", float, None, "replaces the model configuration's"),
    FlagSpec("keep_checkpoint_max", int, 5, "newest checkpoints kept"),
    FlagSpec("save_summary_steps", int, 0, "steps between TensorBoard summaries; 0 writes none"),
    FlagSpec(
        "profile_steps",
        str,
        "",
        "global steps to trace, comma separated; Chrome traces in output_dir/profile (CPU)",
    ),
    FlagSpec("intra_op_parallelism_threads", int, None, "default: the cores of this process"),
    FlagSpec("inter_op_parallelism_threads", int, None, "default: the cores of this process"),
    FlagSpec("synthetic_input", bool, False, "train on random ids in memory, without any file"),
    FlagSpec("skip_corrupt", int, 0, "damaged records, over all files, to leave out and count"),
    FlagSpec("connect_timeout_seconds", int, 600, "longest wait for the other ranks at start"),
    FlagSpec(
        "precision_mode",
        PRECISION_MODES,
        None,
        "how the device itself lowers float32 (Ascend); replaces --manual_fp16",
    ),
    FlagSpec("npu_option", list, [], "key=value, any option of NPURunConfig (Ascend); repeatable"),
    FlagSpec("npu_device_root", str, "/dev", "directory of the nodes davinciN (Ascend)"),
)

ALL_FLAGS = FIELD_FLAGS + OWN_FLAGS


def _define_flags(specs: Sequence[FlagSpec]) -> absl_flags.FlagValues:
    """Returns a new set of flags; nothing is registered globally, so that tests can have many."""
    values = absl_flags.FlagValues()
    define = {
        str: absl_flags.DEFINE_string,
        int: absl_flags.DEFINE_integer,
        float: absl_flags.DEFINE_float,
        bool: absl_flags.DEFINE_bool,
        list: absl_flags.DEFINE_multi_string,
    }
    for spec in specs:
        if isinstance(spec.kind, tuple):
            absl_flags.DEFINE_enum(
                spec.name, spec.default, list(spec.kind), spec.help, flag_values=values
            )
        else:
            define[spec.kind](spec.name, spec.default, spec.help, flag_values=values)
    return values


def parse_flags(arguments: Sequence[str], specs: Sequence[FlagSpec] = ALL_FLAGS) -> Dict[str, Any]:
    """Parses a command line.

    Args:
        arguments: the words after the program's name.
        specs: the flags that there are.

    Returns:
        flag name → value, in the order of the tables, defaults included.

    Raises:
        UsageError: if a flag is unknown or ill-typed, or a word is no flag.
    """
    values = _define_flags(specs)
    try:
        rest = values(["bert", *map(_join_name, arguments)])[1:]
    except absl_flags.Error as error:
        raise UsageError(f"{error}; --help lists the flags") from error
    if rest:
        raise UsageError(f"{rest[0]!r} is not a flag; --help lists the flags")
    return {spec.name: values[spec.name].value for spec in specs}


def _join_name(word: str) -> str:
    """Returns a flag with underscores where its name was written with dashes."""
    if not word.startswith("--"):
        return word
    name, separator, value = word[2:].partition("=")
    return "--" + name.replace("-", "_") + separator + value


def render_help(
    usage: str = "python -m bert.pretrain --bert_config_file=bert-tiny [FLAGS]",
    specs: Sequence[FlagSpec] = ALL_FLAGS,
) -> str:
    """Returns the text of --help."""
    lines: List[str] = [f"usage: {usage}", ""]
    for spec in specs:
        kind = "|".join(spec.kind) if isinstance(spec.kind, tuple) else spec.kind.__name__
        default = "" if spec.default is None else f", default {spec.default}"
        lines.append(f"  --{spec.name} ({kind}{default})")
        lines.append(f"      {spec.help}")
    return "\n".join(lines)


def wants_help(arguments: Optional[Sequence[str]] = None) -> bool:
    """Tells whether --help is asked for."""
    words = sys.argv[1:] if arguments is None else arguments
    return any(word in ("--help", "-help", "-h", "--helpfull") for word in words)


def render_flag_lines(values: Dict[str, Any]) -> List[str]:
    """Returns the lines `name: <flag>        <value>` that open a training log."""
    return [render_flag_line(name, value) for name, value in values.items()]


def render_flag_line(name: str, value: object) -> str:
    """Returns the line of one flag; facts that only the run itself finds are told in this form."""
    return f"name: {name}        {value}"
