"""The result of one run: what was asked, what was found, every interval, and the summary.

History of ``SCHEMA_VERSION``:

1. First form.
2. ``found.environment`` has ``facts`` and ``absent``; ``found.state_before`` and
   ``found.state_after``; ``found.imported`` in results that others measured.
3. Intervals have ``told`` and ``wall_seconds``, ``reason`` is that of the steady-state search;
   measurements have limits, checks may be open or not required.

``bench.results.schema`` holds the JSON Schema of each, ``bench.results.upgrade`` the steps between.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Mapping, Optional, Tuple

from bench.errors import DataError
from bench.measure.figures import Check, Measurement
from bench.results.upgrade import upgrade_document

SCHEMA_VERSION = 3

STATES = ("running", "finished", "failed")


@dataclass(frozen=True)
class Failure:
    """Why a run did not finish.

    Attributes:
        kind: ``kind`` of the error class (``bench.errors``), which gives the exit code.
        message: one line for people.
        rank: the rank that failed first, None when no single rank did.
        exit_code: that rank's exit code, negative for a signal.
    """

    kind: str
    message: str
    rank: Optional[int] = None
    exit_code: Optional[int] = None


@dataclass(frozen=True)
class RankRecord:
    """All that a rank's log said.

    Attributes:
        rank: global rank id, or the order of first appearance in a log without ids.
        label: how the log names it: file name or thread id.
        device: physical device id, None when not known.
        exit_code: of its process, None when not launched by us.
        last_step: last global step seen, None if none.
        intervals: columns ``end_step`` (None where the log does not say), ``steps``,
            ``seconds``, ``steps_per_second``, ``told`` (what the log says of it), ``reason`` (why
            it is or is not in the window), ``wall_seconds`` (when it was reported), one entry
            per interval.
        losses: columns ``step``, ``mlm``, ``nsp``, ``total``, one entry per report.
        loss_scales: loss-scale values in order.
        problems: count of unreadable lines and the first of them.
    """

    rank: int
    label: str
    device: Optional[int] = None
    exit_code: Optional[int] = None
    last_step: Optional[int] = None
    intervals: Mapping[str, List[Any]] = field(default_factory=dict)
    losses: Mapping[str, List[Any]] = field(default_factory=dict)
    loss_scales: List[float] = field(default_factory=list)
    problems: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RunResult:
    """One run.

    Attributes:
        run_id: identity, also the name of its folder.
        session: ``id`` of the command that launched it and its place there.
        state: ``"running"``, ``"finished"`` or ``"failed"``.
        simulated: no real device was measured.
        asked: the spec as asked.
        found: backend, devices, model, data and environment as found.
        ranks: one record per rank.
        summary: metric key → measurement.
        validity: the checks; the run is valid if all passed.
        started_at: ISO 8601, UTC.
        ended_at: ISO 8601, UTC, None while it runs.
        failure: set when ``state`` is ``"failed"``.
        tool: name and version of the harness that wrote it.
    """

    run_id: str
    session: Mapping[str, Any]
    state: str
    simulated: bool
    asked: Mapping[str, Any]
    found: Mapping[str, Any]
    ranks: Tuple[RankRecord, ...]
    summary: Mapping[str, Measurement]
    validity: Tuple[Check, ...]
    started_at: str
    ended_at: Optional[str]
    failure: Optional[Failure]
    tool: Mapping[str, str]
    schema_version: int = SCHEMA_VERSION

    @property
    def n_cards(self) -> int:
        """Number of cards asked for."""
        return int(self.asked["cards"][0])

    @property
    def valid(self) -> bool:
        """Finished, and no required check failed."""
        return self.state == "finished" and not any(check.fatal for check in self.validity)

    @property
    def steady(self) -> bool:
        """Whether its figures come from a steady state, as far as a check tells."""
        return all(c.passed is not False for c in self.validity if c.name == "steady state")

    @property
    def build(self) -> str:
        """Which of two builds of a session it measures; empty for only one."""
        return str(self.session.get("build") or "")

    def value(self, key: str) -> Optional[float]:
        """A summary figure, None when absent or not measurable."""
        measurement = self.summary.get(key)
        return None if measurement is None else measurement.value


def result_to_dict(result: RunResult) -> Dict[str, Any]:
    """Plain values, ``schema_version`` first."""
    plain = asdict(result)
    return {"schema_version": plain.pop("schema_version"), **plain}


def result_from_dict(plain: Mapping[str, Any], source: str) -> RunResult:
    """The reverse of :func:`result_to_dict`; older versions are brought to the present form.

    Raises:
        DataError: not a result, or written by a newer version.
    """
    parts = upgrade_document(plain, source, SCHEMA_VERSION)
    try:
        parts["ranks"] = tuple(RankRecord(**rank) for rank in parts["ranks"])
        parts["summary"] = {key: Measurement(**value) for key, value in parts["summary"].items()}
        parts["validity"] = tuple(Check(**check) for check in parts["validity"])
        parts["failure"] = Failure(**parts["failure"]) if parts["failure"] else None
        result = RunResult(**parts)
        # What every table needs; the whole form is the schema's business.
        _ = (int(result.asked["cards"][0]), int(result.asked["batch_size"]), result.asked["model"])
        _ = (result.started_at + "", result.session.get("id"), result.found.get("backend"))
        return result
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise DataError(
            f"{source} is not a whole result: {type(error).__name__} {error}"
        ) from error
