"""Launchers by name: what starts the ranks, and who this process is in that."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Tuple, Union

from bench.devices.ascend import list_device_ids
from bench.devices.hosts import Host
from bench.environment import Subject
from bench.errors import UsageError
from bench.launch import mailbox
from bench.launch.cluster import HostCluster, Launch, LocalCluster
from bench.launch.host_facts import collect_host
from bench.launch.kubernetes import (
    HOST_ADDRESS_VARIABLE,
    find_pod,
    name_job,
    wait_for_rank_table,
)
from bench.launch.mpi import build_mpi_launch
from bench.launch.scheduler_variables import Place, find_place
from bench.launch.slurm import build_slurm_launch
from bench.spec import RunSpec

Cluster = Union[LocalCluster, HostCluster]


def find_own_place(spec: RunSpec, environ: Mapping[str, str]) -> Optional[Place]:
    """This process among those that somebody else's scheduler started.

    Returns:
        None for launchers that start the others themselves.

    Raises:
        UsageError: no scheduler did, or it does not tell enough.
    """
    if spec.launcher == "kubernetes":
        return find_pod(environ, spec.hosts.count)
    if spec.launcher != "env":
        return None
    place = find_place(environ)
    if place.count is None:
        raise UsageError(f"{place.scheduler} does not say how many ranks there are: set RANK_SIZE")
    if not place.job:
        raise UsageError("set JOB_ID to a word that all ranks of the job share, and no other job")
    return place


def name_rendezvous(place: Place) -> str:
    """Folder of messages of a job that somebody else started.

    Raises:
        UsageError: the job's identity cannot name a folder.
    """
    return name_job(place.job)


def build_agent_command(folder: Path) -> List[str]:
    """Command of an agent; every host must find this interpreter and the harness at its path."""
    return [sys.executable, "-m", "bench", "host", str(folder.resolve())]


def open_cluster(
    spec: RunSpec,
    output: Path,
    session_id: str,
    subject: Subject,
    environ: Mapping[str, str],
    check: Callable[[], None],
) -> Cluster:
    """Where the ranks of a session will run; entering it starts the agents.

    Args:
        spec: the session.
        output: results directory, which all hosts must see.
        session_id: names the folder of messages.
        subject: what the runs will use.
        environ: variables of this process.
        check: called while waiting; raises to end the wait.

    Raises:
        UsageError: the launcher cannot work from here.
        OutputError: the folder of messages cannot be made.
    """
    if spec.launcher == "local":
        return LocalCluster()
    table = spec.rank_table or environ.get("RANK_TABLE_FILE")
    if spec.launcher == "kubernetes" and table:
        wait_for_rank_table(Path(table), spec.hosts.start_timeout_seconds, check)
    place = find_own_place(spec, environ)
    folder = mailbox.make_folder(output, session_id if place is None else name_rendezvous(place))
    return HostCluster(
        folder,
        _build_launch(spec, folder, place, environ),
        asdict(subject),
        spec.hosts.start_timeout_seconds,
        spec.hosts.timeout_seconds,
        check,
    )


def check_launcher(spec: RunSpec, environ: Mapping[str, str]) -> None:
    """Looks, before anything is written, whether the launcher can work from here.

    Raises:
        UsageError: it cannot.
    """
    if spec.launcher != "local":
        _build_launch(spec, Path("hosts"), find_own_place(spec, environ), environ)


def _build_launch(
    spec: RunSpec, folder: Path, place: Optional[Place], environ: Mapping[str, str]
) -> Launch:
    agent = build_agent_command(folder)
    if place is not None:
        # The head's own host has an agent like all others; somebody else started those.
        source = f"--index-from={spec.launcher}"
        return Launch((*agent, source), place.count, f"--launcher {spec.launcher}")
    builders = {"slurm": build_slurm_launch, "mpi": build_mpi_launch}
    hosts = spec.hosts
    return builders[spec.launcher](agent, environ, hosts.count, hosts.options, Path.cwd())


def build_own_host(source: str, environ: Mapping[str, str]) -> Tuple[Host, Optional[int]]:
    """This host as its agent describes it, and how many there are as far as is known.

    Args:
        source: the launcher that started the agent.
        environ: variables of this process.

    Raises:
        UsageError: the variables do not tell which host this is.
    """
    if source == "kubernetes":
        place = find_place(environ, "Volcano")
        server_id = environ.get(HOST_ADDRESS_VARIABLE, "")
        return collect_host(place.index, server_id), place.count
    if source == "env":
        place = find_place(environ)
        return collect_host(place.index, "", 1, _find_device(place, environ)), place.count
    place = find_place(environ, "Slurm") if source == "slurm" else _find_mpi_place(environ)
    return collect_host(place.index), place.count


def _find_mpi_place(environ: Mapping[str, str]) -> Place:
    for scheduler in ("Open MPI", "PMI", "PMIx"):
        with contextlib.suppress(UsageError):
            return find_place(environ, scheduler)
    raise UsageError("mpirun left none of OMPI_COMM_WORLD_RANK, PMI_RANK, PMIX_RANK")


def _find_device(place: Place, environ: Mapping[str, str]) -> Optional[int]:
    """The device of a rank that somebody else placed: as said, else by its number on the host."""
    said = environ.get("DEVICE_ID", "")
    if said.isdigit() and said.isascii() and len(said) < 5:
        return int(said)
    devices = list_device_ids("/dev")
    if place.local_index is not None and place.local_index < len(devices):
        return devices[place.local_index]
    return None
