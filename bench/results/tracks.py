"""What the log of each rank says, in the terms of ``bench.measure``."""

from __future__ import annotations

import bisect
import json
import math
import re
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from bench.logs import patterns
from bench.logs.clock import compute_wall_seconds
from bench.logs.ranks import RankLog
from bench.logs.report import LogReport
from bench.measure.fine_tuning import Scores
from bench.measure.intervals import BatchRecord, LossRecord, RankTrack, RateRecord
from bench.measure.summary import Sizes

NOT_KNOWN = Sizes()
SEED_BATCH_SIZE = 128
"""The batch per card of the ModelZoo document, taken when neither user nor log tells it."""

_LARGEST = 1e9
_START_PHASES = ("Calling model_fn", "Graph was finalized", "Running local_init_op")
_SIZE_FLAGS = {
    "train_batch_size": "batch_size",
    "max_seq_length": "seq_length",
    "max_predictions_per_seq": "max_predictions",
}


def build_track(rank: RankLog) -> RankTrack:
    """What one rank's part of its log says, as plain records."""
    losses = rank.rows("losses")
    full = (losses["present"] & patterns.MASKED_LM) != 0
    if full.any():
        # The Estimator's own hook reports the total loss of the same steps once more.
        losses = losses[full]
    there = losses["present"]
    columns = zip(
        losses["line_number"].tolist(),
        losses["global_step"].tolist(),
        _optional(
            losses["elapsed_seconds"],
            (there & patterns.ELAPSED != 0) & _is_possible(losses["elapsed_seconds"]),
        ),
        _optional(losses["masked_lm_loss"], there & patterns.MASKED_LM),
        _optional(losses["next_sentence_loss"], there & patterns.NEXT_SENTENCE),
        losses["total_loss"].tolist(),
        _wall(losses, rank.report),
    )
    rates = rank.rows("step_rates")
    rates = _drop_doubtful(rates[_is_possible(rates["steps_per_second"])])
    scales = rank.rows("loss_scales")
    prints = rank.rows("trainer_prints")
    batches = rank.rows("predicted_batches")
    batches = batches[_is_possible(batches["batch_seconds"])]
    skipped = (prints["present"] & patterns.IS_FINITE != 0) & ~prints["is_finite"]
    overflows = prints["line_number"][skipped].tolist() or _list_scale_falls(scales)
    reports = [*rates["line_number"].tolist(), *losses["line_number"].tolist()]
    evaluation = [*rank.rows("eval_progress")["line_number"].tolist()]
    evaluation += rank.rows("eval_results")["line_number"].tolist()
    phases = set(rank.report.phases.column("name").tolist())
    return RankTrack(
        label=rank.key.label,
        rank=rank.key.rank_id,
        rates=[
            RateRecord(line, value, wall)
            for line, value, wall in zip(
                rates["line_number"].tolist(),
                rates["steps_per_second"].tolist(),
                _wall(rates, rank.report),
            )
        ],
        losses=[LossRecord(*row) for row in columns],
        batches=[
            BatchRecord(batch, examples, seconds, wall)
            for batch, examples, seconds, wall in zip(
                batches["batch"].tolist(),
                batches["examples"].tolist(),
                batches["batch_seconds"].tolist(),
                _wall(batches, rank.report),
            )
        ],
        checkpoint_lines=rank.rows("checkpoints")["line_number"].tolist(),
        evaluation_lines=sorted(evaluation),
        overflow_lines=_place_at_reports(overflows, sorted(reports)),
        start_seconds=_find_start(rank),
        loss_scales=scales["value"].tolist(),
        saw_start=any(name in phases for name in _START_PHASES),
        problem_count=sum(rank.report.problem_counts.values()),
    )


def read_flags(report: LogReport) -> Dict[str, str]:
    """Flag → value as a log tells them, the first word on each."""
    flags: Dict[str, str] = {}
    table = report.flags
    for name, value in zip(table.column("name").tolist(), table.column("value").tolist()):
        flags.setdefault(name, value)
    return flags


def read_scores(reports: Sequence[LogReport]) -> Optional[Scores]:
    """Scores of checkpoints as the logs tell them; None where nothing was scored."""
    for report in reports:
        best = report.tables["best_checkpoints"]
        names = best.column("metric").tolist()
        if not names:
            continue
        results = report.tables["eval_results"]
        by_step = {}
        pattern = re.compile(rf"(?:^|, ){re.escape(names[-1])} = ([-+.\deE]+)")
        for step, text in zip(
            results.column("global_step").tolist(), results.column("text").tolist()
        ):
            value = pattern.search(text)
            if value is not None:
                by_step[step] = float(value.group(1))
        return Scores(names[-1], float(best.column("value")[-1]), by_step)
    return None


