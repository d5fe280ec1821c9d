"""The ``${CaseName}.log`` of the ModelZoo test scripts: its keys, and what its numbers are worth.

The scripts end with a file of ``key = value`` lines. Its keys are a contract with tools that gather
them, so results can be written and read in that form; what the scripts put into it has known
errors, which are listed wherever such a file is written or read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

from bench.errors import DataError

KEYS = (
    "Network",
    "RankSize",
    "BatchSize",
    "DeviceType",
    "CaseName",
    "ActualFPS",
    "TrainingTime",
    "ActualLoss",
    "E2ETrainingTime",
)

ESTIMATE = "mean of printed rates of one device, times the devices"

OUR_MARK = "Written by ascend-bert"
OUR_ESTIMATE = "exported by ascend-bert"
SIMULATED_MARK = "SIMULATED"

KNOWN_ERRORS = (
    "ActualFPS is the arithmetic mean of the rates that one device printed, warm-up and checkpoint "
    "intervals included, times the batch and the number of devices; sequences, called images.",
    "TrainingTime is milliseconds per step in the scripts of ID0060 and seconds in BertNV's.",
    "DeviceType is the processor architecture of the host.",
    "ActualLoss is the last loss of one device, never checked to be finite.",
    "A lost rank, an overflow or a failed run leaves no mark; the exit status is always 0.",
)
"""What is wrong with a file that the scripts themselves wrote."""

_LINE = re.compile(r"^\s*(\w+)\s*=\s*(.*?)\s*$")
_CASE = re.compile(r"(?P<network>.+)_bs(?P<batch>\d+)_(?P<ranks>\d+)p(?:_(?P<kind>perf|acc))?$")
_AGREEMENT_RATIO = 0.02


@dataclass(frozen=True)
class CaseLog:
    """A summary file; None where it does not say, or says what is no number.

    Attributes:
        network: name of the network.
        ranks: devices of the run.
        batch_size: sequences per device and step.
        device_type: architecture of the host.
        case_name: name of the case.
        sequences_per_second: ``ActualFPS``.
        step_seconds: from ``TrainingTime``, in whichever of its two units agrees with the rate.
        loss: ``ActualLoss``.
        duration_seconds: ``E2ETrainingTime``.
        problems: what contradicts itself or cannot be read.
        is_ours: the harness wrote the file, so the errors of the scripts are not in it.
        simulated: the file says that no device was measured.
    """

    network: Optional[str] = None
    ranks: Optional[int] = None
    batch_size: Optional[int] = None
    device_type: Optional[str] = None
    case_name: Optional[str] = None
    sequences_per_second: Optional[float] = None
    step_seconds: Optional[float] = None
    loss: Optional[float] = None
    duration_seconds: Optional[float] = None
    problems: Tuple[str, ...] = ()
    is_ours: bool = False
    simulated: bool = False


def is_case_log(text: str) -> bool:
    """Whether a text is a summary file: it has the keys of the rate and of the case."""
    keys = _parse_entries(text)
    return "ActualFPS" in keys and ("CaseName" in keys or "RankSize" in keys)


def parse_case_log(text: str, source: str) -> CaseLog:
    """Reads a summary file.

    Raises:
        DataError: it has no rate key.
    """
    entries = _parse_entries(text)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    if "ActualFPS" not in entries:
        raise DataError(f"{source} is no ModelZoo summary: it has no line 'ActualFPS = ...'")
    problems: List[str] = []
    case = _CASE.match(entries.get("CaseName", ""))

    def number(key: str) -> Optional[float]:
        word = entries.get(key)
        if word is None:
            return None
        try:
            return float(word)
        except ValueError:
            problems.append(f"{key} is no number: {word!r}")
            return None

    def count(key: str, group: str) -> Optional[int]:
        value = number(key)
        named = None if case is None else int(case.group(group))
        if value is None or value != int(value) or value < 1:
            return named
        if named is not None and named != int(value):
            problems.append(f"{key} is {int(value)}, but the case is named {entries['CaseName']}")
        return int(value)

    ranks, batch_size = count("RankSize", "ranks"), count("BatchSize", "batch")
    rate = number("ActualFPS")
    if rate is not None and not 0.0 < rate < float("inf"):
        problems.append(f"ActualFPS is {rate:g}: the script found no rate in the log")
        rate = None
    step_seconds = _find_step_seconds(number("TrainingTime"), rate, batch_size, ranks, problems)
    return CaseLog(
        network=entries.get("Network") or (case.group("network") if case else None),
        ranks=ranks,
        batch_size=batch_size,
        device_type=entries.get("DeviceType"),
        case_name=entries.get("CaseName"),
        sequences_per_second=rate,
        step_seconds=step_seconds,
        loss=number("ActualLoss"),
        duration_seconds=number("E2ETrainingTime"),
        problems=tuple(problems),
        is_ours=any(OUR_MARK in line for line in comments),
        simulated=any(SIMULATED_MARK in line for line in comments),
    )


def render_case_log(case: CaseLog, notes: Tuple[str, ...]) -> str:
    """Writes a summary file, every digit kept; the notes stand before it as comment lines.

    A figure that is not there gets no line: an empty value or a 0 would be taken for one.
    """
    values: Dict[str, Optional[object]] = {
        "Network": case.network,
        "RankSize": case.ranks,
        "BatchSize": case.batch_size,
        "DeviceType": case.device_type,
        "CaseName": case.case_name,
        "ActualFPS": case.sequences_per_second,
        "TrainingTime": None if case.step_seconds is None else case.step_seconds * 1000.0,
        "ActualLoss": case.loss,
        "E2ETrainingTime": case.duration_seconds,
    }
    lines = [f"# {note}" for note in notes]
    lines += [f"{key} = {value}" for key, value in values.items() if value is not None]
    return "\n".join(lines)


def _parse_entries(text: str) -> Dict[str, str]:
    entries = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and match.group(1) in KEYS:
            entries[match.group(1)] = match.group(2)
    return entries


def _find_step_seconds(
    stated: Optional[float],
    rate: Optional[float],
    batch_size: Optional[int],
    ranks: Optional[int],
    problems: List[str],
) -> Optional[float]:
    """The stated time in seconds, its unit found by the rate: global batch ÷ rate."""
    if stated is None or rate is None or batch_size is None or ranks is None:
        return None
    wanted = batch_size * ranks / rate
    for unit in (1e-3, 1.0):
        if abs(stated * unit - wanted) <= _AGREEMENT_RATIO * wanted:
            return stated * unit
    problems.append(f"TrainingTime {stated:g} agrees with ActualFPS neither in ms nor in s")
    return None
