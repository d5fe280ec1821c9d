"""Which backend a session uses: by name, or the best that is there, said aloud."""

from __future__ import annotations

from typing import Callable, Dict, Optional, Tuple

from bench.devices.ascend import AscendBackend
from bench.devices.base import Backend
from bench.devices.cpu import CpuBackend
from bench.devices.simulated import SimulatedBackend
from bench.errors import BackendUnavailableError

AUTO_ORDER = ("ascend", "cpu")
"""``auto`` never takes simulated cards: they would pass for a measurement."""


def build_backends(python: Optional[str] = None) -> Dict[str, Backend]:
    """All backends by name.

    Args:
        python: interpreter of the trainer, where the adapter is looked for.
    """
    makers: Tuple[Callable[[], Backend], ...] = (
        lambda: AscendBackend(python=python),
        CpuBackend,
        SimulatedBackend,
    )
    return {backend.name: backend for backend in (make() for make in makers)}


def choose_backend(name: str, backends: Dict[str, Backend]) -> Tuple[Backend, str]:
    """Picks the backend of a session.

    Args:
        name: a backend's name or ``"auto"``.
        backends: what there is to pick from.

    Returns:
        The backend and one line that says which and why.

    Raises:
        BackendUnavailableError: the named backend is not there.
    """
    if name != "auto":
        found = backends[name].probe()
        if not found.available:
            raise BackendUnavailableError(
                "backend {} was asked for and is not there: {}".format(name, found.reason)
            )
        return backends[name], "backend {} as asked: {}".format(name, found.reason)
    passed_over = []
    for candidate in AUTO_ORDER:
        found = backends[candidate].probe()
        if found.available:
            why = found.reason + "".join("; not {}: {}".format(*item) for item in passed_over)
            return backends[candidate], "backend {} chosen: {}".format(candidate, why)
        passed_over.append((candidate, found.reason))
    raise BackendUnavailableError("no backend is available")
