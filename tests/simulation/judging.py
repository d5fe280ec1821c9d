"""Experiments on the gate and the history: false alarms, power, and what plain rules would say."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Mapping, Sequence, Tuple

import numpy as np

from bench.judge.change_points import find_changes
from bench.judge.gate import decide_more_launches, judge_cells
from bench.judge.model import NO_VERDICT, PASS, REGRESSION, Cell, Plan
from tests.simulation.experiments import Row
from tests.simulation.nights import CARDS, SERIES, WORLDS, NightMaker, World, draw_series

PLAN = Plan()
DROP = 0.03
SHIFT = 0.05
CREEP_A_WEEK = 0.01
SERIES_NIGHTS = 100


def judge_night(maker: NightMaker, plan: Plan = PLAN) -> Tuple[str, int, List[Cell]]:
    """Launches, judges, and launches more where the gate asks for it.

    Returns:
        Verdict, launches of the candidate over all card counts, cells of the first look.
    """
    looks = dict.fromkeys(CARDS, 1)
    for cards in CARDS:
        maker.launch(plan.first_launches, cards)
    first = maker.build_cells(looks)
    verdict = judge_cells(first, plan, explain=False)
    more = decide_more_launches(verdict)
    while more:
        undecided = {
            item.cell.case["cards"] for item in verdict.cells if item.verdict == NO_VERDICT
        }
        for cards in sorted(undecided):
            if looks[cards] < len(plan.look_shares):
                maker.launch(more, cards)
                looks[cards] += 1
        verdict = judge_cells(maker.build_cells(looks), plan, explain=False)
        more = decide_more_launches(verdict)
    launched = sum(part.shape[1] for part in maker.candidate)
    return verdict.verdict, launched, first


def judge_by_threshold(cells: Sequence[Cell], share: float = 0.05) -> bool:
    """The plain rule: red when a mean is worse than the baseline's by more than a share."""
    return any(_get_loss(cell) > share for cell in cells)


def judge_by_sigma(cells: Sequence[Cell], sigmas: float = 3.0) -> bool:
    """The plain rule: red when a mean is so many standard deviations of a launch worse."""
    return any(_get_sigmas(cell) > sigmas for cell in cells)


def _get_loss(cell: Cell) -> float:
    ratio = float(np.mean(cell.candidate)) / float(np.mean(np.concatenate(cell.baseline)))
    return 1.0 - ratio if cell.better == "higher" else ratio - 1.0


def _get_sigmas(cell: Cell) -> float:
    before = np.concatenate(cell.baseline)
    gap = float(before.mean()) - float(np.mean(cell.candidate))
    return (gap if cell.better == "higher" else -gap) / float(before.std(ddof=1))


def run_gate_false_alarms(n: int, seed: int) -> Iterator[Row]:
    """Unchanged builds, 9 cells a night: how often a night goes red, and how often green."""
    for what, world in WORLDS.items():
        red = green = launched = by_threshold = by_sigma = 0
        rng = np.random.RandomState(seed)
        for _ in range(n):
            verdict, count, first = judge_night(NightMaker(world, rng, (0.0, 0.0, 0.0)))
            red += verdict == REGRESSION
            green += verdict == PASS
            launched += count
            by_threshold += judge_by_threshold(first)
            by_sigma += judge_by_sigma(first)
        yield Row(f"A/A night red, {what}", red, n, at_most=0.01)
        yield Row(
            f"A/A night green, {what} (mean {launched / n / len(CARDS):.1f} launches)", green, n
        )
        yield Row(f"A/A night red by the rule '5 % off', {what}", by_threshold, n)
        yield Row(f"A/A night red by the rule '3 sigma off', {what}", by_sigma, n)


def run_gate_power(n: int, seed: int) -> Iterator[Row]:
    """A true loss of 3 %: how often the night goes red, and how seldom green."""
    cases: Sequence[Tuple[str, World, Tuple[float, float, float], float]] = (
        ("with all cards, CV 1 %", WORLDS["CV 1 %"], (DROP, DROP, DROP), 0.95),
        ("with 8 cards only, CV 1 %", WORLDS["CV 1 %"], (0.0, DROP, 0.0), 0.95),
        ("with all cards, baseline of one night", World(nights=1), (DROP, DROP, DROP), 0.95),
        ("with 8 cards only, baseline of one night", World(nights=1), (0.0, DROP, 0.0), math.nan),
        ("with all cards, heavy tails", WORLDS["heavy tails"], (DROP, DROP, DROP), math.nan),
    )
    for what, world, losses, promise in cases:
        red = green = launched = by_threshold = by_sigma = 0
        rng = np.random.RandomState(seed)
        for _ in range(n):
            verdict, count, first = judge_night(NightMaker(world, rng, losses))
            red += verdict == REGRESSION
            green += verdict == PASS
            launched += count
            by_threshold += judge_by_threshold(first)
            by_sigma += judge_by_sigma(first)
        yield Row(
            f"3 % drop red, {what} (mean {launched / n / len(CARDS):.1f} launches)",
            red, n, at_least=promise,
        )  # fmt: skip
        yield Row(f"3 % drop green, {what}", green, n, at_most=0.01)
        yield Row(f"3 % drop red by the rule '5 % off', {what}", by_threshold, n)
        yield Row(f"3 % drop red by the rule '3 sigma off', {what}", by_sigma, n)


Rule = Callable[[np.ndarray], List[int]]
"""Log values of a series → positions of the nights on which it raises an alarm."""


