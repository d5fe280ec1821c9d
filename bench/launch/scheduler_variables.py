"""Who a process is among those that a scheduler started, from the variables that it left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Tuple

from bench.errors import UsageError
from bench.spec import MAX_CARDS


@dataclass(frozen=True)
class Place:
    """A process among its peers.

    Attributes:
        index: its number, from 0.
        count: how many there are, None where the scheduler does not tell.
        local_index: its number among those of its host, None where it does not tell.
        job: identity of the job, the same for all, empty where it does not tell.
        scheduler: who said so.
    """

    index: int
    count: Optional[int]
    local_index: Optional[int]
    job: str
    scheduler: str


_SCHEDULERS: Tuple[Tuple[str, str, str, str, Tuple[str, ...]], ...] = (
    # who, index, count, local index, job; the more particular ones first: mpirun inside Slurm sets
    # both families, and the ranks are then mpirun's.
    ("RANK_ID", "RANK_ID", "RANK_SIZE", "LOCAL_RANK", ("JOB_ID",)),
    (
        "Open MPI",
        "OMPI_COMM_WORLD_RANK",
        "OMPI_COMM_WORLD_SIZE",
        "OMPI_COMM_WORLD_LOCAL_RANK",
        ("JOB_ID", "PMIX_NAMESPACE", "OMPI_MCA_ess_base_jobid"),
    ),
    ("PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", ("JOB_ID", "PMI_JOBID", "SLURM_JOB_ID")),
    ("PMIx", "PMIX_RANK", "PMIX_SIZE", "PMIX_LOCAL_RANK", ("JOB_ID", "PMIX_NAMESPACE")),
    ("Slurm", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", ("JOB_ID", "SLURM_JOB_ID")),
    ("Volcano", "VC_TASK_INDEX", "VC_BENCH_NUM", "", ("JOB_ID",)),
    ("Volcano", "VK_TASK_INDEX", "VC_BENCH_NUM", "", ("JOB_ID",)),
)


def find_place(environ: Mapping[str, str], scheduler: Optional[str] = None) -> Place:
    """Looks for the first family of variables that is set.

    Args:
        environ: environment variables.
        scheduler: look for this one's only.

    Raises:
        UsageError: none is set, or a value is no such number.
    """
    for who, index_name, count_name, local_name, job_names in _SCHEDULERS:
        if index_name not in environ or scheduler not in (None, who):
            continue
        index = _parse(environ, index_name)
        count = _parse(environ, count_name)
        if index is None:
            continue
        if count is not None and index >= count:
            raise UsageError(f"environment {index_name}={index} is not below {count_name}={count}")
        jobs = [environ[name] for name in job_names if environ.get(name)]
        return Place(index, count, _parse(environ, local_name), jobs[0] if jobs else "", who)
    raise UsageError(
        "no scheduler started this process: none of {} is set".format(
            ", ".join(dict.fromkeys(row[1] for row in _SCHEDULERS))
        )
    )


def _parse(environ: Mapping[str, str], name: str) -> Optional[int]:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not (text.isdigit() and text.isascii() and len(text) < 7 and int(text) <= MAX_CARDS):
        raise UsageError(f"environment {name}={text[:20]!r} is no number from 0 to {MAX_CARDS}")
    return int(text)
