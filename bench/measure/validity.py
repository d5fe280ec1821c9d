"""Whether a run's numbers may be used: named checks, each with what was found and wanted.

A check that cannot be made (a foreign trainer does not tell, a file is absent) says so and fails
nothing; it is listed all the same.
"""

from __future__ import annotations

import math
from typing import Dict, Iterable, List, Mapping, Optional, Sequence, Set, Tuple

from bench.measure.figures import Check
from bench.measure.intervals import LossRecord, RankTrack
from bench.measure.overheads import count_skipped_steps
from bench.measure.steady import MINIMUM_INTERVALS
from bench.measure.windows import MEASURED, Windows

MAXIMUM_SKIPPED_RATIO = 0.01
CLOCK_RATIO = 0.02
"""Time by the stamps of a log and time by its own reports may differ by so much."""
CLOCK_SECONDS = 2.0


def check_ranks_seen(labels: Sequence[str], n_cards: int) -> Check:
    """Every rank left a log that says something."""
    return Check("ranks seen", len(labels) == n_cards, str(len(labels)), str(n_cards))


def check_steps_reached(last_steps: Sequence[Optional[int]], steps: Optional[int]) -> Check:
    """All ranks reported the same last step, and it is the one asked for.

    Args:
        last_steps: last step reported by each rank, None for no report.
        steps: what was asked, None when not known.
    """
    found = sorted({-1 if step is None else step for step in last_steps})
    text = ", ".join("none" if step < 0 else str(step) for step in found) or "none"
    agree = len(found) == 1 and found[0] >= 0
    if steps is None:
        return Check("ranks agree on the last step", agree, text, "one step")
    return Check("steps reached", agree and found[0] == steps, text, str(steps))


def check_batches_timed(counts: Sequence[Optional[int]], batches: int) -> Check:
    """A prediction timed at least as many batches as asked for; rounds over the data are whole.

    Args:
        counts: batches of each rank that predicts.
        batches: asked for.
    """
    found = max((count or 0 for count in counts), default=0)
    return Check("batches timed", found >= batches, str(found), f"at least {batches}")


def check_exit_codes(exit_codes: Mapping[int, Optional[int]]) -> Check:
    """Every rank process ended by itself and well."""
    bad = [f"rank {rank}: {code}" for rank, code in sorted(exit_codes.items()) if code]
    unknown = [str(rank) for rank, code in sorted(exit_codes.items()) if code is None]
    if unknown and not bad:
        return Check("exit codes", None, f"not known of rank {', '.join(unknown)}", "all 0")
    return Check("exit codes", not bad, ", ".join(bad) or "all 0", "all 0")


def check_losses_finite(ranks: Sequence[Sequence[LossRecord]]) -> Check:
    """No report has a loss that is NaN or infinite."""
    bad = sum(
        1
        for losses in ranks
        for record in losses
        if any(
            value is not None and not math.isfinite(value)
            for value in (record.mlm, record.nsp, record.total)
        )
    )
    return Check("losses finite", bad == 0, f"{bad} not finite", "0 not finite")


def check_intervals(windows: Windows) -> Check:
    """Every rank has intervals to measure."""
    fewest = min(
        (sum(1 for item in intervals if item.reason in MEASURED) for intervals in windows.ranks),
        default=0,
    )
    return Check(
        "intervals measured",
        fewest >= 1,
        f"{fewest} per rank at the least",
        "at least 1; raise --steps",
    )


def check_steady(windows: Windows, required: bool) -> Check:
    """The run got steady, and stayed so for long enough.

    Args:
        windows: the classified intervals.
        required: whether the run is invalid otherwise.
    """
    found = f"{windows.n_measured} intervals" if windows.state.found else windows.state.reason
    wanted = f"a steady state of at least {MINIMUM_INTERVALS} intervals"
    return Check("steady state", windows.state.found, found, wanted, required)


def check_skipped(windows: Windows, maximum_ratio: float = MAXIMUM_SKIPPED_RATIO) -> Check:
    """Few updates were skipped for overflow once the run was measured.

    Args:
        windows: the classified intervals.
        maximum_ratio: share of the steps from the first measured interval on.
    """
    found = count_skipped_steps(windows, windows.first_row or 0)
    return Check(
        "skipped updates",
        found.share <= maximum_ratio,
        f"{found.skipped} of {found.steps} steps, in {found.n_intervals} intervals",
        f"at most {maximum_ratio:.0%}",
    )


def check_group_size(found: Sequence[Optional[str]], n_cards: int) -> Check:
    """The collective really joined all ranks: each found their number by a sum of ones.

    Args:
        found: what each rank's log tells, None for nothing.
        n_cards: cards asked for.
    """
    name, wanted = "group size", f"{n_cards} ranks"
    if n_cards == 1:
        return Check(name, True, "one card needs no group", wanted)
    told = [size for size in found if size is not None]
    if not told:
        return Check(name, None, "the trainer does not tell", wanted)
    good = len(told) == n_cards and set(told) == {str(n_cards)}
    text = "{} ranks tell {}".format(len(told), ", ".join(sorted(set(told))))
    return Check(name, good, text, wanted)


