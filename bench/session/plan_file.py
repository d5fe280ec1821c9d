"""The plan of a session on disk, written before its first launch, and its lock.

``<output>/sessions/<session id>.json`` says what was asked; which launches are done follows from
the result files alone. The harness of a session holds a lock (``flock``) on the file for as long as
it lives: the kernel drops it with the process, so that no lock can outlive its holder.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, List, Mapping, Optional, Tuple

from bench.errors import DataError, OutputError, UsageError
from bench.launch.identity import find_own_identity, identity_to_dict
from bench.results.store import check_run_id, write_text_atomically
from bench.spec import RunSpec, spec_from_dict, spec_to_dict

SESSIONS = "sessions"
PLAN_VERSION = 1

_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class SessionPlan:
    """What a session was to launch.

    Attributes:
        session_id: its identity.
        working_directory: where it was started; relative paths of its settings count from there.
        builds: label, settings and name of the backend of each build.
        order: names of the launches in order, as far as they are known beforehand.
    """

    session_id: str
    working_directory: str
    builds: Tuple[Tuple[str, RunSpec, str], ...]
    order: Tuple[str, ...]


def find_plan(output: Path, session_id: str) -> Path:
    """Where the plan of a session lies.

    Raises:
        DataError: not the identity of a session.
    """
    check_run_id(session_id)
    return output / SESSIONS / f"{session_id}.json"


def write_plan(output: Path, plan: SessionPlan) -> Path:
    """Writes the plan whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    path = find_plan(output, plan.session_id)
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {path.parent}: {error.strerror}") from error
    document = {
        "plan_version": PLAN_VERSION,
        "session_id": plan.session_id,
        "working_directory": plan.working_directory,
        "harness": identity_to_dict(find_own_identity()),
        "order": list(plan.order),
        "builds": [
            {"label": label, "backend": backend, "spec": spec_to_dict(spec)}
            for label, spec, backend in plan.builds
        ],
    }
    write_text_atomically(path, json.dumps(document, indent=1) + "\n")
    return path


def read_plan(output: Path, session_id: str) -> SessionPlan:
    """Reads a plan back.

    Raises:
        DataError: it is absent or damaged.
        UsageError: it holds a setting that is no longer known.
    """
    path = find_plan(output, session_id)
    try:
        plain: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"no session {session_id} under {output}: {error.strerror}; "
            "ascend-bert recover lists those that can go on"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    try:
        if plain["plan_version"] != PLAN_VERSION:
            raise DataError(f"{path} was written by another version of ascend-bert")
        return SessionPlan(
            str(plain["session_id"]),
            str(plain["working_directory"]),
            tuple(
                (str(b["label"]), spec_from_dict(b["spec"], str(path)), str(b["backend"]))
                for b in plain["builds"]
            ),
            tuple(map(str, plain["order"])),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not the plan of a session: {error!r}") from error


def list_sessions(output: Path) -> List[str]:
    """Identities of the sessions that have a plan, oldest first."""
    return sorted(path.stem for path in (output / SESSIONS).glob("*.json"))


class SessionLock:
    """Holds the lock of a session while it is entered.

    Args:
        output: where results go.
        session_id: the session; it must have a plan.
    """

    def __init__(self, output: Path, session_id: str) -> None:
        self._path = find_plan(output, session_id)
        self._session_id = session_id
        self._descriptor: Optional[int] = None

    def __enter__(self) -> SessionLock:
        """Takes the lock.

        Raises:
            UsageError: somebody else holds it.
            OutputError: the plan cannot be opened.
        """
        try:
            descriptor = os.open(str(self._path), os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise OutputError(f"cannot open {self._path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise UsageError(
                    f"session {self._session_id} is in other hands: its harness still runs, or "
                    "somebody recovers or resumes it"
                ) from error
            # A file system without locks; the identities in the results must do.
        self._descriptor = descriptor
        return self

    def __exit__(self, *exc: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
