"""Backends by name. Each is imported only when it is asked for."""

from __future__ import annotations

from typing import Any, Type

from bert.errors import UnavailableError


def load_backend(name: str) -> Type[Any]:
    """Returns the backend class of that name.

    Raises:
        UnavailableError: if there is no such backend in this installation.
    """
    if name == "cpu":
        from bert.backends.cpu import CpuBackend

        return CpuBackend
    if name == "ascend":
        from bert.backends.ascend import AscendBackend

        return AscendBackend
    raise UnavailableError(
        f"--backend={name} is not part of this version of the trainer; use --backend=cpu"
    )