def read_model_of(reports: Sequence[LogReport]) -> Optional[Dict[str, Any]]:
    """The model's configuration, when the log names a file that is here."""
    for report in reports:
        path = read_flags(report).get("bert_config_file", "")
        try:
            loaded = json.loads(Path(path).read_text(encoding="utf-8")) if path else None
        except (OSError, ValueError):
            continue
        if isinstance(loaded, dict):
            return loaded
    return None


def find_sizes(
    told: Sizes,
    reports: Sequence[LogReport],
    ranks: Sequence[RankLog],
    asked: Sizes = NOT_KNOWN,
) -> Tuple[Sizes, Dict[str, str]]:
    """Batch, sequence length and cards, and where each is known from.

    Args:
        told: by the user; goes before what the logs say.
        reports: the logs.
        ranks: found in them.
        asked: of the run that wrote them; for what the logs do not say.
    """
    found: Dict[str, int] = {}
    for report in reports:
        flags = read_flags(report)
        if "task_name" in flags:
            # No masked positions are predicted, and a prediction has batches of its own.
            found["max_predictions"] = 0
            if len(report.tables["predicted_batches"]) and not len(report.tables["step_rates"]):
                flags["train_batch_size"] = flags.get("predict_batch_size", "")
        for flag, value in flags.items():
            name = _SIZE_FLAGS.get(flag)
            if name is not None and value.isdigit():
                found.setdefault(name, int(value))
    sizes_said = {key.rank_size for key in (rank.key for rank in ranks) if key.rank_size}
    if len(sizes_said) == 1:
        found["cards"] = sizes_said.pop()
    values: Dict[str, Optional[int]] = {}
    origins: Dict[str, str] = {}
    for name in ("batch_size", "seq_length", "cards", "max_predictions"):
        given = getattr(told, name)
        if given is not None:
            values[name], origins[name] = given, "told"
        elif name in found:
            values[name], origins[name] = found[name], "log"
        elif getattr(asked, name) is not None:
            values[name], origins[name] = getattr(asked, name), "asked"
        else:
            values[name], origins[name] = None, "not known"
    if values["batch_size"] is None:
        values["batch_size"], origins["batch_size"] = SEED_BATCH_SIZE, "assumed"
    if values["cards"] is None:
        values["cards"], origins["cards"] = len(ranks), "ranks seen"
    return Sizes(**values), origins


def _is_possible(values: Any) -> Any:
    """Where a rate or a time can be one: a damaged digit or a trainer gone mad prints ``inf``."""
    known = np.nan_to_num(values)  # older NumPy warns of a nan that is compared
    return (known >= 1.0 / _LARGEST) & (known <= _LARGEST)


def _drop_doubtful(rates: Any) -> Any:
    """Leaves out rates that may lack digits; the loss line tells the time of their interval, too.

    Where most rates are like that, nothing was torn: this is how that log was written.
    """
    is_whole = rates["is_whole"]
    return rates[is_whole] if 2 * int(is_whole.sum()) >= len(rates) else rates


def _wall(rows: Any, report: LogReport) -> List[Optional[float]]:
    seconds = compute_wall_seconds(rows["stamp"], report.tables["losses"].year)
    return [None if math.isnan(value) else value for value in seconds.tolist()]


def _find_start(rank: RankLog) -> Optional[float]:
    """Stamp of the earliest thing that the rank's log tells."""
    starts = [
        float(times[0])
        for kind in ("flags", "rank_lines", "phases")
        for times in [rank.report.tables[kind].column("wall_seconds")]
        if len(times) and not math.isnan(float(times[0]))
    ]
    return min(starts, default=None)


def _place_at_reports(lines: Sequence[int], reports: Sequence[int]) -> List[int]:
    """The report next to each line: a trainer prints both at the end of a loop, in any order."""
    placed = set()
    for line in lines:
        after = bisect.bisect_left(reports, line)
        near = reports[max(0, after - 1) : after + 1]
        if near:
            placed.add(min(near, key=lambda at: abs(at - line)))
    return sorted(placed)


def _list_scale_falls(scales: Any) -> List[int]:
    """Lines at which a dynamic loss scale is lower than before: an update was skipped."""
    values = scales["value"]
    falls = np.flatnonzero(values[1:] < values[:-1]) + 1
    lines: List[int] = scales["line_number"][falls].tolist()
    return lines


def _optional(column: Any, present: Any) -> List[Optional[float]]:
    return [value if bit else None for value, bit in zip(column.tolist(), present.tolist())]
