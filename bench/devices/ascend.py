"""Ascend cards: device nodes, the adapter, and the environment that HCCL reads.

Written to the documented contract of CANN 20.2; see README, "What has been measured where".
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

from bench.devices.base import Allocation, Availability, Backend, Placement
from bench.devices.hosts import Host, choose_addresses, place_on_devices
from bench.errors import BackendUnavailableError, OutputError
from bench.ranktable.addresses import read_addresses
from bench.ranktable.create import build_rank_table, select_ranks
from bench.ranktable.model import RankTable
from bench.ranktable.parse import read_rank_table
from bench.ranktable.render import render_rank_table
from bench.ranktable.rules import check_rank_table
from bench.spec import RunSpec

CARDS_PER_SERVER = 8
HCCN_CONF = "/etc/hccn.conf"
# HCCL tells servers apart by this name; a job of one server may take any.
_LOCAL_SERVER = "127.0.0.1"
_DEVICE_NODE = re.compile(r"davinci(\d+)$")
_HCCL_CONNECT_TIMEOUT_SECONDS = "600"
_PROBE_TIMEOUT_SECONDS = 60.0


class AscendBackend(Backend):
    """Ascend 910 cards of this host.

    Args:
        device_root: folder of the device nodes; a test passes its own.
        python: interpreter that must find ``npu_bridge``.
        hccn_conf: where the driver keeps the addresses of this host's cards.
    """

    name = "ascend"
    default_iterations_per_loop = 100

    def __init__(
        self,
        device_root: str = "/dev",
        python: Optional[str] = None,
        hccn_conf: str = HCCN_CONF,
    ) -> None:
        self._device_root = device_root
        self._hccn_conf = Path(hccn_conf)
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

    def allocate(
        self, spec: RunSpec, sweep: Sequence[int], hosts: Sequence[Host] = ()
    ) -> Allocation:
        """One process per device: on this host the first ones by id, on several as the table says.

        Raises:
            BackendUnavailableError: too few devices.
            UsageError: the rank table is wrong or too small.
        """
        if hosts:
            table = find_rank_table(spec, hosts)
            return place_on_devices(hosts, spec.n_cards, spec.hosts.cards_per_host, table)
        devices = list_device_ids(self._device_root)
        n_local = min(spec.n_cards, CARDS_PER_SERVER)
        if len(devices) < n_local:
            raise BackendUnavailableError(
                f"{spec.n_cards} cards asked, {len(devices)} found under {self._device_root}"
            )
        if spec.n_cards > CARDS_PER_SERVER:
            raise BackendUnavailableError(
                f"{spec.n_cards} cards need several hosts; one host has {CARDS_PER_SERVER}; "
                "choose a --launcher for several"
            )
        chosen = devices[: spec.n_cards]
        table = self._find_local_table(spec) if spec.n_cards > 1 or spec.rank_table else None
        if table is not None:
            chosen = [entry.device_id for entry in table.entries]
            absent = sorted(set(chosen) - set(devices))
            if absent:
                raise BackendUnavailableError(
                    f"the rank table names device {absent[0]}, which {self._device_root} has not"
                )
        placements = tuple(
            Placement(rank=rank, device=device, cores=None) for rank, device in enumerate(chosen)
        )
        return Allocation(placements, cores_per_card=None, oversubscribed=False)

    def prepare_shared(
        self,
        spec: RunSpec,
        allocation: Allocation,
        hosts: Sequence[Host] = (),
        run_dir: Optional[Path] = None,
    ) -> Dict[str, str]:
        """The rank table, which several cards cannot do without, cut to the cards of the run.

        Raises:
            BackendUnavailableError: several cards and no readable rank table.
            UsageError: the table breaks a rule; see :mod:`bench.ranktable.rules`.
            OutputError: the table of the run cannot be written.
        """
        path = name_rank_table(spec)
        if spec.n_cards == 1 and not spec.rank_table:
            return {}
        table = find_rank_table(spec, hosts) if hosts else self._find_local_table(spec)
        if table is None:
            raise BackendUnavailableError(
                f"{spec.n_cards} Ascend cards need a rank table, none is given and "
                f"{self._hccn_conf} is not there to make it from; name one with --set "
                "rank_table=FILE or RANK_TABLE_FILE, make one with 'ascend-bert ranktable create'"
            )
        if run_dir is None:
            return {"rank_table": os.path.abspath(path)}
        written = run_dir / "rank_table.json"
        try:
            written.write_text(render_rank_table(table), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {written}: {error.strerror}") from error
        return {"rank_table": str(written.resolve())}

    def _find_local_table(self, spec: RunSpec) -> Optional[RankTable]:
        """The table that was given, else one made from the addresses of this host's own cards."""
        table = find_rank_table(spec, ())
        if table is not None or not self._hccn_conf.is_file():
            return table
        addresses = read_addresses(self._hccn_conf)
        devices = list_device_ids(self._device_root)[: spec.n_cards]
        return build_rank_table({_LOCAL_SERVER: addresses}, spec.n_cards, devices)

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


def name_rank_table(spec: RunSpec) -> str:
    """Path of the rank table that was given, empty if none was."""
    return spec.rank_table or os.environ.get("RANK_TABLE_FILE", "")


def find_rank_table(spec: RunSpec, hosts: Sequence[Host]) -> Optional[RankTable]:
    """The ranks of a run: the first ones of the table that was given, else made from the hosts.

    Args:
        spec: the run.
        hosts: hosts that know the addresses of their devices.

    Returns:
        A sound table of ``spec.n_cards`` ranks; None where there is nothing to make it from.

    Raises:
        UsageError: the table given is wrong, or has too few ranks.
    """
    path = name_rank_table(spec)
    if path:
        table = read_rank_table(Path(path))
        check_rank_table(table, path)
        return select_ranks(table, spec.n_cards)
    if not hosts or not all(host.device_addresses for host in hosts):
        return None
    addresses = choose_addresses(hosts, spec.hosts.network)
    return build_rank_table(
        {host.server_id or addresses[host.index]: dict(host.device_addresses) for host in hosts},
        spec.n_cards,
    )


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
