"""MPI: one agent on each host by ``mpirun``; ranks need no MPI themselves."""

from __future__ import annotations

from pathlib import Path
from typing import List, Mapping, Optional, Sequence

from bench.launch.cluster import Launch

_MAPPING_WORDS = ("--map-by", "-map-by", "--npernode", "-npernode", "-ppn", "--ppr", "-N")
_FORWARDED = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "HOME")


def build_mpi_launch(
    agent: Sequence[str],
    environ: Mapping[str, str],
    n_hosts: Optional[int],
    options: Sequence[str],
    working_directory: Path,
) -> Launch:
    """The ``mpirun`` of a session, in the words of Open MPI.

    Args:
        agent: command of an agent.
        environ: variables of this process.
        n_hosts: hosts; as many as ``mpirun`` knows of if None.
        options: more words for ``mpirun``, such as ``--hostfile hosts``.
        working_directory: where agents start.
    """
    argv: List[str] = ["mpirun"]
    if n_hosts is not None:
        argv += ["-np", str(n_hosts)]
    if not any(word in _MAPPING_WORDS for word in options):
        argv += ["--map-by", "ppr:1:node"]
    argv += ["--bind-to", "none", "-wdir", str(working_directory)]
    for name in _FORWARDED:
        if name in environ:
            argv += ["-x", name]
    argv += [*options, *agent, "--index-from=mpi"]
    return Launch(tuple(argv), n_hosts, "mpirun")
