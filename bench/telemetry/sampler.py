"""Takes a sample of cards, host and ranks once a second, beside the run and never in its way.

Commands run in threads of their own (:mod:`bench.telemetry.polling`); the sampling thread only puts
together what they last gave, reads host and ranks by psutil, and appends a line to the run's
``telemetry.jsonl``. A sample that is late is left out and counted, never caught up. What all this
costs in processor time is measured and stored with the run.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from bench.spec import RunSpec
from bench.telemetry.host import HostReader, RankReader, find_foreign, sees_host_processes
from bench.telemetry.model import (
    SOURCES,
    CardReading,
    SourceState,
    TelemetrySample,
    TelemetrySnapshot,
)
from bench.telemetry.npu import build_npu_sources
from bench.telemetry.polling import PolledSource
from bench.telemetry.simulated import simulate_cards
from bench.telemetry.store import FILE_NAME, TelemetryWriter

SimulateCards = Callable[[float], Mapping[int, CardReading]]

_JOIN_SECONDS = 2.0
# A gap longer than this is not bridged by the last power that was read.
_LONGEST_STEP_SECONDS = 5.0


class TelemetrySampler:
    """Samples from ``with`` to its end.

    Args:
        run_dir: folder of the run, gets ``telemetry.jsonl``.
        devices: rank → physical device.
        process_ids: rank → process id, of the ranks with a process of their own.
        sources: of the cards; none on a backend without.
        simulate: in place of sources, made-up cards by the seconds since the start.
        interval_seconds: between samples.
        root: folder that stands for ``/``.
    """

    def __init__(
        self,
        run_dir: Path,
        devices: Mapping[int, int],
        process_ids: Mapping[int, int],
        sources: Sequence[PolledSource] = (),
        simulate: Optional[SimulateCards] = None,
        interval_seconds: float = 1.0,
        root: str = "/",
    ) -> None:
        self._sources = list(sources)
        self._simulate = simulate
        self._interval_seconds = interval_seconds
        self._leaders = set(process_ids.values())
        self._sees_host = sees_host_processes(root)
        self._host = HostReader(str(run_dir))
        self._ranks = RankReader(devices, process_ids)
        self._writer = TelemetryWriter(run_dir / FILE_NAME, simulate is not None, interval_seconds)
        self._started = time.monotonic()
        self._energy: Dict[int, float] = {}
        self._energy_at: Optional[float] = None
        self._own_states: Dict[str, SourceState] = {}
        self._lock = threading.Lock()
        self._snapshot = TelemetrySnapshot(simulated=simulate is not None)
        self._stop = threading.Event()
        self._thread: Optional[threading.Thread] = None

    def __enter__(self) -> TelemetrySampler:
        self._writer.open()
        for source in self._sources:
            source.start()
        self._thread = threading.Thread(target=self._run, name="telemetry", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Takes a last sample and ends; a second call does nothing."""
        if self._thread is None:
            return
        self._stop.set()
        self._thread.join(_JOIN_SECONDS)
        for source in self._sources:
            source.stop()
        # A thread that hangs in a dead file system would write behind our back; leave it the file.
        if not self._thread.is_alive():
            self._writer.close(self.latest())
        self._thread = None

    def latest(self) -> TelemetrySnapshot:
        """The last sample and how the sampling goes; safe from any thread, never waits."""
        with self._lock:
            snapshot = self._snapshot
            states = dict(self._own_states)
        states.update({source.name: source.state for source in self._sources})
        cost = snapshot.cost_seconds + sum(source.cost_seconds for source in self._sources)
        ordered = {name: states[name] for name in SOURCES if name in states}
        return replace(snapshot, sources=ordered, cost_seconds=cost)

    def _run(self) -> None:
        due = time.monotonic()
        missed = 0
        while True:
            self._sample(missed)
            due += self._interval_seconds
            late = time.monotonic() - due
            if late > 0.0:
                skipped = int(late / self._interval_seconds) + 1
                missed += skipped
                due += skipped * self._interval_seconds
            if self._stop.wait(max(0.0, due - time.monotonic())):
                break
        self._sample(missed)

    def _sample(self, missed: int) -> None:
        cost = time.thread_time()
        now, wall = time.monotonic(), time.time()
        ages: Dict[str, float] = {}
        cards = self._read_cards(now, ages)
        host = self._time("host", self._host.read)
        ranks = self._time("ranks", self._ranks.read)
        ages.update({"host": 0.0, "ranks": 0.0})
        sample = TelemetrySample(now, wall, cards, host, ranks or {}, ages)
        self._writer.write(sample)
        with self._lock:
            before = self._snapshot
            self._snapshot = replace(
                before,
                sample=sample,
                samples=before.samples + 1,
                missed=missed,
                cost_seconds=before.cost_seconds + time.thread_time() - cost,
            )

    def _time(self, name: str, read: Callable[[], Any]) -> Any:
        """Reads one of our own sources and notes how that went."""
        start = time.monotonic()
        value, reason = None, None
        try:
            value = read()
        except Exception as error:  # a strange system must cost this value, not the sampling
            reason = f"{type(error).__name__}: {error}"[:200]
        with self._lock:
            old = self._own_states.get(name, SourceState(name))
            self._own_states[name] = replace(
                old,
                success=reason is None,
                reason=reason,
                duration_seconds=time.monotonic() - start,
                last_success_seconds=time.time() if reason is None else old.last_success_seconds,
                collections=old.collections + 1,
                failures=old.failures + (reason is not None),
            )
        return value

    def _read_cards(self, now: float, ages: Dict[str, float]) -> Dict[int, CardReading]:
        if self._simulate is not None:
            cards = dict(self._simulate(now - self._started))
        else:
            cards = self._gather_cards(ages)
        return self._add_energy(cards, now)

    def _gather_cards(self, ages: Dict[str, float]) -> Dict[int, CardReading]:
        found: Dict[int, Dict[str, Any]] = {}
        for source in self._sources:
            values, age = source.get_values()
            if age is not None:
                ages[source.name] = age
            for device, known in values.items():
                found.setdefault(device, {}).update(known)
        cards: Dict[int, CardReading] = {}
        for device, known in sorted(found.items()):
            process_ids = known.get("process_ids")
            if process_ids is not None:
                known["foreign_process_ids"] = find_foreign(
                    process_ids, self._leaders, self._sees_host
                )
            cards[device] = CardReading(device=device, **known)
        return cards

    def _add_energy(self, cards: Dict[int, CardReading], now: float) -> Dict[int, CardReading]:
        step = 0.0 if self._energy_at is None else now - self._energy_at
        self._energy_at = now
        if step > _LONGEST_STEP_SECONDS:
            step = 0.0
        for device, card in cards.items():
            if card.power_watts is not None:
                self._energy[device] = self._energy.get(device, 0.0) + card.power_watts * step
        return {
            device: replace(card, energy_joules=self._energy.get(device))
            for device, card in cards.items()
        }


def open_sampler(
    run_dir: Path,
    spec: RunSpec,
    backend: str,
    devices: Mapping[int, int],
    process_ids: Mapping[int, int],
    interval_seconds: float = 1.0,
    root: str = "/",
) -> TelemetrySampler:
    """The sampler of a run, with the sources of its backend; it starts with ``with``.

    Args:
        run_dir: folder of the run.
        spec: the run.
        backend: name of its backend.
        devices: rank → physical device.
        process_ids: rank → process id, of the ranks with a process of their own.
        interval_seconds: between samples.
        root: folder that stands for ``/``.
    """
    sources: List[PolledSource] = []
    simulate: Optional[SimulateCards] = None
    if backend == "ascend":
        sources = build_npu_sources(root, interval_seconds)
    elif backend == "simulated":
        ordered = sorted(set(devices.values()))

        def simulate(seconds: float) -> Mapping[int, CardReading]:
            return simulate_cards(spec, ordered, seconds)

    return TelemetrySampler(
        run_dir, devices, process_ids, sources, simulate, interval_seconds, root
    )
