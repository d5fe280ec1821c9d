"""Simulated cards: processes that write a real-looking Ascend log and train nothing."""

from __future__ import annotations

from typing import Dict, Mapping, Sequence

from bench.devices.base import Allocation, Availability, Backend, Placement
from bench.spec import MAX_CARDS, RunSpec

CARDS_PER_SERVER = 8


class SimulatedBackend(Backend):
    """Any number of cards, none of them real. Results are labelled and never compared with real."""

    name = "simulated"
    simulated = True
    default_iterations_per_loop = 10

    def probe(self) -> Availability:
        """Always there."""
        return Availability(True, MAX_CARDS, "simulated cards need no device")

    def allocate(self, spec: RunSpec, sweep: Sequence[int]) -> Allocation:
        """Device ids count up within servers of eight, as on real hosts."""
        placements = tuple(
            Placement(rank=rank, device=rank, cores=None) for rank in range(spec.n_cards)
        )
        return Allocation(placements, cores_per_card=None, oversubscribed=False)

    def build_rank_environment(
        self, spec: RunSpec, allocation: Allocation, rank: int, shared: Mapping[str, str]
    ) -> Dict[str, str]:
        """Nothing beyond the common variables."""
        return {}
