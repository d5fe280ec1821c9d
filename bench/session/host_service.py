"""What runs beside the ranks of a host that the head does not see: telemetry, and its endpoint."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Any, Mapping, Sequence

from bench.devices.hosts import Host
from bench.errors import BenchError
from bench.export.collector import BuildCollector
from bench.export.publisher import Publisher, PublishOptions
from bench.export.telemetry import TelemetryCollector
from bench.launch.group import Rank
from bench.measure.live import RunFacts
from bench.spec import RunSpec, build_spec, read_spec_file
from bench.telemetry.sampler import open_sampler


class HostService:
    """Samples this host's cards and ranks during a run, and serves them if asked to.

    A run is worth more than its telemetry: what cannot be done is said on standard error, which
    is the launcher's log, and left.

    Args:
        host: this host.
        plan: the message with this host's part of the plan.
        ranks: the ranks that were started here.
    """

    def __init__(self, host: Host, plan: Mapping[str, Any], ranks: Sequence[Rank]) -> None:
        self._host = host
        self._run_dir = Path(plan["run_dir"])
        self._ranks = ranks
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> HostService:
        try:
            self._start(build_spec([read_spec_file(self._run_dir / "spec.yaml")]))
        except (BenchError, OSError) as error:
            sys.stderr.write(f"host {self._host.index}: no telemetry: {error}\n")
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def _start(self, spec: RunSpec) -> None:
        folder = self._run_dir / "hosts" / str(self._host.index)
        folder.mkdir(parents=True, exist_ok=True)
        devices = {rank.plan.rank: rank.plan.device for rank in self._ranks}
        process_ids = {rank.plan.rank: rank.process_id for rank in self._ranks}
        sampler = self._stack.enter_context(
            open_sampler(folder, spec, spec.backend, devices, process_ids)
        )
        if spec.hosts.metrics_port is None:
            return
        facts = self._build_facts(spec)
        web_config = spec.hosts.metrics_web_config
        name = f"{self._run_dir.name}-host{self._host.index}"
        options = PublishOptions(
            listen=(spec.hosts.metrics_address, spec.hosts.metrics_port),
            web_config=None if web_config is None else Path(web_config),
            # Beside that of the head, so that one file_sd pattern finds all hosts.
            target_file=self._run_dir.parent.parent / "prometheus" / f"{name}.json",
        )
        collectors = [BuildCollector(), TelemetryCollector(sampler.latest, lambda: facts)]
        self._stack.enter_context(Publisher(options, collectors, name, self._note))

    def _build_facts(self, spec: RunSpec) -> RunFacts:
        return RunFacts(
            run_id=self._run_dir.name,
            model=spec.model,
            backend=spec.backend,
            simulated=spec.backend == "simulated",
            precision=spec.precision,
            task=spec.task,
            world_size=spec.n_cards,
            batch_size=spec.batch_size,
            seq_length=spec.seq_length,
            steps=spec.steps,
            iterations_per_loop=spec.iterations_per_loop or 1,
            started_at_seconds=time.time(),
            devices=tuple(rank.plan.device for rank in self._ranks),
        )

    def _note(self, text: str) -> None:
        sys.stderr.write(f"host {self._host.index}: {text}\n")
