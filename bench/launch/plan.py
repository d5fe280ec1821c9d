"""The launch plan: what every rank process is started with. Pure: it starts nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Mapping, Optional, Sequence, Tuple

from bench.devices.base import Allocation, Backend
from bench.launch.identity import RUN_ID_VARIABLE, STARTER_VARIABLE
from bench.spec import RunSpec

RANK_VARIABLES = (
    "RANK_ID",
    "RANK_SIZE",
    "RANK_INDEX",
    "RANK_TABLE_FILE",
    "DEVICE_ID",
    "DEVICE_INDEX",
    "ASCEND_DEVICE_ID",
    "JOB_ID",
    "POD_NAME",
    "TF_CONFIG",
    RUN_ID_VARIABLE,
    STARTER_VARIABLE,
)
"""Variables that say who a rank is; never inherited from the caller's environment."""

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class RankPlan:
    """One rank process.

    Attributes:
        rank: global rank id.
        device: physical device id.
        argv: command line.
        environment: the whole environment of the process.
        cores: cores it is pinned to, None for free.
        log_path: file that gets its standard output and error.
        host: index of the host that starts it, 0 where there is only one.
    """

    rank: int
    device: int
    argv: Tuple[str, ...]
    environment: Mapping[str, str]
    cores: Optional[Tuple[int, ...]]
    log_path: Path
    host: int = 0


@dataclass(frozen=True)
class LaunchPlan:
    """All ranks of one run."""

    ranks: Tuple[RankPlan, ...]
    working_directory: Path


def build_plan(
    spec: RunSpec,
    backend: Backend,
    allocation: Allocation,
    argv: Sequence[str],
    run_id: str,
    run_dir: Path,
    inherited: Mapping[str, str],
    shared: Mapping[str, str],
    working_directory: Path,
) -> LaunchPlan:
    """Derives every rank's command line and environment in one place.

    Args:
        spec: the run, one card count.
        backend: where it runs.
        allocation: device and cores of each rank.
        argv: the trainer's command line; ``{rank}``, ``{device}``, ``{world_size}``,
            ``{output_dir}`` and the other names of :func:`list_placeholders` are filled in.
        run_id: becomes ``JOB_ID``.
        run_dir: folder of the run; logs go to its ``logs``.
        inherited: the caller's environment.
        shared: facts common to all ranks, from the backend.
        working_directory: where ranks start.
    """
    several_hosts = any(placement.host for placement in allocation.placements)
    base = {name: value for name, value in inherited.items() if name not in RANK_VARIABLES}
    ranks = []
    # Ranks without a process of their own are the backend's business, from another rank's process.
    for placement in allocation.placements[: backend.count_processes(spec)]:
        identity = {
            "RANK_ID": str(placement.rank),
            "RANK_SIZE": str(spec.n_cards),
            "RANK_INDEX": str(placement.host if several_hosts else placement.rank // 8),
            "DEVICE_ID": str(placement.device),
            "DEVICE_INDEX": str(placement.rank),
            "JOB_ID": run_id,
            # Logs must be readable while the run goes and after a kill.
            "PYTHONUNBUFFERED": "1",
            # By it a later harness knows the processes that a dead one left behind.
            RUN_ID_VARIABLE: run_id,
        }
        if base.get("PYTHONFAULTHANDLER") is None:
            # A Python that hangs can then be asked for its stacks (bench.launch.stacks).
            identity["PYTHONFAULTHANDLER"] = "1"
        special = backend.build_rank_environment(spec, allocation, placement.rank, shared)
        names = list_placeholders(spec, run_dir, placement.rank, placement.device)
        ranks.append(
            RankPlan(
                rank=placement.rank,
                device=placement.device,
                argv=tuple(fill_placeholders(word, names) for word in argv),
                environment={**base, **identity, **special},
                cores=placement.cores,
                log_path=run_dir / "logs" / f"train_{placement.device_index}.log",
                host=placement.host,
            )
        )
    return LaunchPlan(tuple(ranks), working_directory)


def list_placeholders(spec: RunSpec, run_dir: Path, rank: int, device: int) -> Dict[str, str]:
    """Names that a ``--trainer-command`` may use in braces, and their values for a rank."""
    return {
        "rank": str(rank),
        "device": str(device),
        "world_size": str(spec.n_cards),
        "batch_size": str(spec.batch_size),
        "seq_length": str(spec.seq_length),
        "steps": str(spec.steps),
        "run_dir": str(run_dir),
        "output_dir": str(run_dir / "train"),
    }


def fill_placeholders(word: str, names: Mapping[str, str]) -> str:
    """Puts values in for the known names; other braces, as in JSON, stay as they are."""
    return _PLACEHOLDER.sub(lambda match: names.get(match.group(1), match.group(0)), word)
