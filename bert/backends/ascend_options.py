"""The options of NPURunConfig: what may be given by --npu_option, and what is refused and why.

The native side of the adapter ends the process on many wrong values, without a Python exception,
after minutes of start-up. Everything that it, or the Python side, refuses is refused here first.
Source: the TF adapter of CANN 20.2 and its manual; options that later adapters added are in a
table of their own and reach only an adapter that has them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bert.errors import UsageError, render_suggestion

PRECISION_MODES = (
    "allow_fp32_to_fp16",
    "allow_mix_precision",
    "force_fp16",
    "must_keep_origin_dtype",
)
PROFILING_WORDS = ("training_trace", "task_trace", "op_trace")


@dataclasses.dataclass(frozen=True)
class Option:
    """What an option's value may be.

    Attributes:
        kind: bool, int, float or str.
        choices: the only values, if not empty.
        least, most: bounds of a number.
        pattern: what a text must match as a whole, with an example behind it.
        group: the object that carries the option: NPURunConfig itself, or one of its parts.
        path: "file" or "directory" if the value names one that must exist.
    """

    kind: type
    choices: Tuple[Any, ...] = ()
    least: Optional[float] = None
    most: Optional[float] = None
    pattern: str = ""
    group: str = "run_config"
    path: str = ""


_BOOL = Option(bool)
_TEXT = Option(str)
_COUNT = Option(int, least=1)
_BYTES = Option(str, pattern="[1-9][0-9]*")
_FILE = Option(str, path="file")
_DIRECTORY = Option(str, path="directory")

OPTIONS: Dict[str, Option] = {
    "save_checkpoints_secs": _COUNT,
    "keep_checkpoint_every_n_hours": Option(float, least=0.001),
    "log_step_count_steps": _COUNT,
    "enable_reduce_precision": _BOOL,
    "variable_format_optimize": _BOOL,
    "mix_compile_mode": _BOOL,
    "graph_memory_max_size": _BYTES,
    "variable_memory_max_size": _BYTES,
    "auto_tune_mode": Option(str, pattern="(GA|RL)([,|](GA|RL))?"),
    "stream_max_parallel_num": Option(str, pattern=r"\w+:[1-9]\d*(,\w+:[1-9]\d*)*"),
    "is_tailing_optimization": _BOOL,
    "horovod_mode": _BOOL,
    "graph_run_mode": Option(int, choices=(0, 1)),
    "op_debug_level": Option(int, least=0, most=4),
    "enable_scope_fusion_passes": _TEXT,
    "enable_exception_dump": Option(int, least=0, most=2),
    "op_select_implmode": Option(str, choices=("high_precision", "high_performance")),
    "optypelist_for_implmode": _TEXT,
    "mstune_mode": Option(str, choices=("1", "2", "3", "4")),
    "work_path": _DIRECTORY,
    "buffer_optimize": Option(str, choices=("l2_optimize", "off_optimize")),
    "enable_small_channel": Option(int, choices=(0, 1)),
    "fusion_switch_file": _FILE,
    "enable_compress_weight": _BOOL,
    "op_compiler_cache_mode": Option(str, choices=("disable", "enable", "force")),
    "op_compiler_cache_dir": _DIRECTORY,
    "debug_dir": _DIRECTORY,
    "hcom_multi_mode": _BOOL,
    "dynamic_input": _BOOL,
    "dynamic_graph_execute_mode": Option(str, choices=("lazy_recompile", "dynamic_execute")),
    "dynamic_inputs_shape_range": _TEXT,
    "local_rank_id": Option(int, least=0, most=7),
    "local_device_list": Option(str, pattern=r"\d+(,\d+)*"),
    "session_device_id": Option(int, least=0),
    # Carried by ProfilingConfig, DumpConfig and DynamicInputConfig.
    "enable_profiling": Option(bool, group="profiling_config"),
    "profiling_options": Option(str, group="profiling_config"),
    "enable_dump": Option(bool, group="dump_config"),
    "dump_path": Option(str, group="dump_config", path="directory"),
    "dump_step": Option(str, group="dump_config"),
    "dump_mode": Option(str, choices=("input", "output", "all"), group="dump_config"),
    "enable_dump_debug": Option(bool, group="dump_config"),
    "dump_debug_mode": Option(
        str, choices=("aicore_overflow", "atomic_overflow", "all"), group="dump_config"
    ),
    "input_shape": Option(str, group="dynamic_input_config"),
    "dynamic_dims": Option(str, group="dynamic_input_config"),
    "dynamic_node_type": Option(int, choices=(0, 1), group="dynamic_input_config"),
}

# Absent from the adapter of CANN 20.2.
LATER_OPTIONS: Dict[str, Option] = {
    "aoe_mode": Option(str, choices=("1", "2", "3", "4")),
    "aoe_config_file": _FILE,
    "distribute_config": _FILE,
    "modify_mixlist": _FILE,
    "op_precision_mode": _FILE,
    "op_debug_config": _FILE,
    "soc_config": _TEXT,
    "device_type": _TEXT,
    "hccl_timeout": _COUNT,
    "op_wait_timeout": _COUNT,
    "op_execute_timeout": _COUNT,
    "HCCL_algorithm": _TEXT,
    "customize_dtypes": _FILE,
    "topo_sorting_mode": Option(int, choices=(0, 1)),
    "insert_op_file": _FILE,
    "stream_sync_timeout": Option(int, least=-1),
    "event_sync_timeout": Option(int, least=-1),
    "external_weight": _BOOL,
    "frozen_variable": _BOOL,
    "variable_placement": Option(str, choices=("Device", "Host")),
    "jit_compile": Option(str, choices=("true", "false", "auto")),
    "precision_mode_v2": _TEXT,
}

FLAG_OF_OPTION = {
    "iterations_per_loop": "--iterations_per_loop",
    "model_dir": "--output_dir",
    "tf_random_seed": "--random_seed",
    "save_summary_steps": "--save_summary_steps",
    "save_checkpoints_steps": "--save_checkpoints_steps",
    "keep_checkpoint_max": "--keep_checkpoint_max",
    "enable_data_pre_proc": "--npu_bert_use_tdt",
    "precision_mode": "--precision_mode",
    "hcom_parallel": "--hcom_parallel",
    "deterministic": "--deterministic",
    "profiling_config": "--npu_option enable_profiling=… and profiling_options=…",
    "dump_config": "--npu_option enable_dump=…, dump_path=… and the other dump options",
    "dynamic_input_config": "--npu_option input_shape=…, dynamic_dims=…, dynamic_node_type=…",
    "session_config": "--intra_op_parallelism_threads and --inter_op_parallelism_threads",
}
_NO_SERVERS = "there are no parameter servers here; ranks are given by the rank table"
REFUSED_OPTIONS = {
    "compress_weight_conf": "the adapter always sends enable_compress_weight with it, and its "
    "native side ends the process when it gets both",
    "distribute": _NO_SERVERS,
    "train_distribute": _NO_SERVERS,
    "eval_distribute": _NO_SERVERS,
}


def parse_options(words: Sequence[str]) -> Dict[str, Any]:
    """Parses the values of --npu_option.

    Args:
        words: texts `key=value`.

    Returns:
        Option name → value of the option's type, in the order given.

    Raises:
        UsageError: if an option is unknown, given twice, refused, or its value is impossible.
    """
    options: Dict[str, Any] = {}
    for word in words:
        name, separator, text = word.partition("=")
        name, text = name.strip(), text.strip()
        if not separator or not text:
            raise UsageError(f"--npu_option {word!r} must read key=value")
        if name in options:
            raise UsageError(f"--npu_option {name} is given twice")
        options[name] = _parse_value(name, text, find_option(name))
    return options


def find_option(name: str) -> Option:
    """Returns the option of that name.

    Raises:
        UsageError: if there is none, it is refused, or another flag is the way to set it.
    """
    if name in REFUSED_OPTIONS:
        raise UsageError(f"--npu_option {name} is refused: {REFUSED_OPTIONS[name]}")
    if name in FLAG_OF_OPTION:
        raise UsageError(f"--npu_option {name} is refused: give {FLAG_OF_OPTION[name]}")
    option = OPTIONS.get(name) or LATER_OPTIONS.get(name)
    if option is None:
        known = [*OPTIONS, *LATER_OPTIONS]
        raise UsageError(
            f"--npu_option {name}: NPURunConfig has no such option{render_suggestion(name, known)}"
        )
    return option


def _parse_value(name: str, text: str, option: Option) -> Any:
    """Returns `text` as the option's type, checked against its choices and bounds."""
    where = f"--npu_option {name}={text}"
    if option.kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise UsageError(f"{where}: must be true or false")
        return text.lower() in ("true", "1")
    try:
        value = option.kind(text)
    except ValueError:
        wanted = "a whole number" if option.kind is int else "a number"
        raise UsageError(f"{where}: must be {wanted}") from None
    if option.choices and value not in option.choices:
        choices = ", ".join(str(choice) for choice in option.choices)
        raise UsageError(f"{where}: must be one of {choices}")
    if option.least is not None and value < option.least:
        raise UsageError(f"{where}: must be at least {option.least}")
    if option.most is not None and value > option.most:
        raise UsageError(f"{where}: must be at most {option.most}")
    if option.pattern and not re.fullmatch(option.pattern, text):
        raise UsageError(f"{where}: must match {option.pattern}")
    return value


