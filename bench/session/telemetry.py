"""Telemetry beside a run: which sampler it gets, and what of it goes into the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from bench.devices.base import Allocation
from bench.errors import DataError
from bench.spec import RunSpec
from bench.telemetry.model import SourceState
from bench.telemetry.sampler import TelemetrySampler, open_sampler
from bench.telemetry.store import FILE_NAME, read_telemetry
from bench.telemetry.summary import summarise

NO_DRIVER = "only an NPU driver tells which processes use a card"


def build_sampler(
    run_dir: Path,
    spec: RunSpec,
    backend: str,
    allocation: Allocation,
    process_ids: Mapping[int, int],
) -> TelemetrySampler:
    """The sampler of a run; it starts with ``with``.

    Args:
        run_dir: folder of the run.
        spec: the run.
        backend: name of its backend.
        allocation: its devices.
        process_ids: rank → process id, of the ranks with a process on this host.
    """
    devices = {place.rank: place.device for place in allocation.placements}
    return open_sampler(run_dir, spec, backend, devices, process_ids)


def describe_telemetry(run_dir: Path, ranks_of_devices: Mapping[int, int]) -> Dict[str, Any]:
    """What the result says of telemetry: figures of the whole run, and how the sampling went.

    Args:
        run_dir: folder of the run.
        ranks_of_devices: physical device → rank.

    Returns:
        ``file``, ``simulated``, ``interval_seconds``, ``samples``, ``missed``, ``cost_seconds``
        (processor time) and what :func:`bench.telemetry.summary.summarise` gives; only ``reason``
        when there is no telemetry.
    """
    try:
        stored = read_telemetry(run_dir)
    except DataError as error:
        return {"reason": str(error)}
    end = stored.end or {}
    sources = {
        name: SourceState(name, reason=state.get("reason"))
        for name, state in dict(end.get("sources", {})).items()
    }
    figures = summarise(stored.samples, ranks_of_devices=ranks_of_devices, sources=sources)
    return {
        "file": FILE_NAME,
        "simulated": stored.simulated,
        "interval_seconds": stored.interval_seconds,
        "missed": end.get("missed"),
        "cost_seconds": end.get("cost_seconds"),
        **figures,
    }


def get_foreign_processes(telemetry: Mapping[str, Any]) -> Tuple[Optional[List[str]], str]:
    """Processes of others on the run's cards, and why they are None.

    Args:
        telemetry: as :func:`describe_telemetry` gives it.
    """
    if telemetry.get("simulated"):
        return None, NO_DRIVER
    reason = telemetry.get("reason") or telemetry.get("reasons", {}).get("npu_smi") or NO_DRIVER
    return telemetry.get("foreign_processes"), str(reason)
