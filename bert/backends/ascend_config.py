"""What a run on Ascend was asked to do beyond what every backend is asked."""

from __future__ import annotations

import dataclasses
from typing import Any, Mapping, Optional, Tuple

from bert.backends.ascend_options import check_options, parse_options
from bert.errors import UsageError

# HCCL reads its time-out from the environment and takes only these.
_LEAST_TIMEOUT_SECONDS, _MOST_TIMEOUT_SECONDS = 120, 7200


@dataclasses.dataclass(frozen=True)
class AscendConfig:
    """Flags that only the Ascend backend reads.

    Attributes:
        options: checked options of NPURunConfig and of its parts, as (name, value).
        precision_mode: how the device may lower float32, None for the adapter's default.
        data_queue: feed data through the device's queue (enable_data_pre_proc).
        parallel_allreduce: run all-reduce beside the backward pass (hcom_parallel).
        npu_dropout: the device's dropout operator, else TensorFlow's.
        job_start_file: job description JSON, empty if the environment describes the job.
        device_root: directory of the nodes davinci0, davinci1, …
    """

    options: Tuple[Tuple[str, Any], ...] = ()
    precision_mode: Optional[str] = None
    data_queue: bool = True
    parallel_allreduce: bool = True
    npu_dropout: bool = True
    job_start_file: str = ""
    device_root: str = "/dev"


def build_ascend_config(flags: Mapping[str, Any], rank_size: int) -> AscendConfig:
    """Checks the flags of the Ascend backend.

    Args:
        flags: flag name → value.
        rank_size: number of ranks.

    Raises:
        UsageError: if a value is impossible.
    """
    if flags["backend"] != "ascend":
        return AscendConfig()
    options = parse_options(flags["npu_option"])
    if flags["over_dump"]:
        if not flags["over_dump_path"]:
            raise UsageError("--over_dump needs --over_dump_path, an existing writable directory")
        for name in ("enable_dump_debug", "dump_path"):
            if name in options:
                raise UsageError(f"--npu_option {name} contradicts --over_dump; give one of them")
        options.update(enable_dump_debug=True, dump_path=flags["over_dump_path"])
    elif flags["over_dump_path"]:
        raise UsageError("--over_dump_path has no effect without --over_dump")
    n_steps = flags["iterations_per_loop"]
    check_options(options, n_steps, rank_size, flags["save_checkpoints_steps"])
    _check_multiples(flags, n_steps)
    _check_timeout(flags["connect_timeout_seconds"])
    if flags["use_xla"]:
        raise UsageError("--use_xla is for --backend=cpu; an Ascend device compiles whole graphs")
    return AscendConfig(
        options=tuple(options.items()),
        precision_mode=flags["precision_mode"],
        data_queue=flags["npu_bert_use_tdt"],
        parallel_allreduce=flags["hcom_parallel"],
        npu_dropout=flags["npu_bert_npu_dropout"],
        job_start_file=flags["npu_bert_job_start_file"] or "",
        device_root=flags["npu_device_root"],
    )


def _check_multiples(flags: Mapping[str, Any], n_steps: int) -> None:
    """The host sees the global step only after each loop, so all cadences follow the loop."""
    for name in ("save_checkpoints_steps", "display_loss_steps"):
        if flags[name] and flags[name] % n_steps:
            raise UsageError(
                f"--{name}={flags[name]} is not a multiple of --iterations_per_loop={n_steps}, "
                "and the host sees no step in between"
            )
    if flags["save_summary_steps"] and n_steps > 1:
        raise UsageError(
            "--save_summary_steps needs --iterations_per_loop=1: summaries cannot be taken "
            "inside a device-side loop"
        )


def _check_timeout(seconds: int) -> None:
    if not _LEAST_TIMEOUT_SECONDS <= seconds <= _MOST_TIMEOUT_SECONDS:
        raise UsageError(
            f"--connect_timeout_seconds={seconds}: HCCL takes {_LEAST_TIMEOUT_SECONDS} to "
            f"{_MOST_TIMEOUT_SECONDS}"
        )
