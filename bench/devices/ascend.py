"""Ascend cards: device nodes, the adapter, and the environment that HCCL reads.

Written to the documented contract of CANN 20.2; see README, "What has been measured where".
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Dict, List, Mapping, Optional, Sequence

from bench.devices.base import Allocation, Availability, Backend, Placement
from bench.errors import BackendUnavailableError
from bench.spec import RunSpec

CARDS_PER_SERVER = 8
_DEVICE_NODE = re.compile(r"davinci(\d+)$")
_HCCL_CONNECT_TIMEOUT_SECONDS = "600"
_PROBE_TIMEOUT_SECONDS = 60.0


class AscendBackend(Backend):
    """Ascend 910 cards of this host.

    Args:
        device_root: folder of the device nodes; a test passes its own.
        python: interpreter that must find ``npu_bridge``.
    """

    name = "ascend"
    default_iterations_per_loop = 100

    def __init__(self, device_root: str = "/dev", python: Optional[str] = None) -> None:
        self._device_root = device_root
        self._python = python or sys.executable

    def probe(self) -> Availability:
        """Counts ``davinciN`` nodes and asks the trainer's interpreter for ``npu_bridge``."""
        devices = list_device_ids(self._device_root)
        if not devices:
            return Availability(False, 0, f"no {self._device_root}/davinci* device")
        if not has_npu_bridge(self._python):
            return Availability(
                False,
                len(devices),
                f"{len(devices)} device(s), but {self._python} finds no npu_bridge",
            )
        return Availability(True, len(devices), f"{len(devices)} device(s) and npu_bridge")

    def allocate(self, spec: RunSpec, sweep: Sequence[int]) -> Allocation:
        """Takes the first devices by id; one process per device."""
        devices = list_device_ids(self._device_root)
        n_local = min(spec.n_cards, CARDS_PER_SERVER)
        if len(devices) < n_local:
            raise BackendUnavailableError(
                f"{spec.n_cards} cards asked, {len(devices)} found under {self._device_root}"
            )
        if spec.n_cards > CARDS_PER_SERVER:
            raise BackendUnavailableError(
                f"{spec.n_cards} cards need several hosts; one host has {CARDS_PER_SERVER}"
            )
        placements = tuple(
            Placement(rank=rank, device=devices[rank], cores=None) for rank in range(spec.n_cards)
        )
        return Allocation(placements, cores_per_card=None, oversubscribed=False)

    def prepare_shared(self, spec: RunSpec, allocation: Allocation) -> Dict[str, str]:
        """The rank table, which several cards cannot do without.

        Raises:
            BackendUnavailableError: several cards and no readable rank table.
        """
        if spec.n_cards == 1 and not spec.rank_table:
            return {}
        table = spec.rank_table or os.environ.get("RANK_TABLE_FILE", "")
        if not table or not os.path.isfile(table):
            raise BackendUnavailableError(
                "{} Ascend cards need a rank table, {}; name one with --set rank_table=FILE "
                "or RANK_TABLE_FILE".format(
                    spec.n_cards, f"{table} is not a file" if table else "none is given"
                )
            )
        return {"rank_table": os.path.abspath(table)}

    def build_rank_environment(
        self, spec: RunSpec, allocation: Allocation, rank: int, shared: Mapping[str, str]
    ) -> Dict[str, str]:
        """The variables of the seed's launch scripts."""
        variables = {
            "ASCEND_DEVICE_ID": str(allocation.placements[rank].device),
            "HCCL_CONNECT_TIMEOUT": os.environ.get(
                "HCCL_CONNECT_TIMEOUT", _HCCL_CONNECT_TIMEOUT_SECONDS
            ),
            "ASCEND_GLOBAL_LOG_LEVEL": os.environ.get("ASCEND_GLOBAL_LOG_LEVEL", "3"),
            "SLOG_PRINT_TO_STDOUT": os.environ.get("SLOG_PRINT_TO_STDOUT", "0"),
        }
        if "rank_table" in shared:
            variables["RANK_TABLE_FILE"] = shared["rank_table"]
        return variables


def list_device_ids(device_root: str) -> List[int]:
    """Ids of the ``davinciN`` nodes, in order; empty when the folder cannot be read."""
    try:
        names = os.listdir(device_root)
    except OSError:
        return []
    matches = (_DEVICE_NODE.match(name) for name in names)
    return sorted(int(match.group(1)) for match in matches if match)


def has_npu_bridge(python: str) -> bool:
    """Whether an interpreter finds ``npu_bridge``, without importing it."""
    code = "import importlib.util as u, sys; sys.exit(u.find_spec('npu_bridge') is None)"
    try:
        done = subprocess.run(
            [python, "-c", code],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PROBE_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
