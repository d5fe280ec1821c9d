"""Telemetry on disk: ``telemetry.jsonl`` in the folder of the run, one JSON object per line.

The first line says what follows: ``{"format": "ascend-bert telemetry", "version": 1, "simulated":
false, "interval_seconds": 1.0}``. Then comes one line per sample::

    {"monotonic_seconds": 12.0, "wall_seconds": 1600000000.0, "ages_seconds": {"npu_smi": 0.4},
     "cards": {"0": {"power_watts": 230.1}}, "host": {…}, "ranks": {"0": {…}}}

A value that did not change since the line before is left out, one that is no longer known is null,
and each sixtieth sample is whole, so that a file can also be read from its middle. The last line,
``{"end": {…}}``, says how the sampling went; a killed harness leaves none. A line that was cut off
by a kill is passed over.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Dict, List, Mapping, Optional, Tuple

from bench.errors import DataError, OutputError
from bench.telemetry.model import (
    CardReading,
    HostReading,
    RankReading,
    TelemetrySample,
    TelemetrySnapshot,
)

FILE_NAME = "telemetry.jsonl"
FORMAT = "ascend-bert telemetry"
VERSION = 1
_WHOLE_EVERY = 60
_DIGITS = 6


@dataclass(frozen=True)
class StoredTelemetry:
    """What a file holds.

    Attributes:
        simulated: the values were made up.
        interval_seconds: between samples, as asked.
        samples: in order.
        end: how the sampling went; None when the file was not closed.
        n_damaged: lines that could not be read.
    """

    simulated: bool
    interval_seconds: float
    samples: Tuple[TelemetrySample, ...]
    end: Optional[Mapping[str, Any]] = None
    n_damaged: int = 0


@dataclass
class TelemetryWriter:
    """Writes samples as they come; each line goes out with one write.

    Attributes:
        path: the file.
        simulated: the values are made up.
        interval_seconds: between samples.
    """

    path: Path
    simulated: bool
    interval_seconds: float
    _stream: Optional[IO[str]] = field(default=None, repr=False)
    _before: Dict[str, Any] = field(default_factory=dict, repr=False)
    _count: int = field(default=0, repr=False)

    def open(self) -> None:
        """Makes the file with its first line.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            self._stream = self.path.open("w", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error
        head = {
            "format": FORMAT,
            "version": VERSION,
            "simulated": self.simulated,
            "interval_seconds": self.interval_seconds,
        }
        self._write(head)

    def write(self, sample: TelemetrySample) -> None:
        """Appends a sample; a full disk is passed over, as the run must not end for it."""
        plain = _to_plain(sample)
        before = {} if self._count % _WHOLE_EVERY == 0 else self._before
        line: Dict[str, Any] = {
            "monotonic_seconds": round(sample.monotonic_seconds, 3),
            "wall_seconds": round(sample.wall_seconds, 3),
            "ages_seconds": {name: round(age, 3) for name, age in sample.ages_seconds.items()},
        }
        if self._count % _WHOLE_EVERY == 0:
            line["whole"] = True
        for part in ("cards", "host", "ranks"):
            change = _subtract(plain[part], before.get(part, {}))
            if change:
                line[part] = change
        self._before = plain
        self._count += 1
        self._write(line)

    def close(self, snapshot: TelemetrySnapshot) -> None:
        """Appends how it went, and closes the file."""
        self._write(
            {
                "end": {
                    "samples": snapshot.samples,
                    "missed": snapshot.missed,
                    "cost_seconds": round(snapshot.cost_seconds, 3),
                    "sources": {name: asdict(state) for name, state in snapshot.sources.items()},
                }
            }
        )
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
            self._stream = None

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._stream is None:
            return
        # What a full disk leaves out shows in the file itself: its samples have times.
        with contextlib.suppress(OSError):
            self._stream.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._stream.flush()


def read_telemetry(path: Path, most_samples: Optional[int] = None) -> StoredTelemetry:
    """Reads a file back into whole samples.

    Args:
        path: the file or the folder of the run.
        most_samples: of a longer file only every second, third, … sample is kept, and the last, so
            that a run of days fits into memory.

    Raises:
        DataError: there is no such file, or it is of another form or version.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from error
    head = _parse_line(lines[0]) if lines else None
    if head is None or head.get("format") != FORMAT:
        raise DataError(f"{file} is not a file of telemetry: its first line does not say so")
    if head.get("version") != VERSION:
        raise DataError(
            f"{file} is of version {head.get('version')!r}; this harness reads {VERSION}"
        )
    samples: List[TelemetrySample] = []
    end: Optional[Mapping[str, Any]] = None
    damaged = 0
    plain: Dict[str, Any] = {"cards": {}, "host": {}, "ranks": {}}
    stride = 1 if most_samples is None else max(1, -(-len(lines) // most_samples))
    for number, text in enumerate(lines[1:]):
        line = _parse_line(text)
        try:
            if line is not None and isinstance(line.get("end"), dict):
                end = line["end"]
                continue
            if line is None:
                raise ValueError("no JSON object")
            if line.get("whole"):
                plain = {"cards": {}, "host": {}, "ranks": {}}
            plain = {part: _add(plain[part], line.get(part, {})) for part in plain}
            if number % stride == 0 or number + 2 >= len(lines) - 1:
                samples.append(_from_plain(line, plain))
        except (KeyError, TypeError, ValueError, AttributeError):
            damaged += 1
    return StoredTelemetry(
        simulated=bool(head.get("simulated")),
        interval_seconds=float(head.get("interval_seconds", 1.0)),
        samples=tuple(samples),
        end=end,
        n_damaged=damaged,
    )


def _parse_line(text: str) -> Optional[Dict[str, Any]]:
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _to_plain(sample: TelemetrySample) -> Dict[str, Any]:
    """Nested plain values without those that are not known."""
    return {
        "cards": {str(device): _strip(vars(card)) for device, card in sample.cards.items()},
        "host": {} if sample.host is None else _strip(vars(sample.host)),
        "ranks": {str(rank): _strip(vars(reading)) for rank, reading in sample.ranks.items()},
    }


def _strip(values: Mapping[str, Any]) -> Dict[str, Any]:
    return {name: _round(value) for name, value in values.items() if value is not None}


def _round(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {name: _round(item) for name, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _subtract(new: Mapping[str, Any], old: Mapping[str, Any]) -> Dict[str, Any]:
    """What turns ``old`` into ``new``: changed values, and null for what is gone."""
    change: Dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        if isinstance(value, dict):
            inner = _subtract(value, old.get(name) or {})
            if inner or name not in old:
                change[name] = inner
        elif name not in old or old[name] != value:
            change[name] = value
    return change


def _add(old: Mapping[str, Any], change: Mapping[str, Any]) -> Dict[str, Any]:
    """The reverse of :func:`_subtract`."""
    new = dict(old)
    for name, value in change.items():
        if value is None:
            new.pop(name, None)
        elif isinstance(value, dict):
            new[name] = _add(new.get(name) or {}, value)
        else:
            new[name] = value
    return new


def _from_plain(line: Mapping[str, Any], plain: Mapping[str, Any]) -> TelemetrySample:
    return TelemetrySample(
        monotonic_seconds=float(line["monotonic_seconds"]),
        wall_seconds=float(line["wall_seconds"]),
        cards={int(device): _build(CardReading, found) for device, found in plain["cards"].items()},
        host=_build(HostReading, plain["host"]) if plain["host"] else None,
        ranks={int(rank): _build(RankReading, found) for rank, found in plain["ranks"].items()},
        ages_seconds=dict(line.get("ages_seconds", {})),
    )


def _build(cls: Any, found: Mapping[str, Any]) -> Any:
    """A reading of the values that this version knows."""
    names = {item.name for item in fields(cls)}
    return cls(
        **{
            name: tuple(value) if isinstance(value, list) else value
            for name, value in found.items()
            if name in names
        }
    )
