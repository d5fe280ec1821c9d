"""Simulated cards: processes that write a real-looking Ascend log and train nothing."""

from __future__ import annotations

from typing import Dict, List, Mapping, Sequence

from bench.devices.base import Allocation, Availability, Backend, Placement
from bench.devices.hosts import Host, spread_ranks
from bench.errors import UsageError
from bench.spec import MAX_CARDS, RunSpec

CARDS_PER_SERVER = 8
MAX_PROCESSES = 16
"""Thousands of processes would try the scheduler of this machine and not the harness."""


class SimulatedBackend(Backend):
    """Any number of cards, none of them real. Results are labelled and never compared with real."""

    name = "simulated"
    simulated = True
    default_iterations_per_loop = 10

    def probe(self) -> Availability:
        """Always there."""
        return Availability(True, MAX_CARDS, "simulated cards need no device")

    def allocate(
        self, spec: RunSpec, sweep: Sequence[int], hosts: Sequence[Host] = ()
    ) -> Allocation:
        """Device ids count up over the whole job, one per rank.

        Raises:
            UsageError: the rank that is to fail has no process of its own to fail.
        """
        n_processes = count_processes(spec)
        fail_rank = spec.simulated.fail_rank
        if fail_rank is not None and n_processes <= fail_rank < spec.n_cards:
            raise UsageError(
                f"simulated.fail_rank must be below {n_processes}, the number of processes; "
                "or set simulated.ranks_per_process=1"
            )
        owners = [0] * spec.n_cards
        if hosts:
            owners = list(spread_ranks(hosts, spec.n_cards, spec.hosts.cards_per_host, fill=False))
        placements = tuple(
            Placement(rank=rank, device=rank, cores=None, host=owner)
            for rank, owner in enumerate(owners)
        )
        return Allocation(placements, cores_per_card=None, oversubscribed=False)

    def build_rank_environment(
        self, spec: RunSpec, allocation: Allocation, rank: int, shared: Mapping[str, str]
    ) -> Dict[str, str]:
        """Nothing beyond the common variables."""
        return {}

    def count_processes(self, spec: RunSpec) -> int:
        """One process may stand for several ranks; see :func:`list_ranks_of_process`."""
        return count_processes(spec)


def count_processes(spec: RunSpec) -> int:
    """Processes of a run: as asked, else one per rank up to :data:`MAX_PROCESSES`."""
    per_process = spec.simulated.ranks_per_process
    if per_process is None:
        return min(spec.n_cards, MAX_PROCESSES)
    return -(-spec.n_cards // per_process)


def list_ranks_of_process(spec: RunSpec, leader: int) -> List[int]:
    """Ranks that the process of rank ``leader`` stands for, itself first.

    With P processes it is the ranks ``leader``, ``leader + P``, ``leader + 2 P`` and so on, so that
    ranks 0 to P − 1 are those with a process.
    """
    return list(range(leader, spec.n_cards, count_processes(spec)))
