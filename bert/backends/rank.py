"""Who this process is among the ranks: read from the environment in this one place."""

from __future__ import annotations

import dataclasses
import json
from typing import Mapping, Optional, Tuple

from bert.errors import UsageError


@dataclasses.dataclass(frozen=True)
class RankEnvironment:
    """Identity of this process.

    Attributes:
        rank_id: global rank, 0 ≤ rank_id < rank_size.
        rank_size: number of ranks.
        device_id: physical device on this server.
        rank_index: index of this server.
        job_id: name of the job, empty if none is given.
        rank_table_file: path of the rank table, empty if none is given.
        workers: host:port of every rank, in rank order, empty without TF_CONFIG.
    """

    rank_id: int = 0
    rank_size: int = 1
    device_id: int = 0
    rank_index: int = 0
    job_id: str = ""
    rank_table_file: str = ""
    workers: Tuple[str, ...] = ()

    @property
    def is_root(self) -> bool:
        """Whether this rank saves checkpoints, writes events and evaluates."""
        return self.rank_id == 0


def parse_rank_environment(environ: Mapping[str, str]) -> RankEnvironment:
    """Reads RANK_SIZE, RANK_ID, DEVICE_ID, RANK_INDEX, JOB_ID, RANK_TABLE_FILE and TF_CONFIG.

    Without RANK_SIZE there is one rank. RANK_ID must be given as soon as there are more.

    Raises:
        UsageError: if a value is no number, out of range, or contradicts another.
    """
    rank_size = _parse_count(environ, "RANK_SIZE", 1)
    if rank_size < 1:
        raise UsageError(f"environment RANK_SIZE={rank_size}: there must be at least one rank")
    if rank_size > 1 and not environ.get("RANK_ID"):
        raise UsageError(f"environment RANK_SIZE={rank_size} needs RANK_ID, from 0 on")
    rank_id = _parse_count(environ, "RANK_ID", 0)
    if rank_id >= rank_size:
        raise UsageError(
            f"environment RANK_ID={rank_id} is not below RANK_SIZE={rank_size}; ranks count from 0"
        )
    workers = _parse_workers(environ.get("TF_CONFIG"), rank_id, rank_size)
    return RankEnvironment(
        rank_id=rank_id,
        rank_size=rank_size,
        device_id=_parse_count(environ, "DEVICE_ID", 0),
        rank_index=_parse_count(environ, "RANK_INDEX", 0),
        job_id=environ.get("JOB_ID", ""),
        rank_table_file=environ.get("RANK_TABLE_FILE", ""),
        workers=workers,
    )


def _parse_count(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not text.isdigit():
        raise UsageError(f"environment {name}={text!r} is not a whole number from 0 on")
    return int(text)


def _parse_workers(text: Optional[str], rank_id: int, rank_size: int) -> Tuple[str, ...]:
    """Returns the worker addresses of a TF_CONFIG, checked against the rank variables."""
    if not text:
        return ()
    try:
        tf_config = json.loads(text)
        workers = tuple(tf_config["cluster"]["worker"])
        task = tf_config["task"]
        task_type, task_index = task["type"], int(task["index"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            'environment TF_CONFIG must read {"cluster": {"worker": ["host:port", …]}, '
            f'"task": {{"type": "worker", "index": RANK_ID}}}}: {type(error).__name__} {error}'
        ) from error
    if task_type != "worker" or task_index != rank_id:
        raise UsageError(
            f"environment TF_CONFIG says task {task_type} {task_index}, RANK_ID says {rank_id}"
        )
    if len(workers) != rank_size:
        raise UsageError(
            f"environment TF_CONFIG lists {len(workers)} workers, RANK_SIZE says {rank_size}"
        )
    if len(set(workers)) != len(workers) or not all(isinstance(w, str) for w in workers):
        raise UsageError(f"environment TF_CONFIG: worker addresses must differ: {list(workers)}")
    return workers
