"""Runs whose logs are parsed: each by its seed, with its true rate, or none at all."""

from __future__ import annotations

from functools import partial
from typing import Mapping

from tests.simulation.parsing_logs import Build, Shape, simulate_run, write_run

_DAMAGE = {"torn_share": 0.02, "glued_share": 0.05, "lost_share": 0.02}

STEADY: Mapping[str, Build] = {
    "clean": simulate_run,
    "1 step per loop": partial(simulate_run, loop=1, steps=300),
    "100 steps per loop": partial(simulate_run, loop=100, steps=20_000),
    "fast steps, 1 per loop": partial(simulate_run, loop=1, steps=500, steps_per_second=95.0),
    "slow start": partial(simulate_run, slow_start_steps=250, slow_start_ratio=0.3),
    "ramp": partial(simulate_run, ramp_steps=300),
    "change of level": partial(simulate_run, shift_step=500, shift_ratio=-0.1),
    "checkpoints": partial(simulate_run, save=200, checkpoint_seconds=8.0),
    "checkpoints, not logged": partial(
        simulate_run,
        save=200,
        checkpoint_seconds=8.0,
        checkpoint_logged=False,
        interruptions_count=True,
    ),
    "evaluations": partial(write_run, evaluation_every=40),
    "overflows at the start": partial(
        simulate_run, loss_scale_start=2.0**32, loss_scale_limit=65536.0
    ),
    "overflows throughout": partial(simulate_run, overflow_share=0.004),
    "overflows, 1 step per loop": partial(simulate_run, loop=1, steps=500, overflow_share=0.02),
    "two modes": partial(simulate_run, bimodal_ratio=0.1, bimodal_dwell=2.0, steps=4000),
    "outliers": partial(simulate_run, outlier_share=0.02),
    "noise with memory": partial(simulate_run, noise_ratio=0.01, noise_correlation=0.6, steps=4000),
    "one slow rank, not in step": partial(
        simulate_run, lockstep=False, straggler_rank=1, noise_ratio=0.005
    ),
    "late reports": partial(simulate_run, jitter_seconds=0.05),
    "two handlers": partial(simulate_run, two_handlers=True),
    "torn lines": partial(simulate_run, torn_share=0.05),
    "glued lines": partial(simulate_run, glued_share=0.3),
    "lost lines": partial(simulate_run, lost_share=0.05),
    "two handlers, damaged": partial(simulate_run, two_handlers=True, **_DAMAGE),
    "one log of 8 ranks": partial(
        simulate_run, merged=True, cards=8, jitter_seconds=0.02, steps=1000
    ),
    "one log of 8 ranks, damaged": partial(
        simulate_run, merged=True, cards=8, jitter_seconds=0.02, steps=1000, **_DAMAGE
    ),
    "resumed": partial(write_run, restart=(96, 80)),
    "loss lines first": partial(write_run, shape=Shape(loss_first=True)),
    "one loss, no time stamps": partial(write_run, shape=Shape(one_loss=True, has_stamps=False)),
    "step rates only": partial(write_run, shape=Shape(loss_every=0)),
    "loss lines only": partial(write_run, shape=Shape(rate_every=0)),
    "a loss line each 2nd rate": partial(write_run, shape=Shape(loss_every=2)),
    "a rate each 5th loss line": partial(write_run, shape=Shape(rate_every=5)),
    "noisy, a loss line each 2nd rate": partial(write_run, noise=0.05, shape=Shape(loss_every=2)),
    "noisy, a rate each 5th loss line": partial(write_run, noise=0.05, shape=Shape(rate_every=5)),
}
"""Runs with a steady part."""

NEVER_STEADY: Mapping[str, Build] = {
    "drift": partial(simulate_run, drift_ratio=0.2),
    "ramp without end": partial(simulate_run, ramp_steps=4000),
    "too short": partial(simulate_run, steps=100),
}
"""Runs of which no steady rate must be told."""