def check_options(
    options: Mapping[str, Any], n_steps_per_loop: int, rank_size: int, save_steps: int
) -> None:
    """Checks options against each other and against the run.

    Args:
        options: as `parse_options` returns them.
        n_steps_per_loop: device-side steps per call.
        rank_size: number of ranks.
        save_steps: steps between checkpoints, 0 for none.

    Raises:
        UsageError: if the adapter would refuse the combination or end the process.
    """
    if n_steps_per_loop > 1:
        for name in ("mix_compile_mode", "dynamic_input"):
            if options.get(name):
                raise UsageError(f"--npu_option {name}=true needs --iterations_per_loop=1")
    if options.get("horovod_mode"):
        raise UsageError(
            "--npu_option horovod_mode=true is refused: the adapter would not broadcast the "
            "initial weights, and ranks would train different models"
        )
    _check_needs(options, "optypelist_for_implmode", "op_select_implmode")
    _check_needs(options, "mstune_mode", "work_path")
    _check_needs(options, "dynamic_inputs_shape_range", "dynamic_input")
    _check_dynamic_dims(options, n_steps_per_loop)
    _check_profiling(options)
    _check_dump(options)
    if "save_checkpoints_secs" in options and (rank_size > 1 or save_steps):
        raise UsageError(
            "--npu_option save_checkpoints_secs needs a single rank and --save_checkpoints_steps=0"
        )


