"""What a run needs from its session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Mapping, Sequence

from bench.devices.base import Backend
from bench.launch.cluster import LocalCluster
from bench.launch.launchers import Cluster
from bench.measure.live import LiveRun
from bench.session.progress import Progress
from bench.session.signals import SignalCatcher
from bench.spec import RunSpec
from bench.telemetry.sampler import TelemetrySampler


@dataclass(frozen=True)
class RunContext:
    """All that a run needs from its session."""

    spec: RunSpec
    sweep: Sequence[int]
    backend: Backend
    backend_reason: str
    run_id: str
    run_dir: Path
    session: Mapping[str, Any]
    data: Mapping[str, str]
    environment: Mapping[str, Any]
    inherited: Mapping[str, str]
    signals: SignalCatcher
    progress: Progress
    set_live: Callable[[LiveRun], None]
    set_telemetry: Callable[[TelemetrySampler], None]
    cluster: Cluster = LocalCluster()
