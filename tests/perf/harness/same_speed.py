"""The trainer by itself against the trainer under the harness, launched in turns."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence, Tuple

import numpy as np

from bench.launch.plan import RANK_VARIABLES
from bench.measure.bootstrap import LEVEL, N_RESAMPLES
from bench.measure.power import ALPHA, POWER, compute_detectable_effect
from bench.measure.scaling import bound_ratio
from bench.measure.summary import Sizes
from bench.results.from_logs import measure_logs

ROOT = Path(__file__).resolve().parents[3]
ALONE, UNDER = "alone", "under the harness"


@dataclass(frozen=True)
class Comparison:
    """Rates of both ways.

    Attributes:
        alone: steps per second of each launch without a harness.
        under: the same under it.
        loads: mean number of tasks that wanted a core, after each launch.
    """

    alone: Sequence[float]
    under: Sequence[float]
    loads: Sequence[float]

    @property
    def ratio(self) -> float:
        """Rate under the harness ÷ rate alone, of means."""
        return float(np.mean(self.under) / np.mean(self.alone))

    @property
    def limits(self) -> Tuple[float, float]:
        """95 % interval of the ratio."""
        rng = np.random.RandomState(0)
        return bound_ratio(np.array(self.under), np.array(self.alone), LEVEL, rng, N_RESAMPLES)

    @property
    def launch_sd_ratio(self) -> float:
        """Standard deviation of launches of one way, of both together."""
        spreads = [np.var(np.log(rates), ddof=1) for rates in (self.alone, self.under)]
        return math.sqrt(0.5 * float(sum(spreads)))

    @property
    def detectable_ratio(self) -> float:
        """Loss of rate that so many launches would find."""
        n_a, n_b = len(self.alone), len(self.under)
        return compute_detectable_effect(
            self.launch_sd_ratio, n_a, n_b, ALPHA, POWER, sd_degrees=n_a + n_b - 2.0
        )


def compare(folder: Path, pairs: int, steps: int) -> Comparison:
    """Launches in the order alone, under, under, alone, and so on.

    Args:
        folder: for logs and checkpoints.
        pairs: launches of each way.
        steps: of each launch.
    """
    first = run_under_harness(folder / "0", steps)
    rates: Dict[str, List[float]] = {ALONE: [], UNDER: []}
    loads: List[float] = []
    for number in range(pairs):
        order = (ALONE, UNDER) if number % 2 == 0 else (UNDER, ALONE)
        for way in order:
            place = folder / f"{number}-{way.split()[0]}"
            if way == UNDER:
                logs = run_under_harness(place, steps) / "logs"
            else:
                logs = run_alone(first, place)
            rates[way].append(_read_rate(logs))
            loads.append(os.getloadavg()[0])
            print(f"{way}: {rates[way][-1]:.4g} steps/s, load {loads[-1]:.1f}", file=sys.stderr)
    return Comparison(rates[ALONE], rates[UNDER], loads)


def run_under_harness(output: Path, steps: int) -> Path:
    """A run with ``ascend-bert bench``; returns its folder."""
    command = [sys.executable, "-m", "bench", "bench", "--backend", "cpu", "--model", "bert-tiny"]
    command += ["--cards", "1", "--steps", str(steps), "--batch-size", "16"]
    command += ["--set", "cores_per_card=1", "--set", "save_checkpoints_steps=0"]
    command += ["--set", "warmup_steps=10", "--output", str(output), "--quiet"]
    done = subprocess.run(command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    runs = list(output.glob("runs/*"))
    if done.returncode not in (0, 3) or len(runs) != 1:
        raise RuntimeError(done.stdout.decode("utf-8", "replace")[-1000:])
    return runs[0]


def run_alone(like: Path, folder: Path) -> Path:
    """The trainer of a run once more, with nothing beside it; returns the folder of its log.

    Args:
        like: folder of a run under the harness: its command line, cores and environment are taken.
        folder: for the log and the trainer's output.
    """
    result: Mapping[str, Any] = json.loads((like / "result.json").read_text(encoding="utf-8"))
    found = result["found"]
    logs = folder / "logs"
    logs.mkdir(parents=True)
    argv = [word.replace(str(like), str(folder)) for word in found["trainer_argv"]]
    (place,) = found["placements"]
    inherited = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    identity = {"RANK_ID": "0", "RANK_SIZE": "1", "RANK_INDEX": "0", "JOB_ID": "alone"}
    identity.update({"DEVICE_ID": str(place["device"]), "DEVICE_INDEX": "0"})
    before = os.sched_getaffinity(0)
    with (logs / "train_0.log").open("wb") as log:
        # A process inherits the cores of the one that starts it.
        os.sched_setaffinity(0, place["cores"] or before)
        try:
            process = subprocess.Popen(
                argv,
                cwd=str(ROOT),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**inherited, **identity, "PYTHONUNBUFFERED": "1"},
            )
        finally:
            os.sched_setaffinity(0, before)
        if process.wait(timeout=900.0) != 0:
            raise RuntimeError(f"the trainer failed, see {logs}")
    return logs


def _read_rate(logs: Path) -> float:
    value = measure_logs([logs], Sizes()).summary["steps_per_second"].value
    if value is None:
        raise RuntimeError(f"no rate in {logs}")
    return value


def render_comparison(comparison: Comparison) -> str:
    """What came of it in words and figures."""
    low, high = comparison.limits
    spread = comparison.launch_sd_ratio
    lines = [
        f"{ALONE:<18} {np.mean(comparison.alone):.4g} steps/s, {len(comparison.alone)} launches",
        f"{UNDER:<18} {np.mean(comparison.under):.4g} steps/s, {len(comparison.under)} launches",
        f"ratio              {comparison.ratio:.4f}, 95 % interval {low:.4f} to {high:.4f}",
        f"launches differ by {100.0 * spread:.2f} % (standard deviation); load of the machine "
        f"{min(comparison.loads):.1f} to {max(comparison.loads):.1f}",
    ]
    effect = f"{100.0 * comparison.detectable_ratio:.1f} %"
    if not low <= 1.0 <= high:
        lines.append("a difference was found")
    else:
        lines.append(
            f"no difference; a loss of {effect} would have been found (false alarms "
            f"{ALPHA:.0%}, power {POWER:.0%})"
        )
    return "\n".join(lines)


def wait_for_quiet(limit: float, seconds: float) -> None:
    """Waits until others leave the machine alone, but no longer than so many seconds."""
    deadline = time.monotonic() + seconds
    while os.getloadavg()[0] > limit and time.monotonic() < deadline:
        time.sleep(5.0)
