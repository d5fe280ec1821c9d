"""Slurm: one agent on each node of the allocation by ``srun``, and the script for ``sbatch``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import List, Mapping, Optional, Sequence

from bench.errors import UsageError
from bench.launch.cluster import Launch


def build_slurm_launch(
    agent: Sequence[str],
    environ: Mapping[str, str],
    n_hosts: Optional[int],
    options: Sequence[str],
    working_directory: Path,
) -> Launch:
    """The ``srun`` of a session inside an allocation.

    Args:
        agent: command of an agent.
        environ: variables of this process.
        n_hosts: nodes to use; all of the allocation if None.
        options: more words for ``srun``.
        working_directory: where agents start.

    Raises:
        UsageError: this process is in no allocation, or it has too few nodes.
    """
    allocated = environ.get("SLURM_JOB_NUM_NODES") or environ.get("SLURM_NNODES")
    if not environ.get("SLURM_JOB_ID") or not allocated or not allocated.isdigit():
        raise UsageError(
            "--launcher slurm works inside an allocation (salloc, sbatch) and SLURM_JOB_ID is not "
            "set; 'ascend-bert job slurm' writes a script for sbatch"
        )
    count = n_hosts or int(allocated)
    if count > int(allocated):
        raise UsageError(f"hosts.count is {count}, the Slurm allocation has {allocated} node(s)")
    argv = [
        "srun",
        f"--nodes={count}",
        f"--ntasks={count}",
        "--ntasks-per-node=1",
        # The step shares its nodes with the step that the harness itself may run in.
        "--overlap",
        # Ranks are pinned by the harness, within what the job was given.
        "--cpu-bind=none",
        # One agent's end must not end the others: the head decides.
        "--kill-on-bad-exit=0",
        "--wait=0",
        f"--chdir={working_directory}",
        *options,
        *agent,
        "--index-from=slurm",
    ]
    return Launch(tuple(argv), count, "srun")


def render_sbatch_script(
    command: Sequence[str],
    n_hosts: int,
    working_directory: Path,
    name: str = "ascend-bert",
    time_limit: Optional[str] = None,
    directives: Sequence[str] = (),
) -> str:
    """A script for ``sbatch`` that runs a session on whole nodes.

    Args:
        command: the harness's command line, ``--launcher slurm`` included.
        n_hosts: nodes.
        working_directory: where the job starts and leaves its output.
        name: name of the job.
        time_limit: as for ``--time``.
        directives: more ``#SBATCH`` words, such as ``--partition=npu`` or ``--gres=npu:8``.

    Raises:
        UsageError: a word would break the script.
    """
    words = [
        f"--job-name={name}",
        f"--nodes={n_hosts}",
        "--ntasks-per-node=1",
        "--exclusive",
        # The harness ends its ranks and stores what was measured when it is told in time.
        "--signal=B:TERM@120",
        f"--chdir={working_directory}",
        # Slurm makes no folder for it, and a job without one fails without a word.
        "--output=slurm-%j.out",
        *([f"--time={time_limit}"] if time_limit else []),
        *directives,
    ]
    for word in words:
        if not word.startswith("-") or not word.isprintable():
            raise UsageError(f"{word!r} is no option of sbatch")
    lines: List[str] = ["#!/bin/bash"]
    lines += [f"#SBATCH {_quote(word)}" for word in words]
    lines += [
        "set -euo pipefail",
        "# exec: the signal that Slurm sends before the end reaches the harness itself.",
        "exec " + " ".join(map(shlex.quote, command)),
    ]
    return "\n".join(lines) + "\n"


def _quote(word: str) -> str:
    """Slurm splits directives as a shell does."""
    return word if " " not in word else shlex.quote(word)
