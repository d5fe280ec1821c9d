"""SQLite index over result folders: fast to ask, and nothing is lost with it.

The folders are the truth. The index notes name, time and size of each ``result.json`` and reads
only what is new or changed, so that an update of thousands of runs takes the time of a listing.
It may be deleted at any time. Several processes may update it at once: files are read outside of
the transaction, and what is written does not depend on what another one wrote (write-ahead log,
one immediate transaction, replacing rows by their key).
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Tuple

from bench.errors import DataError, OutputError
from bench.judge.launches import Launch, launch_of_result
from bench.results.fingerprint import Fingerprint
from bench.results.model import Failure
from bench.results.store import RESULT_NAME, list_run_directories, read_result

INDEX_NAME = "history.sqlite"
INDEX_VERSION = 2
"""Another version on disk is dropped and read anew from the folders."""

BUSY_SECONDS = 60.0

_TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    folder TEXT PRIMARY KEY,
    modified_ns INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    run_id TEXT NOT NULL,
    session TEXT NOT NULL,
    started_at TEXT NOT NULL,
    launch TEXT
);
CREATE INDEX IF NOT EXISTS runs_by_time ON runs (started_at);
"""


@dataclass(frozen=True)
class Update:
    """What an update did.

    Attributes:
        n_read: results that were new or changed.
        n_removed: results whose folder is gone.
        n_runs: results in the index now.
        damaged: results that cannot be read, one line each.
    """

    n_read: int
    n_removed: int
    n_runs: int
    damaged: Tuple[str, ...]


def update_index(path: Path, output: Path, rebuild: bool = False) -> Update:
    """Brings the index to what the folders hold.

    Args:
        path: of the index; made if absent.
        output: results folder.
        rebuild: read everything anew.

    Raises:
        OutputError: the index cannot be written, or another process holds it for a minute.
        DataError: the file is no index.
    """
    # Names, not paths: the results may be mounted elsewhere tomorrow.
    folders = {folder.name: folder for folder in list_run_directories(output)}
    with _open(path) as connection:
        known = {} if rebuild else _read_stamps(connection)
        fresh = []
        for name, folder in folders.items():
            stamp = _get_stamp(folder)
            if stamp is not None and known.get(name) != stamp:
                fresh.append((name, *stamp, *_read_row(folder)))
        damaged = tuple(row[-1] for row in fresh if row[-2] is None)
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)",
            [row[:-1] for row in fresh],
        )
        stored = [name for (name,) in connection.execute("SELECT folder FROM runs")]
        # Looked up again: another process may have stored a run that was not there before.
        gone = [name for name in stored if not (output / "runs" / name / RESULT_NAME).is_file()]
        connection.executemany("DELETE FROM runs WHERE folder = ?", [(name,) for name in gone])
        count = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
        connection.execute("COMMIT")
    return Update(len(fresh) - len(damaged), len(gone), count, damaged)


def read_launches(path: Path) -> List[Launch]:
    """All launches of the index, oldest first.

    Raises:
        OutputError: the index cannot be opened.
        DataError: the file is no index.
    """
    with _open(path) as connection:
        rows = connection.execute(
            "SELECT launch FROM runs WHERE launch IS NOT NULL ORDER BY started_at, run_id"
        ).fetchall()
    return [_restore_launch(text) for (text,) in rows]


@contextlib.contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        connection = sqlite3.connect(str(path), timeout=BUSY_SECONDS, isolation_level=None)
    except sqlite3.Error as error:
        raise OutputError(f"cannot open the index {path}: {error}") from error
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version != INDEX_VERSION:
            connection.execute("DROP TABLE IF EXISTS runs")
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={INDEX_VERSION}")
        connection.execute("COMMIT")
        yield connection
    except sqlite3.OperationalError as error:
        raise OutputError(f"cannot use the index {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise DataError(
            f"{path} is no index ({error}); delete it, the results hold all that was in it"
        ) from error
    finally:
        connection.close()


def _read_stamps(connection: sqlite3.Connection) -> Dict[str, Tuple[int, int]]:
    rows = connection.execute("SELECT folder, modified_ns, size_bytes FROM runs")
    return {folder: (modified, size) for folder, modified, size in rows}


def _get_stamp(folder: Path) -> Optional[Tuple[int, int]]:
    try:
        found = (folder / RESULT_NAME).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _read_row(folder: Path) -> Tuple[str, str, str, Optional[str], str]:
    """Run id, session, start, the launch as JSON or None, and why it is None."""
    try:
        launch = launch_of_result(read_result(folder))
    except DataError as error:
        return folder.name, "", "", None, str(error)
    return launch.run_id, launch.session, launch.started_at, json.dumps(asdict(launch)), ""


def _restore_launch(text: str) -> Launch:
    plain = json.loads(text)
    plain["flaws"] = tuple(plain["flaws"])
    plain["failure"] = Failure(**plain["failure"]) if plain["failure"] else None
    plain["fingerprint"] = Fingerprint(plain["fingerprint"]["values"])
    return Launch(**plain)
