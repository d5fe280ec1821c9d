"""What a training log says, as small frozen records.

Every event carries where it stood: ``line_number`` counts from 1 in its file, ``thread_id`` is the
thread of the absl prefix (None for a line without one), ``wall_seconds`` is the time stamp as
seconds since 1 January 00:00 of the year in which the log began (None for a line without one).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Optional


@dataclass(frozen=True)
class Event:
    """Base of all events: where and when."""

    line_number: int
    thread_id: Optional[int]
    wall_seconds: Optional[float]


@dataclass(frozen=True)
class StepRate(Event):
    """``global_step/sec: 2.451``: the mean rate since the report before it.

    Attributes:
        steps_per_second: as printed.
        is_whole: False when other text stands right behind the number, which TensorFlow does not
            write: its last digits may be missing.
    """

    steps_per_second: float
    is_whole: bool


@dataclass(frozen=True)
class LossReport(Event):
    """Losses at a step, as a LoggingTensorHook writes them.

    Attributes:
        global_step: the step of the report.
        masked_lm_loss: None when the report has only one loss.
        next_sentence_loss: None when the report has only one loss.
        total_loss: ``total_loss`` or ``loss``; may be nan or inf.
        elapsed_seconds: time since the report before it; None in the first report.
    """

    global_step: int
    masked_lm_loss: Optional[float]
    next_sentence_loss: Optional[float]
    total_loss: float
    elapsed_seconds: Optional[float]


@dataclass(frozen=True)
class LossScale(Event):
    """A value of the loss scale.

    Attributes:
        value: the scale.
        labelled: False when the value stood apart from its label, which several processes that
            print into one file bring about.
    """

    value: float
    labelled: bool


@dataclass(frozen=True)
class GeopCallback(Event):
    """End of one graph run on the device, from the adapter; status 0 is success."""

    status: int
    kernel: str
    microseconds: int


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """A checkpoint is being written."""

    global_step: int
    path: str


@dataclass(frozen=True)
class TrainerPrint(Event):
    """The one-line summary that the ModelZoo trainer prints after each session run.

    Attributes:
        global_step: step after the run.
        sequences_per_second: global batch times steps, over the time of that single run.
        masked_lm_loss, next_sentence_loss, total_loss, average_loss: losses of its last step.
        learning_rate: rate of its last step.
        loss_scale: None without dynamic loss scaling.
        is_finite: False when the last step was skipped for overflow; None where not printed.
        rank: None where not printed, which is the rule.
    """

    global_step: int
    sequences_per_second: float
    masked_lm_loss: float
    next_sentence_loss: float
    total_loss: float
    average_loss: float
    learning_rate: float
    loss_scale: Optional[float]
    is_finite: Optional[bool]
    rank: Optional[int]


@dataclass(frozen=True)
class AdapterStep(Event):
    """``global_step...100``, printed by the adapter after each session run."""

    global_step: int


@dataclass(frozen=True)
class FinalLoss(Event):
    """``Loss for final step: 1.234.``: training ended as it should. None for ``None.``"""

    loss: Optional[float]


@dataclass(frozen=True)
class EvalProgress(Event):
    """``phase`` is started, batch or finished; the counts are None outside of batch."""

    phase: str
    batch: Optional[int]
    n_batches: Optional[int]


@dataclass(frozen=True)
class EvalResult(Event):
    """The metrics of an evaluation."""

    global_step: int
    text: str

    @property
    def metrics(self) -> Dict[str, float]:
        """Metric by name; what is not a number is left out."""
        found = {}
        for pair in self.text.split(", "):
            name, _, value = pair.partition(" = ")
            try:
                found[name] = float(value)
            except ValueError:
                continue
        return found


@dataclass(frozen=True)
class InferenceSummary(Event):
    """``Throughput Average (sentences/sec) = 71.27`` of the evaluation."""

    sentences_per_second: float


@dataclass(frozen=True)
class PredictedBatch(Event):
    """Time of one batch of a prediction.

    Attributes:
        batch: number, from 1.
        examples: sequences in it, without those that fill it up.
        batch_seconds: time of the call, data included.
    """

    batch: int
    examples: int
    batch_seconds: float


@dataclass(frozen=True)
class BestCheckpoint(Event):
    """Which of the scored checkpoints is the best one, and by which metric."""

    path: str
    metric: str
    value: float


@dataclass(frozen=True)
class FlagValue(Event):
    """A flag of the trainer and its value, printed at start."""

    name: str
    value: str


@dataclass(frozen=True)
class RankLine(Event):
    """``RANK_SIZE= 8  RANK_ID= 3``: the only line that tells the rank."""

    rank_size: int
    rank_id: int


@dataclass(frozen=True)
class Phase(Event):
    """A stage of start-up, by the words that the Estimator writes."""

    name: str


@dataclass(frozen=True)
class Notice(Event):
    """A warning or worse of TensorFlow or its native code. ``severity`` is W, E or F."""

    severity: str
    text: str


@dataclass(frozen=True)
class ErrorLine(Event):
    """The last words of a trainer: ``ERROR: <category>: <text>``, or the head of a traceback."""

    category: str
    text: str


@dataclass(frozen=True)
class ShellResult(Event):
    """What the original launch script appends to the log by the exit status."""

    success: bool
