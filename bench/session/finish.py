"""From logs to the final result of a run: at its end, and when it is rebuilt after a crash."""

from __future__ import annotations

import datetime
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

import bench
from bench.catalogue import METRICS
from bench.launch.downstream import plan_downstream
from bench.launch.trainer import find_trainer_folder, read_model_config
from bench.measure.figures import Measurement
from bench.measure.flops import find_peak_flops
from bench.measure.loss_band import read_loss_bands
from bench.results.from_logs import LaunchFacts, measure_run
from bench.results.model import Failure, RunResult
from bench.session.telemetry import get_foreign_processes, join_telemetry
from bench.spec import RunSpec
from bench.spec_downstream import PREDICT, PRETRAIN

LOSS_BANDS = Path(bench.__file__).resolve().parent / "measure" / "loss_bands.yaml"

_PEAK_NAMES = {"fp32": "fp32", "fp16": "fp16", "allow_mix_precision": "mixed"}


def build_final_result(
    run_dir: Path,
    spec: RunSpec,
    started: RunResult,
    found: Mapping[str, Any],
    failure: Optional[Failure],
    exit_codes: Mapping[int, Optional[int]],
    telemetry: Mapping[str, Any],
    ended_at: str,
) -> RunResult:
    """Measures the logs of a run and puts its final result together.

    Args:
        run_dir: folder of the run.
        spec: what was asked, one card count.
        started: the result as it was stored when the run began.
        found: what was found, to the end.
        failure: why it did not finish, None if it did.
        exit_codes: by rank; None where it is not known.
        telemetry: as :func:`bench.session.telemetry.describe_telemetry` gives it.
        ended_at: ISO 8601, UTC.
    """
    measured = measure_run(
        run_dir / "logs",
        build_launch_facts(spec, found, started.simulated, exit_codes, telemetry),
    )
    ranks, joined = join_telemetry(run_dir, telemetry, measured.ranks)
    return replace(
        started,
        state="finished" if failure is None else "failed",
        found={**found, "telemetry": joined},
        ranks=ranks,
        summary={**measured.summary, **_estimate_energy(measured.summary, joined, spec.n_cards)},
        validity=measured.checks,
        failure=failure,
        ended_at=ended_at,
    )


def _estimate_energy(
    summary: Mapping[str, Measurement], telemetry: Mapping[str, Any], n_cards: int
) -> Dict[str, Measurement]:
    """Sequences per joule: the rate over the mean power of all cards in the same window."""
    key = "sequences_per_joule"
    window = "power of all cards in the measured window"
    cards = dict((telemetry.get("window") or {}).get("cards") or {})
    powers = [figures.get("power_mean_watts") for figures in cards.values()]
    rate = summary.get("sequences_per_second")
    known = [power for power in powers if power]
    reason = None
    value = None
    if rate is None or not rate.value:
        reason = "no rate was measured"
    elif len(known) < n_cards:
        reason = f"the power of {len(known)} of {n_cards} cards is known"
    else:
        value = rate.value / math.fsum(known)
    return {key: Measurement(value, METRICS[key].unit, len(known), window, reason)}


def build_launch_facts(
    spec: RunSpec,
    found: Mapping[str, Any],
    simulated: bool,
    exit_codes: Mapping[int, Optional[int]],
    telemetry: Mapping[str, Any],
) -> LaunchFacts:
    """What is known of a run besides its logs.

    Args:
        spec: the run, one card count.
        found: what its result holds under that name.
        simulated: no real device was measured.
        exit_codes: of its processes.
        telemetry: as :func:`bench.session.telemetry.describe_telemetry` gives it.
    """
    ours = not (simulated or spec.trainer_command)
    has_model = find_trainer_folder() is not None and not spec.trainer_command
    steady = spec.require_steady
    foreign_processes, foreign_reason = get_foreign_processes(telemetry)
    facts = dict(dict(found.get("environment", {})).get("facts", {}))
    kinds = list(dict(facts.get("npu_names") or {}).values())
    return LaunchFacts(
        spec=spec,
        exit_codes=exit_codes,
        flags=_parse_flags(found.get("trainer_argv", [])) if ours else {},
        model_config=_find_model(spec) if has_model else None,
        peak=find_peak_flops(str(kinds[0]) if kinds else None, _PEAK_NAMES[spec.precision])
        if found.get("backend") == "ascend"
        else None,
        steady_required=found.get("backend") != "cpu" if steady is None else steady,
        loss_bands=read_loss_bands(LOSS_BANDS) if ours else (),
        foreign_processes=foreign_processes,
        foreign_reason=foreign_reason,
    )


def _find_model(spec: RunSpec) -> Optional[Dict[str, Any]]:
    """The model's configuration; None for a prediction, as FLOPs are counted for training."""
    if spec.task == PREDICT:
        return None
    if spec.task == PRETRAIN:
        return read_model_config(spec.model)
    return read_model_config(str(plan_downstream(spec).model_config))


def _parse_flags(argv: Sequence[str]) -> Dict[str, str]:
    pairs = [word[2:].partition("=") for word in argv if word.startswith("--")]
    # A repeated flag counts as it was given last.
    return {name: value for name, separator, value in pairs if separator}


def render_time(seconds: Optional[float] = None) -> str:
    """ISO 8601 in UTC, to the millisecond; of now, or of a Unix time."""
    utc = datetime.timezone.utc
    when = (
        datetime.datetime.now(utc)
        if seconds is None
        else datetime.datetime.fromtimestamp(seconds, utc)
    )
    return when.isoformat(timespec="milliseconds")[:-6] + "Z"
