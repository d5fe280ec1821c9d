"""CPU cards: every card is the same fixed share of cores in all runs of a session."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from bench.devices.base import Allocation, Availability, Backend, Placement
from bench.devices.hosts import Host, list_workers, place_on_cores
from bench.errors import InfrastructureError
from bench.spec import RunSpec


class CpuBackend(Backend):
    """Real training on this machine's cores through TensorFlow's own collective runtime."""

    name = "cpu"
    default_iterations_per_loop = 1

    def probe(self) -> Availability:
        """CPU cores are always there; the trainer's software is checked when it is launched."""
        n_cores = len(list_usable_cores())
        return Availability(True, n_cores, f"{n_cores} CPU core(s) usable")

    def allocate(
        self, spec: RunSpec, sweep: Sequence[int], hosts: Sequence[Host] = ()
    ) -> Allocation:
        """Pins each rank to its share; see :func:`share_cores` and :func:`place_on_cores`."""
        if hosts:
            per_host = spec.hosts.cards_per_host
            return place_on_cores(hosts, spec.n_cards, sweep, per_host, spec.cores_per_card)
        return share_cores(list_usable_cores(), spec.n_cards, sweep, spec.cores_per_card)

    def prepare_shared(
        self,
        spec: RunSpec,
        allocation: Allocation,
        hosts: Sequence[Host] = (),
        run_dir: Optional[Path] = None,
    ) -> Dict[str, str]:
        """Addresses of the ranks' gRPC servers; none for a single rank."""
        if spec.n_cards == 1:
            return {}
        if hosts:
            return {"workers": ",".join(list_workers(hosts, allocation, spec.hosts.network))}
        ports = find_free_ports(spec.n_cards)
        return {"workers": ",".join(f"127.0.0.1:{port}" for port in ports)}

    def build_rank_environment(
        self, spec: RunSpec, allocation: Allocation, rank: int, shared: Mapping[str, str]
    ) -> Dict[str, str]:
        """``TF_CONFIG`` in TensorFlow's own form, so that other trainers can join too."""
        if "workers" not in shared:
            return {}
        cluster = {"worker": shared["workers"].split(",")}
        task = {"type": "worker", "index": rank}
        return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task}, sort_keys=True)}


def list_usable_cores() -> Tuple[int, ...]:
    """Core numbers that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def share_cores(
    cores: Sequence[int], n_cards: int, sweep: Sequence[int], asked_share: Optional[int] = None
) -> Allocation:
    """Gives every card the same number of cores in each run of a session.

    The share is what the largest run of the session leaves each card, at least one core, so that
    one card alone does not get the whole machine and card counts stay comparable. With more cards
    than cores the cores are dealt out in turn and the allocation is marked oversubscribed.

    Args:
        cores: usable core numbers, at least one.
        n_cards: ranks of this run.
        sweep: card counts of the session.
        asked_share: cores per card that the user asked for.
    """
    share = asked_share or max(1, len(cores) // max(max(sweep), n_cards))
    placements: List[Placement] = []
    for rank in range(n_cards):
        mine = tuple(sorted({cores[(rank * share + i) % len(cores)] for i in range(share)}))
        placements.append(Placement(rank=rank, device=rank, cores=mine))
    return Allocation(tuple(placements), share, oversubscribed=n_cards * share > len(cores))


def find_free_ports(count: int) -> List[int]:
    """Loopback TCP ports that were free a moment ago, all different.

    The ports are held together before any is released, so that none comes twice. Another process
    may still take one before the rank binds it; the rank then fails with a clear error.

    Raises:
        InfrastructureError: so many sockets cannot be had.
    """
    held = []
    try:
        for _ in range(count):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            held.append(sock)
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in held]
    except OSError as error:
        raise InfrastructureError(
            f"cannot find {count} free ports for the ranks: {error.strerror}; "
            "ask for fewer cards, or raise the limit of open files (ulimit -n)"
        ) from error
    finally:
        for sock in held:
            sock.close()