def check_shards(found: Sequence[Optional[str]], n_cards: int) -> Check:
    """No record is read by two ranks.

    Args:
        found: what each rank's log tells it reads, ``file:share/shares`` words; None for nothing.
        n_cards: cards asked for.
    """
    name, wanted = "shards disjoint", "no part read twice"
    if n_cards == 1:
        return Check(name, True, "one card reads all", wanted)
    told = [words.split() for words in found if words]
    if not told:
        return Check(name, None, "the trainer does not tell", wanted)
    if len(told) < n_cards or any("..." in words for words in told):
        return Check(name, None, f"{len(told)} of {n_cards} ranks tell", wanted)
    seen: Set[str] = set()
    ways: Dict[str, Set[str]] = {}
    twice = 0
    for words in told:
        for word in words:
            twice += word in seen
            seen.add(word)
            path, _, share = word.rpartition(":")
            ways.setdefault(path, set()).add(share.partition("/")[2])
    # A file that one rank takes whole and another in parts is read twice as well.
    mixed = sum(1 for parts in ways.values() if len(parts) > 1)
    return Check(name, not (twice or mixed), f"{twice + mixed} of {len(seen)} parts", wanted)


def check_declared(asked: Mapping[str, str], told: Sequence[Mapping[str, str]]) -> Check:
    """Batch, sequence length, precision and all else are what the command line asked for.

    Args:
        asked: flag → value given to the trainer.
        told: flag → value of each rank's log, empty where it tells none.
    """
    name, wanted = "as declared", "what was asked"
    if not any(told) or not asked:
        return Check(name, None, "the trainer does not tell", wanted)
    compared = 0
    wrong: List[str] = []
    for flags in told:
        for flag, value in asked.items():
            if flag in flags:
                compared += 1
                if not _is_same(value, flags[flag]):
                    wrong.append(f"{flag} is {flags[flag]}, not {value}")
    text = "; ".join(sorted(set(wrong))[:3]) or f"{compared} flags agree"
    return Check(name, not wrong if compared else None, text, wanted)


def _is_same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one.strip().lower() == other.strip().lower()


def check_clock(tracks: Sequence[RankTrack]) -> Check:
    """The clock of the log runs forward and as fast as the reports say.

    The stamps come from the wall clock, the seconds of the reports from the trainer's own
    measurement: a clock that was set, or a damaged report, makes them differ.
    """
    name = "clock"
    wanted = f"stamps and reports agree within {CLOCK_RATIO:.0%}"
    worst: Optional[Tuple[float, str]] = None
    for track in tracks:
        for text, gap, allowed in _list_clock_gaps(track):
            excess = gap / allowed
            if worst is None or excess > worst[0]:
                worst = (excess, f"{track.label}: {text}")
    if worst is None:
        return Check(name, None, "no time stamps or no seconds in the reports", wanted)
    return Check(name, worst[0] <= 1.0, worst[1], wanted)


def _list_clock_gaps(track: RankTrack) -> Iterable[Tuple[str, float, float]]:
    timed = [record for record in track.losses if record.wall_seconds is not None]
    if len(timed) < 2:
        return
    stamps = [record.wall_seconds or 0.0 for record in timed]
    back = max((before - after for before, after in zip(stamps, stamps[1:])), default=0.0)
    if back > 0.0:
        yield f"goes back by {back:.3f} s", back, 1.0
    # The seconds of a report count from the one before it, which a damaged log may have lost.
    gained = [after.step - before.step for before, after in zip(timed, timed[1:])]
    usual = max(set(gained), key=gained.count)
    pairs = [
        (after - before, record.seconds)
        for before, after, record, steps in zip(stamps, stamps[1:], timed[1:], gained)
        if steps == usual and record.seconds is not None
    ]
    if not pairs:
        return
    elapsed = math.fsum(gap for gap, _ in pairs)
    reported = math.fsum(seconds for _, seconds in pairs)
    allowed = CLOCK_RATIO * reported + CLOCK_SECONDS
    text = f"{elapsed:.1f} s by stamps, {reported:.1f} s by reports"
    yield text, abs(elapsed - reported), allowed


def check_no_foreign_processes(processes: Optional[Sequence[str]], reason: str) -> Check:
    """Nothing but this run used the cards.

    Args:
        processes: what else ran on them, a word each; None when that is not known.
        reason: why it is not.
    """
    name, wanted = "cards to itself", "no other process on the cards"
    if processes is None:
        return Check(name, None, reason, wanted)
    found = ", ".join(processes[:5]) or "none"
    return Check(name, not processes, found, wanted)
