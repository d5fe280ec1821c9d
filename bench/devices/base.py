"""The interface behind which every device backend stands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Mapping, Optional, Sequence, Tuple

from bench.spec import RunSpec

if TYPE_CHECKING:
    from bench.devices.hosts import Host


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
        host: index of its host, 0 where there is only one.
        index: number of the device among those of all hosts, which names its log; None where it
            is the device id.
    """

    rank: int
    device: int
    cores: Optional[Tuple[int, ...]]
    host: int = 0
    index: Optional[int] = None

    @property
    def device_index(self) -> int:
        """The device's number over all hosts (``DEVICE_INDEX``)."""
        return self.device if self.index is None else self.index


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

    def allocate(
        self, spec: RunSpec, sweep: Sequence[int], hosts: Sequence[Host] = ()
    ) -> Allocation:
        """Gives each rank of a run its device.

        Args:
            spec: the run, one card count.
            sweep: every card count of the session, so that a card means the same in each run.
            hosts: where the ranks run; none for this host alone.

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

    def prepare_shared(
        self,
        spec: RunSpec,
        allocation: Allocation,
        hosts: Sequence[Host] = (),
        run_dir: Optional[Path] = None,
    ) -> Dict[str, str]:
        """Facts that all ranks of a run must agree on, such as free ports or a rank table.

        Args:
            spec: the run.
            allocation: its devices.
            hosts: as for :meth:`allocate`, with the ports that they keep free.
            run_dir: folder of the run, for files that the ranks read.
        """
        return {}


_USUAL_REPORTS = 40


def resolve_iterations_per_loop(spec: RunSpec, backend: Backend) -> int:
    """Steps per report.

    As asked, else the largest divisor of ``steps`` up to the backend's default that leaves enough
    reports to find a steady state in.
    """
    if spec.iterations_per_loop is not None:
        return spec.iterations_per_loop
    limit = min(backend.default_iterations_per_loop, max(1, spec.steps // _USUAL_REPORTS))
    return next(n for n in range(limit, 0, -1) if spec.steps % n == 0)
