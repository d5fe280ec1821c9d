"""Nights with a known truth: launches for the gate, and nightly series for the history."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Callable, Dict, List, Tuple

import numpy as np

from bench.judge.model import Cell
from tests.simulation.traces import generate_noise

Draw = Callable[[np.random.RandomState, int], np.ndarray]

CARDS = (1, 8, 64)
LOWER_METRIC = "step_time_p95_seconds"
METRICS = ("sequences_per_second", "step_time_p50_seconds", LOWER_METRIC)
"""A rate and two times; their launches hang together."""


def draw_normal(rng: np.random.RandomState, n: int) -> np.ndarray:
    """Standard normal."""
    return rng.standard_normal(n)


def draw_student(rng: np.random.RandomState, n: int) -> np.ndarray:
    """Student's t with 3 degrees of freedom, scaled to variance 1."""
    return rng.standard_t(3, n) / math.sqrt(3.0)


def draw_slow_launches(rng: np.random.RandomState, n: int) -> np.ndarray:
    """Normal, and one in twenty eight standard deviations slow."""
    return rng.standard_normal(n) - 8.0 * (rng.uniform(size=n) < 0.05)


def draw_two_modes(rng: np.random.RandomState, n: int) -> np.ndarray:
    """A slow and a fast mode, the slow one in 30 %; variance about 1."""
    return np.where(rng.uniform(size=n) < 0.3, -1.45, 0.62) + 0.3 * rng.standard_normal(n)


@dataclass(frozen=True)
class World:
    """How launches of a machine differ.

    Attributes:
        draw: noise of launches, variance 1.
        launch_sd: of the launches with 1, 8 and 64 cards.
        night_sd: of nights, for each card count on its own.
        nights: of the baseline.
        launches: in each of them.
        margin: of the gate.
    """

    draw: Draw = draw_normal
    launch_sd: Tuple[float, float, float] = (0.01, 0.01, 0.01)
    night_sd: float = 0.0
    nights: int = 3
    launches: int = 5
    margin: float = 0.03


WORLDS: Dict[str, World] = {
    "CV 1 %": World(),
    "CV 1 %, margin 0.3 %": World(margin=0.003),
    "CV 0.3, 1 and 2 %": World(launch_sd=(0.003, 0.01, 0.02)),
    "heavy tails": World(draw=draw_student),
    "one launch in twenty 8 % slow": World(draw=draw_slow_launches),
    "two modes": World(draw=draw_two_modes),
    "baseline of one night": World(nights=1),
    "nights differ by 0.3 %, baseline of 10": World(night_sd=0.003, nights=10),
}


class NightMaker:
    """Draws the launches of one night after another.

    Args:
        world: how launches differ.
        rng: source of all randomness.
        losses: true loss of rate of the candidate, by card count.
    """

    def __init__(
        self, world: World, rng: np.random.RandomState, losses: Tuple[float, float, float]
    ) -> None:
        self.world, self.rng = world, rng
        self.baseline = [
            [self._launch(index, night) for night in self._nights()] for index in range(3)
        ]
        self._state = [
            self.world.night_sd * rng.standard_normal() + math.log1p(-losses[index])
            for index in range(3)
        ]
        self.candidate: List[np.ndarray] = [np.zeros((3, 0)) for _ in range(3)]

    def _nights(self) -> np.ndarray:
        return self.world.night_sd * self.rng.standard_normal(self.world.nights)

    def _launch(self, index: int, state: float, count: int = 0) -> np.ndarray:
        """Log values of launches, [3 metrics, launches]."""
        count = count or self.world.launches
        sd = self.world.launch_sd[index]
        rate = state + sd * self.world.draw(self.rng, count)
        own = 0.3 * sd * self.rng.standard_normal((2, count))
        return np.stack([rate, -rate + own[0], -rate + own[1]])

    def launch(self, count: int, cards: int) -> None:
        """Launches the candidate with a card count."""
        index = CARDS.index(cards)
        more = self._launch(index, self._state[index], count)
        self.candidate[index] = np.concatenate([self.candidate[index], more], axis=1)

    def build_cells(self, looks: Dict[int, int]) -> List[Cell]:
        """The cells of all metrics and card counts."""
        return [
            Cell(
                name=f"{metric} {cards}",
                metric=metric,
                better="higher" if row == 0 else "lower",
                margin_ratio=self.world.margin,
                baseline=tuple(tuple(np.exp(night[row])) for night in self.baseline[index]),
                candidate=tuple(np.exp(self.candidate[index][row])),
                look=looks[cards],
                case={"cards": cards},
            )
            for index, cards in enumerate(CARDS)
            for row, metric in enumerate(METRICS)
        ]


def draw_series(rng: np.random.RandomState, kind: str, n: int, sd: float = 0.01) -> np.ndarray:
    """Log values of a nightly series of which the level never changes, [n]."""
    noise = SERIES[kind](rng, n)
    return sd * noise


def _change_spread(rng: np.random.RandomState, n: int) -> np.ndarray:
    place = rng.randint(n // 4, 3 * n // 4 + 1)
    return rng.standard_normal(n) * np.where(np.arange(n) < place, 0.5, 1.0)


def _add_odd_nights(rng: np.random.RandomState, n: int) -> np.ndarray:
    odd = (rng.uniform(size=n) < 0.03) * rng.uniform(5.0, 30.0, n)
    return rng.standard_normal(n) - odd


def _swing_weekly(rng: np.random.RandomState, n: int) -> np.ndarray:
    return 0.7 * rng.standard_normal(n) + np.sin(2.0 * np.pi * (np.arange(n) + rng.randint(7)) / 7)


SERIES: Dict[str, Draw] = {
    "independent": draw_normal,
    "AR(1) 0.3": lambda rng, n: generate_noise(rng, n, 0.3, 1.0),
    "AR(1) 0.6": lambda rng, n: generate_noise(rng, n, 0.6, 1.0),
    "heavy tails": draw_student,
    "odd nights, 3 % of them, 5 to 30 % slow": _add_odd_nights,
    "noise that doubles": _change_spread,
    "weekly swing": _swing_weekly,
}
"""Noise of nights, variance about 1, where nothing ever changes."""