def _check_needs(options: Mapping[str, Any], name: str, needed: str) -> None:
    if name in options and not options.get(needed):
        raise UsageError(f"--npu_option {name} needs --npu_option {needed} too")


def _check_dynamic_dims(options: Mapping[str, Any], n_steps_per_loop: int) -> None:
    names = ("input_shape", "dynamic_dims", "dynamic_node_type")
    given = [name for name in names if name in options]
    if given and len(given) < len(names):
        raise UsageError(f"--npu_option {given[0]}: give all of {', '.join(names)} or none")
    if given and n_steps_per_loop > 1:
        raise UsageError(f"--npu_option {given[0]} needs --iterations_per_loop=1")


def _check_profiling(options: Mapping[str, Any]) -> None:
    words = options.get("profiling_options")
    if options.get("enable_profiling") and words is None:
        raise UsageError("--npu_option enable_profiling=true needs profiling_options too")
    if words is None:
        return
    if words.startswith("{"):
        # Adapters after CANN 20.2 take a JSON object, which is theirs to interpret.
        try:
            json.loads(words)
        except ValueError as error:
            raise UsageError(f"--npu_option profiling_options: not valid JSON: {error}") from error
        return
    for word in words.split(":"):
        if word not in PROFILING_WORDS:
            raise UsageError(
                f"--npu_option profiling_options: {word!r} is none of "
                f"{', '.join(PROFILING_WORDS)}; separate several by a colon"
            )


def _check_dump(options: Mapping[str, Any]) -> None:
    if (options.get("enable_dump") or options.get("enable_dump_debug")) and (
        "dump_path" not in options
    ):
        raise UsageError("dumping is on, but --npu_option dump_path does not say where to")
    if "dump_step" in options:
        check_dump_step(options["dump_step"])


def check_dump_step(text: str) -> None:
    """Raises UsageError unless `text` reads like 0|5|10-20: at most 100 steps or ranges."""
    items = text.split("|")
    for item in items:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
        if match is None:
            raise UsageError(f"--npu_option dump_step={text}: {item!r} is no step; write 0|5|10-20")
        if match.group(2) is not None and int(match.group(1)) >= int(match.group(2)):
            raise UsageError(f"--npu_option dump_step={text}: range {item} does not ascend")
    if len(items) > 100:
        raise UsageError(f"--npu_option dump_step has {len(items)} items; the most is 100")


def check_option_paths(options: Mapping[str, Any]) -> None:
    """Raises UsageError if a file or directory that an option names is not there or not usable."""
    for name, value in options.items():
        kind = find_option(name).path
        if kind == "file" and not os.path.isfile(value):
            raise UsageError(f"--npu_option {name}={value}: there is no such file")
        if kind == "directory" and not (
            os.path.isdir(value) and os.access(value, os.R_OK | os.W_OK | os.X_OK)
        ):
            raise UsageError(f"--npu_option {name}={value}: not an existing, writable directory")


def group_options(options: Mapping[str, Any]) -> Dict[str, Dict[str, Any]]:
    """Returns the options by the object that carries them, absent groups left out."""
    groups: Dict[str, Dict[str, Any]] = {}
    for name, value in options.items():
        groups.setdefault(find_option(name).group, {})[name] = value
    return groups


def check_known_to_adapter(names: Sequence[str], parameters: Sequence[str]) -> None:
    """Checks options against those of the adapter that is installed.

    Args:
        names: options of NPURunConfig itself.
        parameters: the parameters that the installed NPURunConfig takes.

    Raises:
        UsageError: if it lacks one.
    """
    missing: List[str] = [name for name in names if name not in parameters]
    if missing:
        raise UsageError(
            f"--npu_option {missing[0]}: the installed npu_bridge has no such option"
            f"{render_suggestion(missing[0], parameters)}"
        )
