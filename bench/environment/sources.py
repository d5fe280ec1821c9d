"""Where the probes look, passed in so that a test can give them a machine of its own."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from bench.devices import command

COMMAND_TIMEOUT_SECONDS = 4.0
_MAX_FILE_BYTES = 1 << 20


class AbsentFactError(Exception):
    """A fact cannot be had; the message says why, in a few words for people."""


@dataclass(frozen=True)
class Fact:
    """What a probe found.

    Attributes:
        value: plain JSON value, None when absent.
        reason: why it is absent, None when it is there.
    """

    value: Any
    reason: Optional[str] = None


Facts = Dict[str, Fact]


def run_command(argv: Sequence[str], timeout_seconds: float) -> str:
    """Standard output of a short command, run without shell, terminal or messages in a language.

    Raises:
        AbsentFactError: not installed, failed, or too slow.
    """
    # Without optional locks "git status" writes nothing into the checkout that it looks at.
    answer = command.run_command(argv, timeout_seconds, {"GIT_OPTIONAL_LOCKS": "0"})
    if answer.reason is not None:
        raise AbsentFactError(answer.reason)
    return answer.output


@dataclass(frozen=True)
class World:
    """The machine that is looked at.

    Attributes:
        root: folder that stands for ``/``.
        variables: environment variables.
        run: runs a command, as :func:`run_command` does.
    """

    root: str = "/"
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    run: Callable[[Sequence[str], float], str] = run_command


@dataclass(frozen=True)
class Subject:
    """What the run will use; the probes look at no file of the user's beside these.

    Attributes:
        trainer_python: interpreter of the trainer, None when there is none to ask.
        trainer_folder: the trainer's package, None when not installed.
        output: results directory.
        data: directory of training data, None when the run reads none.
        model_config: model configuration file.
        rank_table: HCCL rank table.
    """

    trainer_python: Optional[str] = None
    trainer_folder: Optional[str] = None
    output: Optional[str] = None
    data: Optional[str] = None
    model_config: Optional[str] = None
    rank_table: Optional[str] = None


def take(read: Callable[[], Any]) -> Fact:
    """Turns whatever happens in ``read`` into a fact; a value of None is absent, too.

    Text of an unknown system can break any parser. That costs this one fact, never the run.
    """
    try:
        value = read()
    except AbsentFactError as error:
        return Fact(None, str(error))
    except Exception as error:
        return Fact(None, f"could not be understood: {type(error).__name__}: {error}"[:200])
    return Fact(None, "not stated by this system") if value is None else Fact(value)


def locate(world: World, path: str) -> str:
    """The path under the root of the world."""
    return os.path.join(world.root, path.lstrip("/"))


def read_text(world: World, path: str) -> str:
    """Text of a small file.

    Raises:
        AbsentFactError: there is no such file or it cannot be read.
    """
    try:
        with open(locate(world, path), "rb") as stream:
            return stream.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except FileNotFoundError as error:
        raise AbsentFactError(f"no {path}") from error
    except OSError as error:
        raise AbsentFactError(f"{path}: {error.strerror}") from error


def read_word(world: World, path: str) -> str:
    """Text of a file that holds one value, without the blanks around it."""
    return read_text(world, path).strip()


def read_first(world: World, paths: Sequence[str]) -> str:
    """Text of the first of several files that is there.

    Raises:
        AbsentFactError: none is.
    """
    reasons: List[str] = []
    for path in paths:
        try:
            return read_text(world, path)
        except AbsentFactError as error:
            reasons.append(str(error))
    raise AbsentFactError(reasons[0] if reasons else "nowhere to look")


def list_names(world: World, path: str) -> List[str]:
    """Sorted names in a folder.

    Raises:
        AbsentFactError: there is no such folder or it cannot be read.
    """
    try:
        return sorted(os.listdir(locate(world, path)))
    except FileNotFoundError as error:
        raise AbsentFactError(f"no {path}") from error
    except OSError as error:
        raise AbsentFactError(f"{path}: {error.strerror}") from error


def exists(world: World, path: str) -> bool:
    """Whether a file or folder is there."""
    return os.path.exists(locate(world, path))
