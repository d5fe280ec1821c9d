"""What is asked of a container, read off flags and off the command that is to run in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from bench.errors import UsageError

ENGINES = ("docker", "podman")
BACKENDS = ("auto", "ascend", "cpu")
RUNTIMES = ("auto", "ascend", "none")
RESULTS = "/ascend-bert/results"
"""Where the image keeps results when the command does not say otherwise."""

IMAGE_USER = 1000
"""User id of the image's processes when none is given."""

_PATH_FLAGS = ("--data", "--output", "--spec")
_PATH_SETTINGS = ("data", "rank_table")
_SPEC_ENDINGS = (".yaml", ".yml")
_MAX_CARDS = 8


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host in the container.

    Attributes:
        source: path on the host.
        target: path in the container.
        writable: the container may change it.
    """

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True)
class ContainerRequest:
    """What is asked for.

    Attributes:
        n_cards: cards that the container needs at most.
        devices: ids of the devices to take; None takes the first ones.
        backend: one of :data:`BACKENDS`.
        engine: one of :data:`ENGINES`.
        runtime: one of :data:`RUNTIMES`.
        user: ``UID:GID`` of the processes; empty for that of the image.
        rootless: the engine runs without root.
        network: network of the container; empty for what suits the backend.
        shm_size: own shared memory of that size; empty for the host's on Ascend.
        writable: the root file system may be written.
        mounts: the user's folders.
        variables: environment of the container.
        image: reference of the image.
        command: verb and flags that run in it, paths made absolute.
    """

    n_cards: int = 1
    devices: Optional[Tuple[int, ...]] = None
    backend: str = "auto"
    engine: str = "docker"
    runtime: str = "auto"
    user: str = ""
    rootless: bool = False
    network: str = ""
    shm_size: str = ""
    writable: bool = False
    mounts: Tuple[Mount, ...] = ()
    variables: Tuple[Tuple[str, str], ...] = ()
    image: str = "ascend-bert"
    command: Tuple[str, ...] = ()


def parse_cards(text: str) -> int:
    """The largest of card counts like ``1,2,8``.

    Raises:
        UsageError: not such a list, or more than a host has.
    """
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise UsageError(f"--cards must be card counts like 1,2,8, got {text!r}")
    if max(counts) > _MAX_CARDS:
        raise UsageError(
            f"--cards {max(counts)}: a container gets the cards of one host, at most {_MAX_CARDS}"
        )
    return max(counts)


def parse_devices(text: str) -> Tuple[int, ...]:
    """Device ids like ``0-3,6``, sorted.

    Raises:
        UsageError: not such a list, or an id twice.
    """
    ids: List[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or len(first + last) > 6:
            raise UsageError(f"--devices must be device ids like 0-3,6, got {text!r}")
        low, high = int(first), int(last or first)
        if high < low or high - low > 63:
            raise UsageError(f"--devices: {part.strip()} is not a range of devices")
        ids.extend(range(low, high + 1))
    if len(set(ids)) != len(ids):
        raise UsageError(f"--devices {text}: a device is named twice")
    return tuple(sorted(ids))


def find_flags(command: Sequence[str]) -> Dict[str, str]:
    """Flags of a command and their values, ``--set key=value`` under ``key``; the last one counts.

    Only those that matter for the container are found, in both spellings, ``--data DIR`` and
    ``--data=DIR``.
    """
    return {name: value for _, name, value in _iter_values(command)}


def make_paths_absolute(command: Sequence[str], folder: str) -> Tuple[str, ...]:
    """The command with absolute paths: folders are mounted under the path that they have."""
    words = list(command)
    for position, name, value in _iter_values(command):
        if not _is_path(name, value):
            continue
        # The value is the end of its word, whatever stands before it.
        head = words[position][: len(words[position]) - len(value)]
        words[position] = head + os.path.normpath(os.path.join(folder, value))
    return tuple(words)


def list_mounts(
    flags: Mapping[str, str], data: str, output: str, rank_table: str, folder: str
) -> Tuple[Mount, ...]:
    """Folders and files of the user that the container needs.

    Args:
        flags: of the command (:func:`find_flags`); its paths stay as they are.
        data: folder of training data, mounted as ``/data``; empty for none.
        output: folder of results, mounted where the image keeps them.
        rank_table: file of ranks, which keeps its path; empty for none.
        folder: working directory, that relative paths start from.

    Raises:
        UsageError: a path that cannot be mounted.
    """

    def absolute(path: str) -> str:
        full = os.path.normpath(os.path.join(folder, path))
        if ":" in full or "\n" in full:
            raise UsageError(f"{path!r} cannot be mounted: a colon or line end in its name")
        return full

    results = flags.get("--output")
    mounts = [Mount(absolute(results or output), absolute(results) if results else RESULTS, True)]
    if data:
        mounts.append(Mount(absolute(data), "/data"))
    read = [value for name, value in flags.items() if name != "--output" and _is_path(name, value)]
    if rank_table and "rank_table" not in flags:
        read.append(rank_table)
    return tuple(mounts + [Mount(absolute(path), absolute(path)) for path in read])


def _iter_values(command: Sequence[str]) -> Iterator[Tuple[int, str, str]]:
    """Position of the word that ends with the value, name, value."""
    for position, word in enumerate(command):
        name, equals, value = word.partition("=")
        if not equals and position + 1 < len(command):
            position, value = position + 1, command[position + 1]
        if name == "--set":
            name, _, value = value.partition("=")
            if name in _PATH_SETTINGS and value:
                yield position, name, value
        elif name in ("--cards", "--backend", *_PATH_FLAGS) and value:
            yield position, name, value


def _is_path(name: str, value: str) -> bool:
    if name == "--spec":
        # Anything else is the name of a preset.
        return value.endswith(_SPEC_ENDINGS)
    return name in _PATH_FLAGS or name in _PATH_SETTINGS


def find_user(uid: int, gid: int, variables: Mapping[str, str]) -> str:
    """``UID:GID`` of the caller, seen through sudo."""
    sudo = (variables.get("SUDO_UID", ""), variables.get("SUDO_GID", ""))
    if uid == 0 and sudo[0].isdigit() and sudo[1].isdigit():
        return f"{sudo[0]}:{sudo[1]}"
    return f"{uid}:{gid}"
