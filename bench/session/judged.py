"""Looks: a session that launches more of what its judge could not decide.

All looks are one session, so that the history has one night of them, and each run says at which
look it was launched: the gate holds its error rates over all looks and must know them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Sequence, Tuple

from bench.measure.repeats import plan_launches

Case = Tuple[str, int, int]
"""Label of the build, card count, and sequences per card and step."""


@dataclass(frozen=True)
class Wish:
    """What a judge wants launched.

    Attributes:
        launches: of each case.
        cases: card count and sequences per card of the undecided ones.
    """

    launches: int = 0
    cases: Tuple[Tuple[int, int], ...] = ()


Judge = Callable[[Sequence[Path], int], Wish]
"""Takes the folders of all runs of the session and the number of looks so far."""


def plan_next_look(
    judge: Judge, folders: Sequence[Path], look: int, cases: Sequence[Case], order_seed: int
) -> List[Case]:
    """The launches of the next look, in an order drawn anew; none when the judge is content.

    Args:
        judge: is asked.
        folders: of all runs so far.
        look: how many looks there were.
        cases: of the session.
        order_seed: of the session.
    """
    wish = judge(folders, look)
    wanted = [case for case in cases if case[1:] in wish.cases]
    if not wanted or wish.launches < 1:
        return []
    return plan_launches(wanted, wish.launches, order_seed + look)
