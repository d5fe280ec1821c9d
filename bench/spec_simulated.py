"""Settings of the simulated backend: what its cards do, and how their logs are damaged.

Ratios are relative to the step time of n cards,
``(1 / steps_per_second) · (1 + parallel_cost_ratio · log2 n)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from bench.settings import setting


@dataclass(frozen=True)
class SimulatedSpec:
    """How the simulated backend behaves. Rates are true rates: what a perfect reader finds."""

    steps_per_second: float = setting(
        2.451, "float", "true step rate of one card alone", minimum=1e-6
    )
    parallel_cost_ratio: float = setting(
        0.02, "float", "extra step time for each doubling of the cards", minimum=0.0
    )
    noise_ratio: float = setting(
        0.002, "float", "standard deviation of an interval's time over its mean", minimum=0.0
    )
    noise_correlation: float = setting(
        0.0, "float", "correlation of one interval's noise with the next", minimum=0.0, maximum=0.99
    )
    compile_seconds: float = setting(
        30.0, "float", "simulated time of the first, graph-building interval", minimum=0.0
    )
    ramp_steps: int = setting(
        0, "int", "steps over which the extra time of the ramp falls to none", minimum=0
    )
    ramp_ratio: float = setting(0.5, "float", "extra step time at the ramp's start", minimum=0.0)
    slow_start_steps: int = setting(0, "int", "steps before the full rate is reached", minimum=0)
    slow_start_ratio: float = setting(0.2, "float", "extra step time in them", minimum=0.0)
    shift_step: int = setting(0, "int", "step at which the step time changes; 0 never", minimum=0)
    shift_ratio: float = setting(
        0.1, "float", "by how much it changes for the rest of the run", minimum=-0.9
    )
    drift_ratio: float = setting(
        0.0, "float", "change of the step time from the first to the last step", minimum=-0.9
    )
    bimodal_ratio: float = setting(
        0.0, "float", "extra step time in the slow one of two modes; 0 for one mode", minimum=0.0
    )
    bimodal_dwell: float = setting(
        3.0, "float", "mean number of intervals spent in a mode", minimum=1.0
    )
    outlier_share: float = setting(
        0.0, "float", "share of intervals that take far longer", minimum=0.0, maximum=1.0
    )
    outlier_ratio: float = setting(
        0.3, "float", "least extra time of them; the tail is heavy", minimum=0.0
    )
    checkpoint_seconds: float = setting(
        0.0, "float", "time to save, each save_checkpoints_steps", minimum=0.0
    )
    checkpoint_logged: bool = setting(True, "bool", "the log tells of each checkpoint")
    lockstep: bool = setting(True, "bool", "all ranks wait for each other in each interval")
    straggler_rank: Optional[int] = setting(None, "int", "rank that is slower", minimum=0)
    straggler_ratio: float = setting(0.1, "float", "its extra step time", minimum=0.0)
    jitter_seconds: float = setting(
        0.0, "float", "standard deviation of when a rank reports an interval's end", minimum=0.0
    )
    loss_scale_start: float = setting(65536.0, "float", "loss scale at step 0", minimum=1.0)
    loss_scale_limit: Optional[float] = setting(
        None, "float", "loss scale above which every step overflows", minimum=1.0
    )
    overflow_share: float = setting(
        0.0, "float", "share of steps that overflow at any loss scale", minimum=0.0, maximum=0.9
    )
    two_handlers: bool = setting(
        False, "bool", "each message is logged twice, as TensorFlow may do"
    )
    torn_share: float = setting(
        0.0, "float", "share of lines that lose their end", minimum=0.0, maximum=1.0
    )
    glued_share: float = setting(
        0.0, "float", "share of lines that lose only the line end", minimum=0.0, maximum=1.0
    )
    lost_share: float = setting(
        0.0, "float", "share of lines that are lost", minimum=0.0, maximum=1.0
    )
    speed: float = setting(
        0.0, "float", "simulated seconds per real second; 0 writes as fast as it can", minimum=0.0
    )
    start_loss: float = setting(10.4, "float", "masked-LM loss at step 0, nats", minimum=0.0)
    final_loss: float = setting(
        1.5, "float", "masked-LM loss that the curve tends to, nats", minimum=0.0
    )
    ranks_per_process: Optional[int] = setting(
        None, "int", "ranks that share a process; enough for 16 processes if absent", minimum=1
    )
    launch: int = setting(
        1, "int", "which of several launches it is; each draws noise of its own", minimum=1
    )
    launch_noise_ratio: float = setting(
        0.0, "float", "standard deviation of the step time from launch to launch", minimum=0.0
    )
    fail_rank: Optional[int] = setting(None, "int", "rank that exits with an error", minimum=0)
    fail_step: int = setting(0, "int", "step at which that rank fails", minimum=0)