def alarm_by_ours(logs: np.ndarray) -> List[int]:
    """Nights on which :func:`find_changes` finds something."""
    return [change.found_at for change in find_changes(list(np.exp(logs)))]


def alarm_by_share(logs: np.ndarray) -> List[int]:
    """The plain rule: 5 % off the mean of the ten nights before; it alarms anew after good ones."""
    return _alarm_by(logs, lambda before, last: abs(math.expm1(last - before.mean())) > 0.05, 10)


def alarm_by_sigma(logs: np.ndarray) -> List[int]:
    """The plain rule: three standard deviations off the mean of the twenty nights before."""
    return _alarm_by(
        logs, lambda before, last: abs(last - before.mean()) > 3.0 * before.std(ddof=1), 20
    )


def _alarm_by(
    logs: np.ndarray, is_off: Callable[[np.ndarray, float], bool], width: int
) -> List[int]:
    alarms: List[int] = []
    was_off = False
    for night in range(5, len(logs)):
        now_off = is_off(logs[max(0, night - width) : night], float(logs[night]))
        if now_off and not was_off:
            alarms.append(night)
        was_off = now_off
    return alarms


RULES: Dict[str, Rule] = {
    "": alarm_by_ours,
    " by the rule '5 % off'": alarm_by_share,
    " by the rule '3 sigma off'": alarm_by_sigma,
}


def build_level(rng: np.random.RandomState, kind: str) -> np.ndarray:
    """A series in which nothing changes."""
    return draw_series(rng, kind, SERIES_NIGHTS)


def build_shift(rng: np.random.RandomState, kind: str) -> Tuple[np.ndarray, int]:
    """A loss of 5 % on a night after at least three weeks; ends three nights into it."""
    begin = rng.randint(21, 60)
    logs = draw_series(rng, kind, begin + 3)
    logs[begin:] += math.log1p(-SHIFT)
    return logs, begin


def build_creep(rng: np.random.RandomState, kind: str) -> Tuple[np.ndarray, int]:
    """A creep of 1 % a week, begun at any time; ends six weeks into it."""
    begin = rng.randint(0, 40)
    logs = draw_series(rng, kind, begin + 42)
    logs[begin:] += math.log1p(-CREEP_A_WEEK) * np.arange(1, 43) / 7.0
    return logs, begin


def run_history(n: int, seed: int) -> Iterator[Row]:
    """Nightly series with noise of 1 %: false alarms, shifts and creeps, by us and plain rules."""
    for kind in SERIES:
        promised = kind in ("independent", "AR(1) 0.3")
        for label, rule in RULES.items():
            ours = label == ""
            rng = np.random.RandomState(seed)
            false = sum(len(rule(build_level(rng, kind))) for _ in range(n))
            nights = n * SERIES_NIGHTS
            yield Row(
                f"false alarms in a series-night{label}, {kind}",
                min(false, nights), nights, at_most=0.01 if ours else math.nan,
            )  # fmt: skip
            for what, build in (
                ("5 % shift found within 3 nights", build_shift),
                ("1 % a week found within 6 weeks", build_creep),
            ):
                rng = np.random.RandomState(seed + 1)
                hits = 0
                for _ in range(n):
                    logs, begin = build(rng, kind)
                    hits += any(night >= begin for night in rule(logs))
                yield Row(
                    f"{what}{label}, {kind}",
                    hits, n, at_least=0.95 if ours and promised else math.nan,
                )  # fmt: skip


def run_otava(n: int, seed: int, python: Path) -> Iterator[Row]:
    """The very series of :func:`run_history`, the first of each kind, judged by Apache Otava.

    Args:
        n: series of each kind and question.
        seed: as given to :func:`run_history`.
        python: interpreter of the environment that has Otava.
    """
    for kind in SERIES:
        rng = np.random.RandomState(seed)
        level = [build_level(rng, kind) for _ in range(n)]
        nights = n * SERIES_NIGHTS
        for label, alarms in (("", _ours(level)), (" by Otava", _otava(level, python))):
            false = sum(map(len, alarms))
            what = f"false alarms in a series-night{label}, {kind}"
            yield Row(what, min(false, nights), nights)
        for what, build in (
            ("5 % shift found within 3 nights", build_shift),
            ("1 % a week found within 6 weeks", build_creep),
        ):
            rng = np.random.RandomState(seed + 1)
            drawn = [build(rng, kind) for _ in range(n)]
            series = [logs for logs, _ in drawn]
            for label, alarms in (("", _ours(series)), (" by Otava", _otava(series, python))):
                hits = sum(
                    any(night >= begin for night in nights_found)
                    for nights_found, (_, begin) in zip(alarms, drawn)
                )
                yield Row(f"{what}{label}, {kind}", hits, n)


def _ours(series: Sequence[np.ndarray]) -> List[List[int]]:
    return [alarm_by_ours(logs) for logs in series]


def _otava(series: Sequence[np.ndarray], python: Path) -> List[List[int]]:
    done = subprocess.run(
        [str(python), str(Path(__file__).resolve().with_name("otava_worker.py"))],
        input=json.dumps([np.exp(logs).tolist() for logs in series]),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    alarms: List[List[int]] = json.loads(done.stdout)
    return alarms


JUDGING_EXPERIMENTS: Mapping[str, Callable[[int, int], Iterator[Row]]] = {
    "gate false alarms": run_gate_false_alarms,
    "gate power": run_gate_power,
    "history": run_history,
}
FULL_SIZES = {"gate false alarms": 10_000, "gate power": 2000, "history": 300}
QUICK_SIZES = {"gate false alarms": 200, "gate power": 100, "history": 20}
