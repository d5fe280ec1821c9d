"""Telemetry beside a run: which sampler it gets, and what of it goes into the result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.devices.base import Allocation
from bench.errors import DataError
from bench.measure.windows import IN_WINDOW
from bench.results.model import RankRecord
from bench.spec import RunSpec
from bench.telemetry.join import Annotation, Span, build_spans, join
from bench.telemetry.model import SourceState
from bench.telemetry.sampler import TelemetrySampler, open_sampler
from bench.telemetry.store import FILE_NAME, read_telemetry
from bench.telemetry.summary import summarise

MOST_SAMPLES = 20_000
"""More than five hours; of a longer run not every sample is read back."""

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
        stored = read_telemetry(run_dir, MOST_SAMPLES)
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


def join_telemetry(
    run_dir: Path, telemetry: Mapping[str, Any], ranks: Sequence[RankRecord]
) -> Tuple[Tuple[RankRecord, ...], Dict[str, Any]]:
    """Marks on the intervals of the ranks, and beside the figures of the whole run, as ``window``,
    those of the measured window; see :func:`annotate_ranks`.

    Args:
        run_dir: folder of the run.
        telemetry: as :func:`describe_telemetry` gives it.
        ranks: as measured.
    """
    devices = {
        figures["rank"]: int(device)
        for device, figures in telemetry.get("cards", {}).items()
        if figures["rank"] is not None
    }
    annotated, window = annotate_ranks(run_dir, ranks, devices)
    return annotated, {**telemetry, "window": window}


def annotate_ranks(
    run_dir: Path, ranks: Sequence[RankRecord], devices: Mapping[int, int]
) -> Tuple[Tuple[RankRecord, ...], Optional[Dict[str, Any]]]:
    """Joins telemetry to the intervals of the ranks of this host.

    Args:
        run_dir: folder of the run.
        ranks: as measured, their intervals with ``wall_seconds``.
        devices: rank → physical device, of the ranks whose cards this telemetry tells of.

    Returns:
        The ranks, each with a column ``marks`` of texts beside its intervals (see
        :data:`bench.telemetry.join.MARKS`; empty for none, None where nothing is known), and the
        figures of :func:`bench.telemetry.summary.summarise` over the measured window. Unchanged and
        None where there is no telemetry or the logs tell no time.
    """
    try:
        samples = read_telemetry(run_dir, MOST_SAMPLES).samples
    except DataError:
        return tuple(ranks), None
    if not samples:
        return tuple(ranks), None
    near = samples[0].wall_seconds
    spans: List[Optional[Span]] = []
    measured: List[Span] = []
    for record in ranks:
        mine = _list_spans(record, near, devices.get(record.rank))
        spans += mine
        reasons = record.intervals.get("reason", [])
        measured += [
            span for span, reason in zip(mine, reasons) if span is not None and reason in IN_WINDOW
        ]
    known = [span for span in spans if span is not None]
    notes = dict(zip((id(span) for span in known), join(samples, known)))
    annotated: List[RankRecord] = []
    position = 0
    for record in ranks:
        count = len(record.intervals.get("end_step", []))
        mine = spans[position : position + count]
        position += count
        marks = [_render_marks(notes.get(id(span))) for span in mine]
        annotated.append(replace(record, intervals={**record.intervals, "marks": marks}))
    if not measured:
        return tuple(annotated), None
    window = summarise(
        samples,
        min(span.start_seconds for span in measured),
        max(span.end_seconds for span in measured),
        {device: rank for rank, device in devices.items()},
    )
    return tuple(annotated), window


def _list_spans(
    record: RankRecord, near_unix_seconds: float, device: Optional[int]
) -> List[Optional[Span]]:
    ends = record.intervals.get("wall_seconds", [])
    lengths = record.intervals.get("seconds", [])
    count = len(record.intervals.get("end_step", []))
    if device is None or len(ends) != count or len(lengths) != count:
        return [None] * count
    return build_spans(zip(ends, lengths), near_unix_seconds, device)


def _render_marks(note: Optional[Annotation]) -> Optional[str]:
    return None if note is None or not note.n_samples else ", ".join(note.marks)


def get_foreign_processes(telemetry: Mapping[str, Any]) -> Tuple[Optional[List[str]], str]:
    """Processes of others on the run's cards, and why they are None.

    Args:
        telemetry: as :func:`describe_telemetry` gives it.
    """
    if telemetry.get("simulated"):
        return None, NO_DRIVER
    reason = telemetry.get("reason") or telemetry.get("reasons", {}).get("npu_smi") or NO_DRIVER
    return telemetry.get("foreign_processes"), str(reason)
