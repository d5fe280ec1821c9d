"""Parses logs of known true rate, with the harness and by the formulas of others.

``python -m tests.simulation.parsing`` is what ``scripts/prove-parsing`` runs.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

import numpy as np
from tabulate import tabulate

from bench.measure.summary import Sizes
from bench.results.from_logs import LogsMeasured, measure_logs
from tests.simulation.parsing_cases import NEVER_STEADY, STEADY
from tests.simulation.parsing_formulas import FORMULAS, read_lines
from tests.simulation.parsing_logs import Build, RunText

FULL_RUNS, QUICK_RUNS = 12, 2
LARGEST_ERROR = 0.001
"""Of every single run."""
MOST_REFUSED = 0.05
"""Share of runs with a steady part that may be called not steady."""


@dataclass(frozen=True)
class CaseScore:
    """How well a case was read.

    Attributes:
        name: of the case.
        errors: relative error of our rate, one per run that was called steady, sign kept.
        n_refused: runs that were called not steady.
        others: formula → relative errors, NaN where it found nothing.
    """

    name: str
    errors: Sequence[float]
    n_refused: int
    others: Mapping[str, Sequence[float]] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Runs."""
        return len(self.errors) + self.n_refused

    @property
    def largest(self) -> float:
        """Largest error; 0 for none."""
        return max((abs(error) for error in self.errors), default=0.0)


@dataclass(frozen=True)
class Proof:
    """All cases.

    Attributes:
        steady: those with a steady part.
        never: those without, of which nothing but the refusals matters.
    """

    steady: Sequence[CaseScore]
    never: Sequence[CaseScore]

    def list_broken(self) -> List[str]:
        """Promises that were not kept, in words."""
        broken = [
            f"{case.name}: error of {case.largest:.3%}"
            for case in self.steady
            if case.largest > LARGEST_ERROR
        ]
        broken += [
            f"{case.name}: called steady in {len(case.errors)} of {case.n} runs"
            for case in self.never
            if case.errors
        ]
        refused = sum(case.n_refused for case in self.steady)
        n = sum(case.n for case in self.steady)
        if refused > MOST_REFUSED * n:
            broken.append(f"{refused} of {n} steady runs were called not steady")
        return broken


def prove(n_runs: int, seed: int) -> Proof:
    """Simulates and parses every case ``n_runs`` times."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        return Proof(
            [score_case(name, build, n_runs, seed, place) for name, build in STEADY.items()],
            [score_case(name, build, n_runs, seed, place) for name, build in NEVER_STEADY.items()],
        )


def score_case(name: str, build: Build, n_runs: int, seed: int, folder: Path) -> CaseScore:
    """Parses so many runs of a case."""
    errors: List[float] = []
    refused = 0
    others: Dict[str, List[float]] = {formula: [] for formula in FORMULAS}
    for number in range(n_runs):
        run = build(seed + number)
        measured = measure_text(run, folder)
        if is_steady(measured):
            errors.append(_compare(measured.summary["steps_per_second"].value, run.rate))
        else:
            refused += 1
        logs = [read_lines(run.files[key]) for key in sorted(run.files)]
        for formula, compute in FORMULAS.items():
            others[formula].append(_compare(compute(logs), run.rate))
    return CaseScore(name, errors, refused, others)


def measure_text(run: RunText, folder: Path) -> LogsMeasured:
    """What ``ascend-bert parse`` says of the logs."""
    paths = []
    try:
        for name, data in run.files.items():
            paths.append(folder / name)
            paths[-1].write_bytes(data)
        return measure_logs(paths, Sizes())
    finally:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


def is_steady(measured: LogsMeasured) -> bool:
    """Whether a steady state was found."""
    return any(check.name == "steady state" and check.passed for check in measured.checks)


def _compare(found: Optional[float], true: float) -> float:
    return float("nan") if found is None else found / true - 1.0


def render_cases(proof: Proof) -> str:
    """Case by case: our error beside that of the document's script."""
    original = next(iter(FORMULAS))
    cells = [
        [
            case.name,
            case.n,
            case.n_refused,
            _percent(np.max(np.abs(case.errors))) if case.errors else "-",
            _percent(np.median(np.abs(case.errors))) if case.errors else "-",
            _percent(_find_largest(case.others[original])),
        ]
        for case in [*proof.steady, *proof.never]
    ]
    headers = ["logs", "n", "called not steady", "our largest error", "our median error"]
    return _tabulate(cells, [*headers, "8-card script's largest error"])


def render_formulas(proof: Proof) -> str:
    """Formula by formula over all runs with a steady part."""
    ours = [error for case in proof.steady for error in case.errors]
    rows = [("ascend-bert", ours)]
    for formula in FORMULAS:
        found = [error for case in proof.steady for error in case.others[formula]]
        rows.append((formula, [error for error in found if not np.isnan(error)]))
    cells = [
        [
            name,
            len(errors),
            _percent(np.median(np.abs(errors))),
            _percent(np.max(np.abs(errors))),
            f"{np.mean(np.abs(errors) <= LARGEST_ERROR):.0%}",
        ]
        for name, errors in rows
    ]
    headers = ["rate by", "n", "median error", "largest error", "within 0.1 %"]
    return _tabulate(cells, headers)


def _tabulate(cells: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    align = ["left"] + ["right"] * (len(headers) - 1)
    return tabulate(cells, headers, tablefmt="github", disable_numparse=True, colalign=align)


def _find_largest(errors: Sequence[float]) -> float:
    return max((abs(error) for error in errors if not np.isnan(error)), default=float("nan"))


def _percent(ratio: float) -> str:
    return "-" if np.isnan(ratio) else f"{100.0 * ratio:.3g} %"


def main(words: Optional[Sequence[str]] = None) -> int:
    """Prints the tables; 0 if every promise is kept, else 1."""
    parser = argparse.ArgumentParser(prog="scripts/prove-parsing", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs of each case")
    parser.add_argument("--runs", type=int, metavar="N", help="runs of each case")
    parser.add_argument("--seed", type=int, default=20240229, help="of all simulations")
    arguments = parser.parse_args(words)
    n_runs = arguments.runs or (QUICK_RUNS if arguments.quick else FULL_RUNS)
    start = time.perf_counter()
    proof = prove(n_runs, arguments.seed)
    print(render_cases(proof))
    print()
    print(render_formulas(proof))
    seconds = time.perf_counter() - start
    print(f"\nseed {arguments.seed}, {seconds:.0f} s; error: found rate / true rate - 1")
    for broken in proof.list_broken():
        print(f"broken: {broken}")
    return 1 if proof.list_broken() else 0


if __name__ == "__main__":
    sys.exit(main())
