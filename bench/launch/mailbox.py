"""Messages between the head of a session and its hosts: small files in a shared folder.

Each party rewrites one file of its own, whole, and reads those of the others. There is no server
and no port; whoever may write in the folder may give orders, so it is the user's own, mode 0700.

::

    <output>/hosts/<session>/head.json          the head: sign of life, what is to be done
    <output>/hosts/<session>/host-<n>.json      agent n: sign of life, what it does
    <output>/hosts/<session>/plan-<n>.json      the ranks that agent n is to start
    <output>/hosts/<session>/environment-<n>.json   what agent n found on its host
    <output>/hosts/<session>/launcher.log       output of the scheduler's launcher and of agents
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any, Dict, Optional

from bench.errors import InfrastructureError, OutputError

HEAD = "head.json"
LAUNCHER_LOG = "launcher.log"
MAX_MESSAGE_BYTES = 8 << 20

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


def name_status(index: int) -> str:
    """File of an agent's own messages."""
    return f"host-{index}.json"


def name_plan(index: int) -> str:
    """File with the ranks of an agent."""
    return f"plan-{index}.json"


def name_environment(index: int) -> str:
    """File with what an agent found."""
    return f"environment-{index}.json"


def make_folder(output: Path, key: str) -> Path:
    """Makes the folder of a session, for its owner only.

    Raises:
        OutputError: it cannot be made, or is not ours alone.
    """
    if not _KEY.match(key):
        raise OutputError(f"{key!r} cannot name a folder of messages")
    folder = output / "hosts" / key
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
    except OSError as error:
        raise OutputError(f"cannot make {folder}: {error.strerror}") from error
    check_folder(folder)
    return folder


def check_folder(folder: Path) -> None:
    """Refuses a folder through which others could give orders.

    Raises:
        InfrastructureError: absent, a link, another user's, or writable by others.
    """
    try:
        found = os.lstat(str(folder))
    except OSError as error:
        raise InfrastructureError(
            f"no folder of messages {folder}: {error.strerror}; all hosts must see the same "
            "--output directory"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise InfrastructureError(
            f"{folder} must be a folder of this user that nobody else can write to"
        )


def write_message(folder: Path, name: str, content: Dict[str, Any]) -> None:
    """Replaces a file as a whole; readers see the old or the new one.

    Raises:
        OutputError: it cannot be written.
    """
    path = folder / name
    temporary = folder / f".{name}.{secrets.token_hex(4)}"
    try:
        descriptor = os.open(str(temporary), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(content, stream)
        os.replace(str(temporary), str(path))
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise OutputError(f"cannot write {path}: {error.strerror}") from error


def read_message(folder: Path, name: str) -> Optional[Dict[str, Any]]:
    """Reads a file of another party; None while it is not there or not readable."""
    try:
        with (folder / name).open("rb") as stream:
            data = stream.read(MAX_MESSAGE_BYTES + 1)
        content = json.loads(data.decode("utf-8")) if len(data) <= MAX_MESSAGE_BYTES else None
    except (OSError, ValueError, RecursionError):
        # Network file systems may show a file that is being replaced as stale for a moment.
        return None
    return content if isinstance(content, dict) else None


def clear_folder(folder: Path) -> None:
    """Removes the messages of a session that ended well; what is not ours stays."""
    with contextlib.suppress(OSError):
        for path in list(folder.iterdir()):
            if path.name in (HEAD, LAUNCHER_LOG) or re.match(
                r"\.?(host|plan|environment)-\d+\.json", path.name
            ):
                path.unlink()
        folder.rmdir()
        folder.parent.rmdir()
