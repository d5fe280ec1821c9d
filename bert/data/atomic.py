"""Outputs that appear under their final name only when they are whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from typing import IO, Any, Iterator

from bert.errors import OutputError


@contextlib.contextmanager
def atomic_file(path: str, mode: str = "wb", **kwargs: Any) -> Iterator[IO]:
    """Opens a temporary file beside `path`; renames it to `path` when the block ends well.

    Args:
        path: final name; its directory must exist.
        mode: "wb" or "w".
        **kwargs: further arguments of `open`.

    Raises:
        OutputError: the directory is absent or not writable, or the disk is full.
    """
    directory = os.path.dirname(path) or "."
    try:
        descriptor, temporary = tempfile.mkstemp(
            prefix="." + os.path.basename(path) + ".", suffix=".tmp", dir=directory
        )
    except OSError as error:
        raise _output_error(path, error) from error
    try:
        # mkstemp makes files private; outputs get what the umask gives to any other file.
        os.chmod(temporary, 0o666 & ~_current_umask())
        with open(descriptor, mode, **kwargs) as stream:
            yield stream
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError) and not isinstance(error, BrokenPipeError):
            raise _output_error(path, error) from error
        raise


@contextlib.contextmanager
def atomic_directory(path: str) -> Iterator[str]:
    """Yields a temporary directory beside `path`; renames it to `path` when the block ends well.

    When another process has made `path` meanwhile, its directory is kept and ours is dropped:
    the caller must only use this where both would be equal.

    Raises:
        OutputError: the parent directory cannot be made or written, or the disk is full.
    """
    parent = os.path.dirname(os.path.abspath(path))
    try:
        os.makedirs(parent, exist_ok=True)
        temporary = tempfile.mkdtemp(
            prefix="." + os.path.basename(path) + ".", suffix=".tmp", dir=parent
        )
    except OSError as error:
        raise _output_error(path, error) from error
    try:
        os.chmod(temporary, 0o777 & ~_current_umask())
        yield temporary
        try:
            os.rename(temporary, path)
        except OSError:
            if not os.path.isdir(path):
                raise
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _output_error(path: str, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write {path}: {error.strerror or error}; "
        "give a directory that exists, is writable and has room"
    )


def _current_umask() -> int:
    # There is no call that only reads the umask.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
