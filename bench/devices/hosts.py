"""Hosts of a run, and which rank runs on which device of which host: the one place that says so."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

from bench.devices.base import Allocation, Placement
from bench.errors import BackendUnavailableError, InfrastructureError, UsageError
from bench.ranktable.model import CARDS_PER_SERVER, RankTable


@dataclass(frozen=True)
class Host:
    """A host as its own agent describes it.

    Attributes:
        index: position among the hosts of the session, from 0.
        name: host name.
        server_id: identity that the scheduler gives it, such as the address of a pod's host; empty
            if none.
        networks: its addresses with prefix length, ``"10.0.0.3/24"``, loopback left out.
        cores: core numbers that its agent may use.
        devices: ids of its accelerator devices.
        device_addresses: device id → address of the device's own network port.
        machine: identity of the machine (boot id), the same for agents that share one.
        network_namespace: identity of its network within the machine.
        ports: TCP ports that its agent keeps free for the ranks.
        max_ranks: ranks that it may get; None for any number.
    """

    index: int
    name: str
    server_id: str = ""
    networks: Tuple[str, ...] = ()
    cores: Tuple[int, ...] = ()
    devices: Tuple[int, ...] = ()
    device_addresses: Tuple[Tuple[int, str], ...] = ()
    machine: str = ""
    network_namespace: str = ""
    ports: Tuple[int, ...] = ()
    max_ranks: Optional[int] = None


def spread_ranks(
    hosts: Sequence[Host], n_cards: int, cards_per_host: Optional[int], fill: bool
) -> Tuple[int, ...]:
    """The host of each rank: neighbours on one host, hosts in order.

    Args:
        hosts: at least one.
        n_cards: ranks.
        cards_per_host: ranks of a host as asked; None to derive them.
        fill: fill a host with eight before the next one is used, as HCCL wants it; otherwise
            spread evenly over all hosts.

    Returns:
        Host index by rank.

    Raises:
        UsageError: the ranks do not fit.
    """
    if cards_per_host is None:
        cards_per_host = CARDS_PER_SERVER if fill else -(-n_cards // len(hosts))
    chosen: List[int] = []
    for host in hosts:
        room = cards_per_host if host.max_ranks is None else min(cards_per_host, host.max_ranks)
        chosen += [host.index] * min(room, n_cards - len(chosen))
    if len(chosen) < n_cards:
        raise UsageError(
            f"{n_cards} cards do not fit on {len(hosts)} host(s) with {cards_per_host} each; "
            "ask for fewer cards, more hosts, or set hosts.cards_per_host"
        )
    return tuple(chosen)


def match_servers(hosts: Sequence[Host], table: RankTable) -> Tuple[int, ...]:
    """The host of each rank of a table, by server id: the host's own id, an address or its name.

    Raises:
        InfrastructureError: a server of the table is none of the hosts.
    """
    known: Dict[str, int] = {}
    for host in hosts:
        addresses = [text.split("/")[0] for text in host.networks]
        for identity in (host.server_id, host.name, *addresses):
            if identity:
                known.setdefault(identity, host.index)
    for entry in table.entries:
        if entry.server_id not in known:
            raise InfrastructureError(
                f"rank table: server {entry.server_id} of rank {entry.rank_id} is none of the "
                "hosts {}".format(", ".join(host.name for host in hosts))
            )
    return tuple(known[entry.server_id] for entry in table.entries)


def place_on_devices(
    hosts: Sequence[Host],
    n_cards: int,
    cards_per_host: Optional[int] = None,
    table: Optional[RankTable] = None,
) -> Allocation:
    """Gives each rank a device of its own, as the rank table says or the first ones of each host.

    Raises:
        BackendUnavailableError: a host has too few devices, or not those of the table.
        InfrastructureError: see :func:`match_servers`.
        UsageError: see :func:`spread_ranks`.
    """
    by_index = {host.index: host for host in hosts}
    if table is not None:
        owners = match_servers(hosts, table)
        devices = [entry.device_id for entry in table.entries]
    else:
        owners = spread_ranks(hosts, n_cards, cards_per_host, fill=True)
        devices = []
        taken: Dict[int, int] = {}
        for owner in owners:
            position = taken.get(owner, 0)
            taken[owner] = position + 1
            if position >= len(by_index[owner].devices):
                raise BackendUnavailableError(
                    f"host {by_index[owner].name} has {len(by_index[owner].devices)} device(s), "
                    f"rank {len(devices)} needs one more"
                )
            devices.append(by_index[owner].devices[position])
    for owner, device in zip(owners, devices):
        if device not in by_index[owner].devices:
            raise BackendUnavailableError(
                f"host {by_index[owner].name} has no device {device}, which the rank table names"
            )
    return Allocation(
        tuple(
            Placement(rank, device, None, owner, owner * CARDS_PER_SERVER + device)
            for rank, (owner, device) in enumerate(zip(owners, devices))
        ),
        cores_per_card=None,
        oversubscribed=False,
    )


def place_on_cores(
    hosts: Sequence[Host],
    n_cards: int,
    sweep: Sequence[int],
    cards_per_host: Optional[int] = None,
    asked_share: Optional[int] = None,
) -> Allocation:
    """Gives each rank cores of its host, the same number in all runs of a session.

    Agents of one machine with the same cores share them as one pool, so that two ranks get two
    different cores; agents that the scheduler keeps on cores of their own stay there.

    Args:
        hosts: at least one.
        n_cards: ranks of this run.
        sweep: card counts of the session.
        cards_per_host: ranks of a host as asked; None spreads them evenly.
        asked_share: cores per card as asked.

    Raises:
        UsageError: see :func:`spread_ranks`.
    """
    pools = {host.index: (host.machine, host.cores) for host in hosts}
    share = asked_share or _find_share(hosts, sweep, n_cards, cards_per_host)
    taken: Dict[Tuple[str, Tuple[int, ...]], int] = {}
    on_host: Dict[int, int] = {}
    placements: List[Placement] = []
    crowded = False
    for rank, owner in enumerate(spread_ranks(hosts, n_cards, cards_per_host, fill=False)):
        cores = pools[owner][1]
        start = taken.get(pools[owner], 0)
        taken[pools[owner]] = start + share
        crowded = crowded or start + share > len(cores)
        mine = tuple(sorted({cores[(start + i) % len(cores)] for i in range(share)}))
        placements.append(Placement(rank, on_host.get(owner, 0), mine, owner, rank))
        on_host[owner] = on_host.get(owner, 0) + 1
    return Allocation(tuple(placements), share, oversubscribed=crowded)


def _find_share(
    hosts: Sequence[Host], sweep: Sequence[int], n_cards: int, cards_per_host: Optional[int]
) -> int:
    """Cores per card that the fullest pool of the largest run leaves."""
    pools = {host.index: (host.machine, host.cores) for host in hosts}
    counts: Dict[Tuple[str, Tuple[int, ...]], int] = {}
    for owner in spread_ranks(hosts, max(max(sweep), n_cards), cards_per_host, fill=False):
        counts[pools[owner]] = counts.get(pools[owner], 0) + 1
    return max(1, min(len(pool[1]) // count for pool, count in counts.items()))


def choose_addresses(hosts: Sequence[Host], network: Optional[str]) -> Dict[int, str]:
    """The address at which the ranks of each host listen for the others.

    As asked: the host's address in ``network``. Otherwise loopback where all agents share one
    machine and its network, else the first network that gives every host an address of its own; a
    bridge of a container engine has the same address on each host and does not. Hosts with a single
    address each, such as pods with a subnet for each node, need no network in common.

    Args:
        hosts: at least one.
        network: a network such as ``"10.0.0.0/24"``, or None.

    Returns:
        Address by host index.

    Raises:
        UsageError: ``network`` is none.
        InfrastructureError: a host has no address in it, or the hosts have no network in common.
    """
    if network is not None:
        try:
            wanted = ipaddress.ip_network(network)
        except ValueError as error:
            raise UsageError(
                f"hosts.network: {network!r} is no network like 10.0.0.0/24"
            ) from error
        return _find_in_network(hosts, wanted)
    if len({(host.machine, host.network_namespace) for host in hosts}) == 1 and hosts[0].machine:
        return {host.index: "127.0.0.1" for host in hosts}
    for text in hosts[0].networks:
        candidate = ipaddress.ip_interface(text).network
        found = {host.index: _find_address(host, candidate) for host in hosts}
        addresses = [address for address in found.values() if address is not None]
        if len(addresses) == len(hosts) and _are_apart(hosts, found):
            return {index: address for index, address in found.items() if address is not None}
    single = {host.index: _list_ipv4(host) for host in hosts}
    if all(len(addresses) == 1 for addresses in single.values()):
        found = {index: addresses[0] for index, addresses in single.items()}
        if _are_apart(hosts, found):
            return {index: addresses[0] for index, addresses in single.items()}
    raise InfrastructureError(
        "the hosts {} have no network in common; name one with --set hosts.network=NET".format(
            ", ".join(host.name for host in hosts)
        )
    )


def _find_in_network(hosts: Sequence[Host], network: ipaddress._BaseNetwork) -> Dict[int, str]:
    found: Dict[int, str] = {}
    for host in hosts:
        address = _find_address(host, network)
        if address is None:
            raise InfrastructureError(
                f"host {host.name} has no address in hosts.network {network}; it has {{}}".format(
                    ", ".join(host.networks) or "none"
                )
            )
        found[host.index] = address
    return found


def _find_address(host: Host, network: ipaddress._BaseNetwork) -> Optional[str]:
    for text in host.networks:
        address = ipaddress.ip_interface(text).ip
        if address.version == network.version and address in network:
            return str(address)
    return None


def _list_ipv4(host: Host) -> List[str]:
    return [text.split("/")[0] for text in host.networks if ":" not in text]


def _are_apart(hosts: Sequence[Host], found: Mapping[int, Optional[str]]) -> bool:
    """Whether agents with one address are those that share one network."""
    owners: Dict[str, Tuple[str, str]] = {}
    for host in hosts:
        place = (host.machine, host.network_namespace)
        if owners.setdefault(str(found[host.index]), place) != place:
            return False
    return True


def list_workers(
    hosts: Sequence[Host], allocation: Allocation, network: Optional[str]
) -> List[str]:
    """``host:port`` of every rank, in rank order.

    Raises:
        InfrastructureError: a host keeps too few ports, or two ranks would get the same one.
    """
    used = sorted({placement.host for placement in allocation.placements})
    taking_part = [host for host in hosts if host.index in used]
    addresses = choose_addresses(taking_part, network)
    left = {host.index: list(host.ports) for host in taking_part}
    workers: List[str] = []
    for placement in allocation.placements:
        if not left[placement.host]:
            raise InfrastructureError(f"host {placement.host} keeps too few free ports")
        address, port = addresses[placement.host], left[placement.host].pop(0)
        workers.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    if len(set(workers)) != len(workers):
        raise InfrastructureError("two ranks were given the same address and port; try again")
    return workers
