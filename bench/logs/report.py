"""What one log says: a table per kind of event, the problems, and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Mapping, Optional, Tuple

from bench.logs.problems import Problem
from bench.logs.tables import Table


@dataclass(frozen=True)
class LogReport:
    """All events of one log.

    Attributes:
        source: path or label of the log.
        year: year in which the log begins, where it was told.
        tables: table by kind; each is also an attribute below.
        problems: the first problems of each kind, by line.
        problem_counts: how many there were of each kind.
        n_lines: lines, a last one without an end included.
        n_bytes: bytes read.
        sha256: hex digest of the bytes, where it was asked for.
    """

    source: str
    year: Optional[int]
    tables: Mapping[str, Table]
    problems: Tuple[Problem, ...]
    problem_counts: Dict[str, int]
    n_lines: int
    n_bytes: int
    sha256: Optional[str] = None

    @property
    def n_events(self) -> int:
        """Rows of all tables."""
        return sum(len(table) for table in self.tables.values())

    @property
    def step_rates(self) -> Table:
        """Table of ``StepRate``."""
        return self.tables["step_rates"]

    @property
    def losses(self) -> Table:
        """Table of ``LossReport``."""
        return self.tables["losses"]

    @property
    def loss_scales(self) -> Table:
        """Table of ``LossScale``."""
        return self.tables["loss_scales"]

    @property
    def geops(self) -> Table:
        """Table of ``GeopCallback``."""
        return self.tables["geops"]

    @property
    def checkpoints(self) -> Table:
        """Table of ``CheckpointSaved``."""
        return self.tables["checkpoints"]

    @property
    def trainer_prints(self) -> Table:
        """Table of ``TrainerPrint``."""
        return self.tables["trainer_prints"]

    @property
    def adapter_steps(self) -> Table:
        """Table of ``AdapterStep``."""
        return self.tables["adapter_steps"]

    @property
    def final_losses(self) -> Table:
        """Table of ``FinalLoss``."""
        return self.tables["final_losses"]

    @property
    def eval_progress(self) -> Table:
        """Table of ``EvalProgress``."""
        return self.tables["eval_progress"]

    @property
    def eval_results(self) -> Table:
        """Table of ``EvalResult``."""
        return self.tables["eval_results"]

    @property
    def inference_summaries(self) -> Table:
        """Table of ``InferenceSummary``."""
        return self.tables["inference_summaries"]

    @property
    def flags(self) -> Table:
        """Table of ``FlagValue``."""
        return self.tables["flags"]

    @property
    def rank_lines(self) -> Table:
        """Table of ``RankLine``."""
        return self.tables["rank_lines"]

    @property
    def phases(self) -> Table:
        """Table of ``Phase``."""
        return self.tables["phases"]

    @property
    def notices(self) -> Table:
        """Table of ``Notice``."""
        return self.tables["notices"]

    @property
    def errors(self) -> Table:
        """Table of ``ErrorLine``."""
        return self.tables["errors"]

    @property
    def shell_results(self) -> Table:
        """Table of ``ShellResult``."""
        return self.tables["shell_results"]
