"""What every launcher gives back: the ranks of a run as one group, wherever they run."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Sequence, TypeVar

from bench.launch.plan import RankPlan

GroupType = TypeVar("GroupType", bound="Group")


class Rank:
    """A started rank.

    Attributes:
        plan: what it was started with.
        started_at: Unix time of the start, by this host's clock.
        ended_at: Unix time when its end was seen, None before.
        stopped_by_us: the harness ended it, so its exit code is not its own doing.
    """

    plan: RankPlan
    started_at: float
    ended_at: Optional[float]
    stopped_by_us: bool

    @property
    def process_id(self) -> int:
        """Process id on its host."""
        raise NotImplementedError

    @property
    def exit_code(self) -> Optional[int]:
        """Exit code, negative signal number after a kill, None while it runs or is not known."""
        raise NotImplementedError


class Group:
    """The rank processes of one run. As a context manager: entering starts, leaving ends them."""

    @property
    def ranks(self) -> Sequence[Rank]:
        """All of them, in rank order."""
        raise NotImplementedError

    @property
    def running(self) -> List[Rank]:
        """Ranks whose end has not been seen."""
        return [rank for rank in self.ranks if rank.ended_at is None]

    @property
    def trouble(self) -> str:
        """What is wrong with a host or the way to it, in one line; empty if nothing."""
        return ""

    def __enter__(self: GroupType) -> GroupType:
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def poll(self) -> Sequence[Rank]:
        """Looks which ranks have ended since the last call and returns those; never waits."""
        raise NotImplementedError

    def stop(
        self,
        note: Optional[Callable[[str], None]] = None,
        is_urgent: Callable[[], bool] = lambda: False,
    ) -> None:
        """Ends every rank that still runs, with its children: TERM, wait, then KILL.

        Args:
            note: told what did not go as it should.
            is_urgent: asked during the wait; true ends it.
        """
        raise NotImplementedError

    def exit_codes(self) -> Dict[int, Optional[int]]:
        """Exit code by rank."""
        return {rank.plan.rank: rank.exit_code for rank in self.ranks}
