"""The process of simulated ranks: writes the log that an Ascend rank would write, on its pace.

Started by the harness like a trainer, with the same environment; see ``bench.devices.simulation``
for what it pretends to do. A process may stand for several ranks: its own log goes to standard
error, those of the others into files beside the run's logs. The process of rank 0 writes the truth.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Dict, Iterator, List, Optional, Sequence, Tuple

from bench.devices.simulated import list_ranks_of_process
from bench.devices.simulated_log import FAILURE_MARK, render_log
from bench.devices.truth import TRUTH_NAME, build_truth
from bench.errors import BenchError
from bench.spec import RunSpec, build_spec, read_spec_file

_EXIT_INTERNAL = 70
_EXIT_USAGE = 64
_EXIT_IO = 74


def main(arguments: Optional[List[str]] = None) -> int:
    """Writes the whole log; returns an exit code like the trainer's."""
    parser = argparse.ArgumentParser(prog="simulated-rank")
    parser.add_argument("--spec", required=True)
    parser.add_argument("--iterations-per-loop", type=int, required=True)
    parser.add_argument("--model-config")
    known = parser.parse_args(arguments)
    spec_path = Path(known.spec)
    try:
        spec = build_spec([read_spec_file(spec_path)])
    except BenchError as error:
        sys.stderr.write(f"ERROR: usage: {error}\n")
        return _EXIT_USAGE
    rank = int(os.environ["RANK_ID"])
    try:
        if rank == 0:
            truth = json.dumps(build_truth(spec, known.iterations_per_loop), indent=1)
            (spec_path.parent / TRUTH_NAME).write_text(truth + "\n", encoding="utf-8")
        with contextlib.ExitStack() as stack:
            streams = _open_logs(spec, rank, spec_path.parent / "logs", stack)
            return _write_logs(spec, known, streams)
    except OSError as error:
        sys.stderr.write(f"ERROR: io: the simulated log cannot be written: {error}\n")
        return _EXIT_IO


def _open_logs(
    spec: RunSpec, leader: int, folder: Path, stack: contextlib.ExitStack
) -> Dict[int, BinaryIO]:
    streams: Dict[int, BinaryIO] = {leader: sys.stderr.buffer}
    for rank in list_ranks_of_process(spec, leader)[1:]:
        path = folder / f"train_{rank}.log"
        streams[rank] = stack.enter_context(path.open("wb", buffering=0))
    return streams


def _write_logs(spec: RunSpec, known: argparse.Namespace, streams: Dict[int, BinaryIO]) -> int:
    """Writes the pieces of all ranks of this process when they are due."""
    started = datetime.now()
    clock = time.monotonic()
    speed = spec.simulated.speed
    pieces: Sequence[Iterator[Tuple[float, int, bytes]]] = [
        _tag(rank, render_log(spec, rank, known.iterations_per_loop, started, known.model_config))
        for rank in streams
    ]
    # Without a pace one log after the other: that keeps a single rank's loops in memory.
    due = heapq.merge(*pieces) if speed > 0.0 else (item for log in pieces for item in log)
    for seconds, rank, data in due:
        if speed > 0.0:
            time.sleep(max(0.0, clock + seconds / speed - time.monotonic()))
        streams[rank].write(data)
        streams[rank].flush()
        if data.startswith(FAILURE_MARK):
            return _EXIT_INTERNAL
    return 0


def _tag(rank: int, log: Iterator[Tuple[float, bytes]]) -> Iterator[Tuple[float, int, bytes]]:
    for seconds, data in log:
        yield seconds, rank, data


if __name__ == "__main__":
    sys.exit(main())
