"""Telemetry of a run: what its cards, its host and its ranks did while they trained.

:class:`bench.telemetry.sampler.TelemetrySampler` reads them once a second beside the run,
:mod:`bench.telemetry.model` says what it found, :mod:`bench.telemetry.store` keeps it as
``telemetry.jsonl``, and :mod:`bench.telemetry.summary` and :mod:`bench.telemetry.join` turn it into
figures and into marks on the run's intervals.
"""
