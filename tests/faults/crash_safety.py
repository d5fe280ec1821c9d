"""Kills the harness at random moments of a sweep, resumes it, and looks for what was lost.

``python -m tests.faults.crash_safety --kills 200`` prints what came of it; see also
``scripts/prove-crash-safety``.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Counter, Dict, List, Optional

from bench.results.check import check_document
from bench.results.store import list_run_directories
from tests.faults.harness import list_processes, start

N_LAUNCHES = 8
_SWEEP = (
    "--backend simulated --cards 1,2 --repeats 4 --steps 100 --quiet --format json "
    "--set iterations_per_loop=5 --set simulated.speed=60 --set simulated.noise_ratio=0.01"
).split()
_LONGEST_SECONDS = 120.0


@dataclass
class Tally:
    """What was seen.

    Attributes:
        kills: SIGKILLs that hit a living process.
        hit: what it was doing, by verb.
        sessions: sessions that were carried to their end.
        launches: launches whose result counts.
        rebuilt: results that ``recover`` or ``--resume`` rebuilt, by verdict.
        faults: what must not be, one line each.
    """

    kills: int = 0
    hit: Counter[str] = field(default_factory=collections.Counter)
    sessions: int = 0
    launches: int = 0
    rebuilt: Counter[str] = field(default_factory=collections.Counter)
    faults: List[str] = field(default_factory=list)


class Killer:
    """Works in one results directory.

    Args:
        folder: results directory.
        seed: of the moments.
        note: told, now and then, how far it is.
    """

    def __init__(
        self, folder: Path, seed: int, note: Callable[[str], None] = lambda text: None
    ) -> None:
        self._folder = folder
        self._note = note
        self._random = random.Random(seed)
        self._final: Dict[str, bytes] = {}
        self._session: Optional[str] = None
        self.tally = Tally()

    def run(self, kills: int) -> Tally:
        """Kills so often, then lets the last session end."""
        tally = self.tally
        while tally.kills < kills:
            victim = "recover" if self._session and self._random.random() < 0.15 else "bench"
            argv = self._build(victim)
            killed = self._start_and_kill(argv)
            tally.kills += killed
            tally.hit[victim] += killed
            if killed and tally.kills % 20 == 0:
                self._note(f"{tally.kills} kills, {len(tally.faults)} faults")
            self._session = self._session or self._find_session()
            if killed and self._session and self._random.random() < 0.5:
                # Half of the time its ranks are ended at once, else they train to their end.
                self._call(self._build("recover"))
            self._look()
            if not killed and victim == "bench":
                self._finish_session()
        while self._session is not None:
            self._call(self._build("recover"))
            self._call(self._build("bench"))
            self._look()
            self._finish_session()
        self._call(self._build("recover"))
        self._look(at_end=True)
        return tally

    def _build(self, verb: str) -> List[str]:
        base = [sys.executable, "-m", "bench", verb]
        if verb == "recover":
            return [*base, str(self._folder), "--end-orphans"]
        if self._session is None:
            return [*base, "--output", str(self._folder), *_SWEEP]
        more = ["--resume", self._session, "--quiet", "--format", "json"]
        return [*base, "--output", str(self._folder), *more]

    def _start_and_kill(self, argv: List[str]) -> bool:
        """Whether it was still alive when the kill came."""
        process = start(argv)
        try:
            process.communicate(timeout=self._random.uniform(0.2, 6.0))
            return False
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return process.returncode == -9

    def _call(self, argv: List[str]) -> None:
        process = start(argv)
        _, errors = process.communicate(timeout=_LONGEST_SECONDS)
        text = errors.decode("utf-8", "replace")
        # Orphans of the last kill may still run: simulated ranks end by themselves.
        if process.returncode not in (0, 6) or "Traceback" in text:
            self.tally.faults.append(f"{argv[3]} exited with {process.returncode}: {text[-300:]}")

    def _find_session(self) -> Optional[str]:
        plans = sorted((self._folder / "sessions").glob("*.json"), key=lambda p: p.stat().st_mtime)
        done = {str(one["session"]["id"]) for one in self._read() if self._is_complete(one)}
        return plans[-1].stem if plans and plans[-1].stem not in done else None

    def _is_complete(self, document: Dict[str, Any]) -> bool:
        return len(self._list_counting(document["session"]["id"])) == N_LAUNCHES

    def _read(self) -> List[Dict[str, Any]]:
        documents = []
        for run in list_run_directories(self._folder):
            try:
                plain = json.loads((run / "result.json").read_text(encoding="utf-8"))
                check_document(plain, run.name)
                documents.append(plain)
            except Exception as error:
                self.tally.faults.append(f"{run.name} cannot be read: {error}")
        return documents

    def _list_counting(self, session: str) -> List[int]:
        """Places in the order of a session that have a finished result."""
        return sorted(
            one["session"]["index"]
            for one in self._read()
            if one["session"]["id"] == session and one["state"] == "finished"
        )

    def _look(self, at_end: bool = False) -> None:
        """Finished results stay as they are, whole and one per launch."""
        for one in self._read():
            path = self._folder / "runs" / one["run_id"] / "result.json"
            content = path.read_bytes()
            if one["run_id"] in self._final and self._final[one["run_id"]] != content:
                self.tally.faults.append(f"{one['run_id']}: a final result was changed")
            if one["state"] != "running":
                if one["run_id"] not in self._final and "recovered" in one["found"]:
                    kind = "finished" if one["failure"] is None else one["failure"]["kind"]
                    self.tally.rebuilt[kind] += 1
                self._final[one["run_id"]] = content
            elif at_end:
                self.tally.faults.append(f"{one['run_id']}: still running at the end")
            if one["state"] == "finished" and min(r["last_step"] or 0 for r in one["ranks"]) < 100:
                self.tally.faults.append(f"{one['run_id']}: finished without its last step")
        gone = [name for name in self._final if not (self._folder / "runs" / name).exists()]
        self.tally.faults += [f"{name}: a result is lost" for name in gone]

    def _finish_session(self) -> None:
        """Checks a session that ran to its end, and begins another one."""
        if self._session is None:
            return
        places = self._list_counting(self._session)
        if len(set(places)) < N_LAUNCHES:
            return
        if places != list(range(N_LAUNCHES)):
            self.tally.faults.append(f"session {self._session}: launches {places}")
        self.tally.sessions += 1
        self.tally.launches += len(places)
        self._session = None


def kill_at_random(
    folder: Path, kills: int, seed: int, note: Callable[[str], None] = lambda text: None
) -> Tally:
    """Kills so often and looks at what is left; ``faults`` of the tally must be empty."""
    killer = Killer(folder, seed, note)
    tally = killer.run(kills)
    deadline = time.monotonic() + 30.0
    while list_processes(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    tally.faults += [f"process {one} lives on" for one in list_processes(folder)]
    leftovers = [p for p in folder.rglob(".*") if p.name.startswith((".result", ".spec"))]
    tally.faults += [f"{path} was left behind" for path in leftovers]
    return tally


def _print_error(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Prints the tally; the exit code says whether anything was lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        tally = kill_at_random(Path(folder), options.kills, options.seed, _print_error)
    hits = ", ".join(f"{count} in {verb}" for verb, count in sorted(tally.hit.items()))
    rebuilt = ", ".join(f"{count} {kind}" for kind, count in sorted(tally.rebuilt.items()))
    print(f"SIGKILLs: {tally.kills} ({hits})")
    print(f"results rebuilt from logs: {rebuilt or 'none'}")
    print(f"sessions carried to their end: {tally.sessions}, launches that count: {tally.launches}")
    print(f"lost, double, changed or half-written: {len(tally.faults)}")
    for line in tally.faults[:20]:
        print(f"  {line}")
    print(f"took {time.monotonic() - began:.0f} s")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
