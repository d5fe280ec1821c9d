"""The interface behind which every device backend stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Sequence, Tuple

from bench.spec import RunSpec


@dataclass(frozen=True)
class Availability:
    """What a probe found.

    Attributes:
        available: whether runs can be launched on the backend.
        n_cards: cards found (cores on CPU, ``davinci`` nodes on Ascend).
        reason: one line that says why, for people.
    """

    available: bool
    n_cards: int
    reason: str


@dataclass(frozen=True)
class Placement:
    """Where one rank runs.

    Attributes:
        rank: global rank id, from 0.
        device: physical device id on its host.
        cores: CPU cores that the rank is pinned to; None leaves it free.
    """

    rank: int
    device: int
    cores: Optional[Tuple[int, ...]]


@dataclass(frozen=True)
class Allocation:
    """The devices of one run.

    Attributes:
        placements: one per rank, in rank order.
        cores_per_card: cores pinned to each card, None where cards are not cores.
        oversubscribed: some core serves more than one rank, so ranks slow each other down.
    """

    placements: Tuple[Placement, ...]
    cores_per_card: Optional[int]
    oversubscribed: bool


class Backend:
    """A kind of device. Subclasses hold no state of a run."""

    name = ""
    simulated = False
    default_iterations_per_loop = 1

    def probe(self) -> Availability:
        """Looks for the devices and the software; never raises."""
        raise NotImplementedError

    def allocate(self, spec: RunSpec, sweep: Sequence[int]) -> Allocation:
        """Gives each rank of a run its device.

        Args:
            spec: the run, one card count.
            sweep: every card count of the session, so that a card means the same in each run.

        Raises:
            BackendUnavailableError: there are too few devices.
        """
        raise NotImplementedError

    def build_rank_environment(
        self, spec: RunSpec, allocation: Allocation, rank: int, shared: Mapping[str, str]
    ) -> Dict[str, str]:
        """Variables that this backend's ranks need beside the common ones.

        Args:
            spec: the run.
            allocation: its devices.
            rank: the rank that is asked about.
            shared: facts common to the ranks of the run (:meth:`prepare_shared`).
        """
        raise NotImplementedError

    def count_processes(self, spec: RunSpec) -> int:
        """Processes of a run: ranks 0 to this number have one of their own."""
        return spec.n_cards

    def prepare_shared(self, spec: RunSpec, allocation: Allocation) -> Dict[str, str]:
        """Facts that all ranks of a run must agree on, such as free ports or a rank table."""
        return {}


def resolve_iterations_per_loop(spec: RunSpec, backend: Backend) -> int:
    """Steps per report: as asked, else the largest divisor of ``steps`` up to the default."""
    if spec.iterations_per_loop is not None:
        return spec.iterations_per_loop
    limit = min(backend.default_iterations_per_loop, spec.steps)
    return next(n for n in range(limit, 0, -1) if spec.steps % n == 0)
