"""What an agent says of its host, and the way of that through a message."""

from __future__ import annotations

import ipaddress
import os
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import psutil

from bench.devices.ascend import list_device_ids
from bench.devices.cpu import list_usable_cores
from bench.devices.hosts import Host
from bench.errors import BenchError, InfrastructureError
from bench.ranktable.addresses import HCCN_CONF, read_addresses

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_NETWORK_NAMESPACE = "/proc/self/ns/net"
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def collect_host(
    index: int, server_id: str = "", max_ranks: Optional[int] = None, device: Optional[int] = None
) -> Host:
    """Looks at this host.

    Args:
        index: position among the hosts.
        server_id: identity that the scheduler gives it.
        max_ranks: ranks that this agent may start.
        device: the only device that it may use, None for all that there are.
    """
    devices = tuple(list_device_ids("/dev"))
    return Host(
        index=index,
        name=socket.gethostname(),
        server_id=server_id,
        networks=tuple(_list_networks()),
        cores=list_usable_cores(),
        devices=devices if device is None else tuple(d for d in devices if d == device),
        device_addresses=_read_device_addresses(),
        machine=find_machine(),
        network_namespace=find_network_namespace(),
        max_ranks=max_ranks,
    )


def host_to_dict(host: Host) -> Dict[str, Any]:
    """Plain values for a message."""
    return asdict(host)


def host_from_dict(plain: Mapping[str, Any]) -> Host:
    """The reverse.

    Raises:
        InfrastructureError: not what :func:`host_to_dict` gives: another version of the harness.
    """
    try:
        return Host(
            index=int(plain["index"]),
            name=str(plain["name"]),
            server_id=str(plain["server_id"]),
            networks=tuple(str(ipaddress.ip_interface(text)) for text in plain["networks"]),
            cores=tuple(int(core) for core in plain["cores"]),
            devices=tuple(int(device) for device in plain["devices"]),
            device_addresses=tuple((int(d), str(ip)) for d, ip in plain["device_addresses"]),
            machine=str(plain["machine"]),
            network_namespace=str(plain["network_namespace"]),
            ports=tuple(int(port) for port in plain["ports"]),
            max_ranks=None if plain["max_ranks"] is None else int(plain["max_ranks"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InfrastructureError(
            f"an agent describes its host in a form that is not known ({error}); all hosts need "
            "the same version of ascend-bert"
        ) from error


def _list_networks() -> List[str]:
    networks: List[str] = []
    for name, addresses in sorted(psutil.net_if_addrs().items()):
        for item in addresses:
            if item.family not in _FAMILIES or name == "lo":
                continue
            text = item.address.split("%")[0]
            try:
                interface = ipaddress.ip_interface(f"{text}/{_count_prefix(item.netmask)}")
            except ValueError:
                continue
            if not (interface.ip.is_loopback or interface.ip.is_link_local):
                networks.append(str(interface))
    # IPv4 first: TensorFlow 1.15 and HCCL are mostly used with it.
    return sorted(networks, key=lambda text: ":" in text)


def _count_prefix(netmask: Optional[str]) -> str:
    """``255.255.255.0`` as it is; ``ffff:ffff::`` as the number of its bits."""
    if netmask is None or ":" not in netmask:
        return netmask or "32"
    return str(bin(int(ipaddress.ip_address(netmask))).count("1"))


def _read_device_addresses() -> Tuple[Tuple[int, str], ...]:
    if not HCCN_CONF.is_file():
        return ()
    try:
        return tuple(sorted(read_addresses(HCCN_CONF).items()))
    except BenchError:
        return ()


def find_machine() -> str:
    """Identity of this machine until it is started anew; empty where there is none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def find_network_namespace() -> str:
    """Identity of the network that this process sees; empty where there is none."""
    try:
        return str(os.stat(_NETWORK_NAMESPACE).st_ino)
    except OSError:
        return ""
