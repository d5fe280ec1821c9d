"""How others take a rate from such logs, as formulas over what ``grep`` and ``awk`` would find.

Written from the descriptions of those tools, on a reader of its own: nothing of ``bench`` is used.
Each gives the steps per second of the job, or None where it finds nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Callable, List, Mapping, Optional, Sequence

import numpy as np

_RATE = re.compile(rb"global_step/sec: +([-+]?[\d.]*(?:e[-+]?\d+)?)")
_LOSS = re.compile(rb"(?:global_step|step) = (\d+).*?\((\d+\.\d+) sec\)")
_LOSS_STEP = re.compile(rb"(?:global_step|step) = (\d+)")
_STAMP = re.compile(rb"[IWEF](\d{4} \d\d:\d\d:\d\d\.\d{6}) ")


@dataclass(frozen=True)
class Lines:
    """What a search by pattern finds in the log of one device.

    Attributes:
        rates: numbers behind ``global_step/sec:``, in order.
        steps: the global step of each line with a time in brackets.
        seconds: that time.
        all_steps: every global step in order.
        stamps: every time stamp in order, in seconds.
    """

    rates: Sequence[float]
    steps: Sequence[int]
    seconds: Sequence[float]
    all_steps: Sequence[int]
    stamps: Sequence[float]


def read_lines(data: bytes) -> Lines:
    """Searches a log line by line, as ``grep`` does."""
    rates: List[float] = []
    steps: List[int] = []
    seconds: List[float] = []
    all_steps: List[int] = []
    stamps: List[float] = []
    for line in data.split(b"\n"):
        rate = _RATE.search(line)
        if rate:
            rates.append(_parse_as_awk(rate.group(1)))
        loss = _LOSS.search(line)
        if loss:
            steps.append(int(loss.group(1)))
            seconds.append(float(loss.group(2)))
        step = _LOSS_STEP.search(line)
        if step:
            all_steps.append(int(step.group(1)))
        stamp = _STAMP.search(line)
        if stamp:
            when = datetime.strptime("2026" + stamp.group(1).decode(), "%Y%m%d %H:%M:%S.%f")
            stamps.append((when - datetime(2026, 1, 1)).total_seconds())
    return Lines(rates, steps, seconds, all_steps, stamps)


def _parse_as_awk(text: bytes) -> float:
    """The longest number at the start, 0 for none."""
    match = re.match(rb"[-+]?\d*\.?\d*(?:e[-+]?\d+)?", text)
    try:
        return float(match.group()) if match else 0.0
    except ValueError:
        return 0.0


Formula = Callable[[Sequence[Lines]], Optional[float]]


def compute_mean_of_last_device(logs: Sequence[Lines]) -> Optional[float]:
    """The document's 8-card script: mean of all rates of the last device's log."""
    return _mean(logs[-1].rates)


def compute_last_interval(logs: Sequence[Lines]) -> Optional[float]:
    """The BertNV scripts: the last rate of the last device's log."""
    return logs[-1].rates[-1] if logs[-1].rates else None


def compute_mean_of_all(logs: Sequence[Lines]) -> Optional[float]:
    """Mean of every rate of every rank."""
    return _mean([rate for log in logs for rate in log.rates])


def compute_mean_of_means(logs: Sequence[Lines]) -> Optional[float]:
    """Mean over the ranks of the mean of their rates, as optimum-benchmark puts ranks together."""
    means = [_mean(log.rates) for log in logs]
    return _mean([mean for mean in means if mean is not None])


def compute_harmonic_mean(logs: Sequence[Lines]) -> Optional[float]:
    """Harmonic mean of every rate of every rank."""
    rates = [rate for log in logs for rate in log.rates if rate > 0.0]
    return len(rates) / float(np.sum(1.0 / np.array(rates))) if rates else None


def compute_median(logs: Sequence[Lines]) -> Optional[float]:
    """Median of every rate, the estimator of asv."""
    rates = [rate for log in logs for rate in log.rates]
    return float(np.median(rates)) if rates else None


def compute_mean_after_64(logs: Sequence[Lines]) -> Optional[float]:
    """SuperBench: 64 steps are left out, then the mean of the rates."""
    return _mean([rate for log in logs for rate in _drop_first(log, log.rates, 64)])


def compute_latency_after_40(logs: Sequence[Lines]) -> Optional[float]:
    """optimum-benchmark: 40 steps are left out, then 1 over the mean step time."""
    times = [1.0 / r for log in logs for r in _drop_first(log, log.rates, 40) if r > 0.0]
    return len(times) / float(np.sum(times)) if times else None


def compute_loss_seconds(logs: Sequence[Lines]) -> Optional[float]:
    """Steps by the loss lines ÷ their seconds, from the first line with seconds on."""
    steps = seconds = 0.0
    for log in logs:
        if len(log.all_steps) > 1 and log.seconds:
            steps += log.all_steps[-1] - log.all_steps[0]
            seconds += float(np.sum(log.seconds))
    return steps / seconds if seconds else None


def compute_whole_run(logs: Sequence[Lines]) -> Optional[float]:
    """The last step ÷ the time from the first line of the log to the last."""
    rates = [
        log.all_steps[-1] / (log.stamps[-1] - log.stamps[0])
        for log in logs
        if log.all_steps and len(log.stamps) > 1 and log.stamps[-1] > log.stamps[0]
    ]
    return _mean(rates)


FORMULAS: Mapping[str, Formula] = {
    "mean of the last device's rates (the document's 8-card script)": compute_mean_of_last_device,
    "last rate of the last device (BertNV scripts)": compute_last_interval,
    "mean of all rates": compute_mean_of_all,
    "mean of each rank's mean": compute_mean_of_means,
    "harmonic mean of all rates": compute_harmonic_mean,
    "median of all rates (as asv)": compute_median,
    "mean of rates after 64 steps (as SuperBench)": compute_mean_after_64,
    "1 / mean step time after 40 steps (as optimum-benchmark)": compute_latency_after_40,
    "steps / seconds of all loss lines": compute_loss_seconds,
    "last step / time of the whole log": compute_whole_run,
}


def _drop_first(log: Lines, rates: Sequence[float], n_steps: int) -> Sequence[float]:
    """Leaves out the rates of the first so many steps, by the usual gap between loss lines."""
    gaps = np.diff(log.all_steps) if len(log.all_steps) > 1 else np.array([])
    gaps = gaps[gaps > 0]
    usual = int(np.median(gaps)) if len(gaps) else 10
    # The loop before the first rate is not reported.
    return rates[max(0, -(-n_steps // usual) - 1) :]


def _mean(values: Sequence[float]) -> Optional[float]:
    return float(np.mean(values)) if len(values) else None
