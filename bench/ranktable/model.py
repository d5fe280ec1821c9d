"""A rank table as data, free of its written form.

Three written forms describe the same facts; all values in them are JSON texts, numbers included.

========  ==========================================================================================
``1.0``   ``server_list`` of servers, each with ``device`` entries {device_id, device_ip, rank_id};
          the form that HCCL documents and that ``hccl-controller`` writes
``lab``   ``group_list`` with one group; one instance for each device, ``rank_id`` on the instance
``pod``   ``group_list`` with one group; one instance for each pod, with all its devices and no rank
          ids: ranks follow the order of pods and devices, identity is ``POD_NAME``
========  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, Tuple

FORMS = ("1.0", "lab", "pod")
COMPLETED = "completed"
CARDS_PER_SERVER = 8
MAX_SERVERS = 512
MAX_CARDS = CARDS_PER_SERVER * MAX_SERVERS
COUNTS_PER_SERVER = (1, 2, 4, 8)
RING_SIZE = 4
"""Cards 0-3 and 4-7 of a server are two rings."""


@dataclass(frozen=True)
class RankEntry:
    """One rank.

    Attributes:
        rank_id: global rank, from 0.
        device_id: physical device on its server.
        device_ip: address of the device's own network port.
        server_id: identity of the server, by custom the host's address.
        pod_name: the pod that runs it, empty outside the pod form.
        where: its place in the file, for messages; empty when it was not read from one.
    """

    rank_id: int
    device_id: int
    device_ip: str
    server_id: str
    pod_name: str = ""
    where: str = ""


@dataclass(frozen=True)
class LabFacts:
    """What only the lab form says, with the values of the original's samples as defaults.

    Attributes:
        board_id: board type; 0x0000 is found on x86 servers, 0x0020 and 0x002f on Arm ones.
        chip_info: chip series.
        nic_location: where the parameter network's ports are.
    """

    board_id: str = "0x0000"
    chip_info: str = "910"
    nic_location: str = "device"


@dataclass(frozen=True)
class RankTable:
    """A table.

    Attributes:
        form: one of :data:`FORMS`.
        status: ``"completed"`` when it may be used.
        entries: one per rank, in rank order as long as the rank ids are sound.
        group_name: of the legacy forms.
        lab: of the lab form.
        remarks: what was found beside the facts above and is not kept, one line each.
    """

    form: str
    status: str
    entries: Tuple[RankEntry, ...]
    group_name: str = ""
    lab: LabFacts = LabFacts()
    remarks: Tuple[str, ...] = ()

    @property
    def n_ranks(self) -> int:
        """Number of ranks, which ``RANK_SIZE`` must equal."""
        return len(self.entries)


def group_by_server(table: RankTable) -> Dict[str, List[RankEntry]]:
    """Entries of each server, servers in the order in which the ranks meet them."""
    servers: Dict[str, List[RankEntry]] = {}
    for entry in table.entries:
        servers.setdefault(entry.server_id, []).append(entry)
    return servers
