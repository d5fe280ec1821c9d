"""Reference bands of the loss from stored runs that differ in nothing but their seed."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

from bench.errors import DataError
from bench.measure.intervals import LossRecord
from bench.measure.loss_band import LossBand, describe_case, learn_loss_band
from bench.results.model import RankRecord, RunResult

SHARES = (0.25, 0.5, 1.0)
"""Where in a run its loss is looked at."""


def learn_from_results(results: Sequence[RunResult]) -> List[LossBand]:
    """One band for each case of the runs.

    Raises:
        DataError: a run is not finished, two runs have the same seed, or they are too few.
    """
    cases: Dict[Tuple[Any, ...], List[RunResult]] = {}
    for result in results:
        if result.state != "finished":
            raise DataError(f"{result.run_id} did not finish; it cannot be a reference")
        case = describe_case(result.asked, result.n_cards)
        if result.asked.get("data") is not None:
            case["data_language"] = None
        cases.setdefault(tuple(sorted(case.items(), key=str)), []).append(result)
    bands = []
    for key, runs in cases.items():
        seeds = [run.asked["random_seed"] for run in runs]
        if len(set(seeds)) < len(seeds):
            raise DataError("runs of one case must each have a seed of their own")
        steps = [int(share * runs[0].asked["steps"]) for share in SHARES]
        losses = [[_restore_losses(record) for record in run.ranks] for run in runs]
        try:
            bands.append(learn_loss_band(dict(key), losses, steps))
        except ValueError as error:
            raise DataError(f"{runs[0].n_cards} card(s): {error}") from error
    return bands


def _restore_losses(record: RankRecord) -> List[LossRecord]:
    columns = record.losses
    return [
        LossRecord(line, step, None, mlm, nsp, total)
        for line, (step, mlm, nsp, total) in enumerate(
            zip(columns["step"], columns["mlm"], columns["nsp"], columns["total"])
        )
    ]
