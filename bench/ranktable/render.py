"""Rank tables to text, and from one form to another."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Dict, List, Mapping

from bench.errors import UsageError
from bench.ranktable.model import RankEntry, RankTable, group_by_server


def render_rank_table(table: RankTable) -> str:
    """The table in its form, as indented JSON with a line end.

    Raises:
        UsageError: the form has no place for how its ranks lie; see :func:`convert_rank_table`.
    """
    builders = {"1.0": _build_servers, "lab": _build_lab, "pod": _build_pods}
    return json.dumps(builders[table.form](table), indent=2) + "\n"


def convert_rank_table(table: RankTable, form: str, pod_prefix: str = "bert") -> RankTable:
    """The same ranks in another form.

    Args:
        table: a sound table.
        form: one of :data:`bench.ranktable.model.FORMS`.
        pod_prefix: pods that have no name yet are called ``<prefix>-<n>``, n from 0.

    Raises:
        UsageError: the pod form, which has no rank ids, cannot hold the order of the ranks.
    """
    entries = table.entries
    if form == "pod":
        _check_order(table)
        number = {server_id: index for index, server_id in enumerate(group_by_server(table))}
        entries = tuple(
            dataclasses.replace(
                entry, pod_name=entry.pod_name or f"{pod_prefix}-{number[entry.server_id]}"
            )
            for entry in entries
        )
    return dataclasses.replace(table, form=form, entries=entries, remarks=())


def _check_order(table: RankTable) -> None:
    """Ranks of the pod form follow the order of pods: a server's ranks must be neighbours."""
    before = ""
    seen = set()
    for entry in table.entries:
        if entry.server_id != before and entry.server_id in seen:
            raise UsageError(
                "the pod form has no rank ids: the ranks of a server must follow each other, "
                f"those of {entry.server_id} do not (rank {entry.rank_id})"
            )
        seen.add(entry.server_id)
        before = entry.server_id


def _build_device(entry: RankEntry) -> Dict[str, str]:
    return {"device_id": str(entry.device_id), "device_ip": entry.device_ip}


def _build_servers(table: RankTable) -> Mapping[str, Any]:
    servers = group_by_server(table)
    return {
        "server_count": str(len(servers)),
        "server_list": [
            {
                "server_id": server_id,
                "device": [
                    {**_build_device(entry), "rank_id": str(entry.rank_id)} for entry in entries
                ],
            }
            for server_id, entries in servers.items()
        ],
        "status": table.status,
        "version": "1.0",
    }


def _build_lab(table: RankTable) -> Mapping[str, Any]:
    instances = [
        {
            "devices": [_build_device(entry)],
            "rank_id": str(entry.rank_id),
            "server_id": entry.server_id,
        }
        for entry in table.entries
    ]
    # One name for each port of a server; every server names its ports alike.
    n_ports = max(len(entries) for entries in group_by_server(table).values())
    ports = [f"eth{index}" for index in range(n_ports)]
    return {
        "board_id": table.lab.board_id,
        "chip_info": table.lab.chip_info,
        "deploy_mode": "lab",
        "group_count": "1",
        "group_list": [
            {
                "device_num": str(table.n_ranks),
                "server_num": str(len(group_by_server(table))),
                "group_name": table.group_name,
                "instance_count": str(len(instances)),
                "instance_list": instances,
            }
        ],
        "para_plane_nic_location": table.lab.nic_location,
        "para_plane_nic_name": ports,
        "para_plane_nic_num": str(len(ports)),
        "status": table.status,
    }


def _build_pods(table: RankTable) -> Mapping[str, Any]:
    pods: Dict[str, List[RankEntry]] = {}
    for entry in table.entries:
        pods.setdefault(entry.pod_name, []).append(entry)
    return {
        "status": table.status,
        "group_count": "1",
        "group_list": [
            {
                "group_name": table.group_name,
                "device_count": str(table.n_ranks),
                "instance_count": str(len(pods)),
                "instance_list": [
                    {
                        "pod_name": pod_name,
                        "server_id": entries[0].server_id,
                        "devices": [_build_device(entry) for entry in entries],
                    }
                    for pod_name, entries in pods.items()
                ],
            }
        ],
    }
