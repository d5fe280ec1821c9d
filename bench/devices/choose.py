"""Which backend a session uses: by name, or the best that is there, said aloud."""

from __future__ import annotations

from typing import Callable, Dict, List, Optional, Tuple

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
                f"backend {name} was asked for and is not there: {found.reason}"
            )
        return backends[name], f"backend {name} as asked: {found.reason}"
    passed_over: List[Tuple[str, str]] = []
    for candidate in AUTO_ORDER:
        found = backends[candidate].probe()
        if found.available:
            why = found.reason + "".join("; not {}: {}".format(*item) for item in passed_over)
            return backends[candidate], f"backend {candidate} chosen: {why}"
        passed_over.append((candidate, found.reason))
    raise BackendUnavailableError("no backend is available")
