"""The true figures of a simulated run, from its construction.

Shares no code with ``bench.measure``: a mistake there must not be able to hide here.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from bench.devices.simulation import Course, compute_true_step_seconds, simulate_course
from bench.spec import RunSpec

TRUTH_NAME = "truth.json"
_MANY_DWELLS = 10.0


def build_truth(spec: RunSpec, iterations_per_loop: int, skip: int = 1) -> Dict[str, Any]:
    """What a perfect reader of the logs would find.

    Args:
        spec: the run, one card count.
        iterations_per_loop: steps in a loop.
        skip: loops that do not count as steady whatever they are, at least the first.

    Returns:
        Plain values:

        - ``steps_per_second``: Σ steps ÷ Σ seconds over the steady loops of all ranks, loops with
          a checkpoint or a skipped step left out; None when there is none.
        - ``steps_per_second_of_ranks``: the same for each rank, one entry when in lockstep.
        - ``expected_steps_per_second``: what the rate tends to in a long run, outliers left out.
        - ``steps_per_second_with_interruptions``: steady loops, nothing left out.
        - ``steady``: whether there is a steady state; None where that is a matter of definition.
        - ``not_steady_reason``: why not, or why it cannot be said.
        - ``steady_first_loop``, ``steady_first_step``: where it begins (the global step there).
        - ``checkpoint_loops``, ``overflow_loops``, ``outlier_loops``, ``slow_mode_loops``: indices.
        - ``loops``, ``steps``, ``skipped_steps``, ``seconds``: of the whole run.
        - ``compile_seconds``, ``step_seconds``: as asked.
    """
    n_courses = 1 if spec.simulated.lockstep else spec.n_cards
    courses = [simulate_course(spec, rank, iterations_per_loop) for rank in range(n_courses)]
    first = max(skip, find_first_steady_loop(spec, courses[0]))
    steady, reason = judge_steadiness(spec, courses[0], first)
    clean = [_select(course, first) for course in courses]
    whole = [np.arange(len(course)) >= first for course in courses]
    course = courses[0]
    rate = _rate(courses, clean)
    return {
        "steps_per_second": rate,
        "sequences_per_second": None if rate is None else rate * spec.global_batch_size,
        "steps_per_second_of_ranks": [_rate([c], [mask]) for c, mask in zip(courses, clean)],
        "expected_steps_per_second": _compute_expected_rate(spec),
        "steps_per_second_with_interruptions": _rate(courses, whole),
        "steady": steady,
        "not_steady_reason": reason,
        "steady_first_loop": first,
        "steady_first_step": int(course.end_step[first - 1]) if first else 0,
        "checkpoint_loops": np.flatnonzero(course.checkpoint).tolist(),
        "overflow_loops": np.flatnonzero(course.skipped).tolist(),
        "outlier_loops": np.flatnonzero(course.outlier).tolist(),
        "slow_mode_loops": np.flatnonzero(course.slow_mode).tolist(),
        "loops": len(course),
        "steps": int(course.steps.sum()),
        "skipped_steps": int(course.skipped.sum()),
        "seconds": max(float(c.seconds.sum()) for c in courses),
        "compile_seconds": spec.simulated.compile_seconds,
        "step_seconds": compute_true_step_seconds(spec),
    }


def compute_true_rate(spec: RunSpec, iterations_per_loop: int, skip: int = 1) -> float:
    """Steps per second over the steady loops: what a perfect reader finds.

    Args:
        spec: the run, one card count.
        iterations_per_loop: steps in a loop.
        skip: loops left out at the start.

    Raises:
        ValueError: no loop is left.
    """
    rate = build_truth(spec, iterations_per_loop, skip)["steps_per_second"]
    if rate is None:
        raise ValueError("no loop is steady")
    return float(rate)


def find_first_steady_loop(spec: RunSpec, course: Course) -> int:
    """Index of the first loop after compilation, slow start, ramp and shift."""
    settings = spec.simulated
    last_change = max(settings.slow_start_steps, settings.ramp_steps, settings.shift_step)
    begin = course.end_step - course.steps
    return max(1, int(np.searchsorted(begin, last_change, side="left")))


def judge_steadiness(
    spec: RunSpec, course: Course, first: int
) -> Tuple[Optional[bool], Optional[str]]:
    """Whether the loops from ``first`` on are a stationary series, and why not."""
    settings = spec.simulated
    left = len(course) - first
    if left <= 0:
        return False, "the run ends before its full rate"
    if settings.drift_ratio != 0.0:
        return False, "the step time drifts to the end"
    if settings.bimodal_ratio and settings.bimodal_dwell * _MANY_DWELLS > left:
        return None, "the modes change too seldom in so short a run"
    return True, None


def _select(course: Course, first: int) -> np.ndarray:
    return (np.arange(len(course)) >= first) & ~course.checkpoint & (course.skipped == 0)


def _rate(courses: List[Course], masks: List[np.ndarray]) -> Optional[float]:
    steps = sum(int(course.steps[mask].sum()) for course, mask in zip(courses, masks))
    seconds = sum(float(course.seconds[mask].sum()) for course, mask in zip(courses, masks))
    return steps / seconds if steps else None


def _compute_expected_rate(spec: RunSpec) -> Optional[float]:
    """Mean rate by the model: no drift is stationary, the two modes are equally likely."""
    settings = spec.simulated
    if settings.drift_ratio != 0.0:
        return None
    excess = settings.bimodal_ratio / 2.0
    if settings.shift_step:
        excess += settings.shift_ratio
    straggler = settings.straggler_rank
    if straggler is not None and straggler < spec.n_cards:
        share = 1.0 if settings.lockstep else 1.0 / spec.n_cards
        excess += settings.straggler_ratio * share
    return 1.0 / (compute_true_step_seconds(spec) * (1.0 + excess))
