"""Which rank wrote what.

A log named ``train_<device>.log``, or one that holds a single ``RANK_SIZE= n  RANK_ID= r`` line, is
the log of one rank. In any other log the thread id of the absl prefix tells ranks apart: it is the
address of the process's main thread, the same through a run and, by address randomisation, another
in each process. It is no rank number. Lines without it belong to no rank that could be named.

A thread id in a damaged line must not become a rank. Ids of which only a stray line or two exist
are therefore held against the well supported ones, see :func:`find_stray_threads`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Set, Tuple

import numpy as np

from bench.logs.report import LogReport
from bench.logs.scan import NO_THREAD

_DEVICE_NAME = re.compile(r"train_(\d{1,6})\.log(?:\.\d+)?$")
# Kinds by which a thread shows that it trains; other threads of a process write absl lines, too.
PROGRESS_KINDS = ("step_rates", "losses", "checkpoints", "final_losses")

PAGE = 4096
MIN_ADDRESS = 1 << 32
MIN_PEERS = 3
MIN_SHARE = 0.01
MAX_EDITS = 3
# Times the median distance from the middle; of ids spread evenly the farthest is at a few times.
MAX_DISTANCES = 50
MAX_CANDIDATES = 512


@dataclass(frozen=True)
class RankKey:
    """What is known of a rank.

    Attributes:
        source: its log.
        device: device number from the name of the log.
        rank_id: rank from the trainer's own line.
        rank_size: number of ranks, from the same line.
        thread_id: its thread, where several ranks share the log.
    """

    source: str
    device: Optional[int] = None
    rank_id: Optional[int] = None
    rank_size: Optional[int] = None
    thread_id: Optional[int] = None

    @property
    def label(self) -> str:
        """A short name for tables."""
        if self.rank_id is not None:
            return f"rank {self.rank_id}"
        if self.device is not None:
            return f"device {self.device}"
        if self.thread_id is not None:
            return f"thread {self.thread_id}"
        return os.path.basename(self.source)


@dataclass(frozen=True)
class RankLog:
    """One rank and the log, or the part of a log, that it wrote."""

    key: RankKey
    report: LogReport

    def rows(self, kind: str) -> np.ndarray:
        """Rows of one kind that this rank wrote, as ``Table.rows`` gives them."""
        rows = self.report.tables[kind].rows()
        if self.key.thread_id is None:
            return rows
        return rows[rows["thread_id"] == self.key.thread_id]


def identify_ranks(reports: Iterable[LogReport]) -> Tuple[RankLog, ...]:
    """Finds the ranks in the logs of a job, by number where known, else in order of appearance."""
    ranks: List[RankLog] = []
    for report in reports:
        ranks.extend(RankLog(key, report) for key in list_rank_keys(report))
    known = [rank for rank in ranks if _get_number(rank.key) is not None]
    if len(known) == len(ranks):
        ranks.sort(key=lambda rank: _get_number(rank.key) or 0)
    return tuple(ranks)


def _get_number(key: RankKey) -> Optional[int]:
    return key.device if key.rank_id is None else key.rank_id


def list_rank_keys(report: LogReport) -> List[RankKey]:
    """Names the ranks of one log; none if nothing in it was trained."""
    lines = report.rank_lines.rows()
    numbers = {(int(row["rank_size"]), int(row["rank_id"])) for row in lines}
    size, rank = numbers.pop() if len(numbers) == 1 else (None, None)
    name = _DEVICE_NAME.search(os.path.basename(report.source))
    if (name and not numbers) or rank is not None:
        device = int(name.group(1)) if name else None
        return [RankKey(report.source, device=device, rank_id=rank, rank_size=size)]
    threads = list_threads(report)
    if len(threads) > 1:
        return [RankKey(report.source, thread_id=thread) for thread in threads]
    if any(len(report.tables[kind]) for kind in (*PROGRESS_KINDS, "trainer_prints")):
        return [RankKey(report.source)]
    return []


def list_threads(report: LogReport) -> List[int]:
    """Threads that report progress of training, in order of appearance, strays left out."""
    counts = count_threads(report)
    strays = find_stray_threads(counts)
    return [thread for thread in counts if thread not in strays]


def count_threads(report: LogReport) -> Dict[int, int]:
    """Records of progress per thread id, in the order in which the threads appear."""
    first: Dict[int, int] = {}
    counts: Dict[int, int] = {}
    for kind in PROGRESS_KINDS:
        for rows in report.tables[kind].iter_chunks():
            threads, index, number = np.unique(
                rows["thread_id"], return_index=True, return_counts=True
            )
            places = rows["line_number"][index].tolist()
            for thread, line, count in zip(threads.tolist(), places, number.tolist()):
                if thread != NO_THREAD:
                    counts[thread] = counts.get(thread, 0) + count
                    first[thread] = min(first.get(thread, line), line)
    return {thread: counts[thread] for thread in sorted(counts, key=lambda t: (first[t], t))}


def find_stray_threads(counts: Dict[int, int]) -> Set[int]:
    """Finds ids that are damaged copies of others, or too rare to be a rank.

    An id with less than 1 % of the records of the most frequent one is no rank. One with a quarter
    of them or less, or with a single record, is none if it looks unlike the others: a small number
    among addresses; at another place of its memory page, which the main threads of like processes
    share; far from the others; or three edits or fewer from a better supported one.

    Args:
        counts: records per thread id, in order of appearance.

    Returns:
        The ids that are no ranks.
    """
    most = max(counts.values(), default=0)
    strays = {thread for thread, count in counts.items() if count < MIN_SHARE * most}
    left = {thread: count for thread, count in counts.items() if thread not in strays}
    rare = {thread for thread, count in left.items() if count == 1 or count * 4 <= most}
    addresses = {thread: count for thread, count in left.items() if thread >= MIN_ADDRESS}
    if sum(addresses.values()) * 2 <= sum(left.values()):
        return strays
    odd = {thread for thread in left if thread < MIN_ADDRESS}
    odd |= _find_other_places(addresses)
    odd |= _find_far(addresses)
    strays |= odd & rare
    ranked = sorted((t for t in addresses if t not in strays), key=lambda t: -addresses[t])
    kept: List[int] = []
    for thread in ranked[:MAX_CANDIDATES]:
        if thread in rare and any(_is_near(str(thread), str(other)) for other in kept):
            strays.add(thread)
        else:
            kept.append(thread)
    strays.update(thread for thread in ranked[MAX_CANDIDATES:] if thread in rare)
    return strays


def _find_other_places(addresses: Dict[int, int]) -> Set[int]:
    """Ids that do not stand where most stand in their page; none where most do not agree."""
    places: Dict[int, List[int]] = {}
    for thread in addresses:
        places.setdefault(thread % PAGE, []).append(thread)
    common = max(places.values(), key=lambda same: sum(addresses[thread] for thread in same))
    if len(common) < MIN_PEERS or sum(map(addresses.__getitem__, common)) * 2 <= sum(
        addresses.values()
    ):
        return set()
    return set(addresses) - set(common)


def _find_far(addresses: Dict[int, int]) -> Set[int]:
    """Ids outside of the range that address randomisation gives the others."""
    threads = np.array(sorted(addresses), dtype=np.int64)
    weights = np.cumsum([addresses[thread] for thread in threads.tolist()])
    middle = int(threads[np.searchsorted(weights, weights[-1] / 2)])
    distances = np.abs(threads - middle)
    limit = MAX_DISTANCES * int(np.median(distances))
    if len(threads) < MIN_PEERS or limit == 0:
        return set()
    return set(threads[distances > limit].tolist())


def _is_near(one: str, other: str) -> bool:
    """Whether ``MAX_EDITS`` insertions, deletions or changes of a digit turn one into the other."""
    if abs(len(one) - len(other)) > MAX_EDITS:
        return False
    costs = list(range(len(other) + 1))
    for i, digit in enumerate(one, 1):
        above, costs[0] = costs[0], i
        for j, wanted in enumerate(other, 1):
            above, costs[j] = (
                costs[j],
                min(costs[j] + 1, costs[j - 1] + 1, above + (digit != wanted)),
            )
    return costs[-1] <= MAX_EDITS
