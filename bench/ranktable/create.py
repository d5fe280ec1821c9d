"""Rank tables from servers and the addresses of their cards."""

from __future__ import annotations

import dataclasses
from typing import List, Mapping, Optional, Sequence, Tuple

from bench.errors import UsageError
from bench.ranktable.addresses import HostAddresses
from bench.ranktable.model import (
    CARDS_PER_SERVER,
    COMPLETED,
    RankEntry,
    RankTable,
    group_by_server,
)
from bench.ranktable.rules import check_rank_table, find_card_problem, find_count_problem
from bench.ranktable.text import shorten


def build_rank_table(
    hosts: Mapping[str, HostAddresses],
    n_cards: int,
    device_ids: Optional[Sequence[int]] = None,
) -> RankTable:
    """Numbers the cards of servers: rank = position of the server × its cards + position there.

    Args:
        hosts: server id → device id → address; the first servers are taken, in this order.
        n_cards: ranks: 1, 2, 4 or 8 on one server, or a multiple of 8 with 8 on each.
        device_ids: cards to use where one server is not used whole; 0, 1, … if None.

    Returns:
        A sound table of the 1.0 form.

    Raises:
        UsageError: no such cluster, too few servers, or a card has no address.
    """
    problem = find_count_problem(n_cards)
    if problem is not None:
        raise UsageError(problem)
    per_server = min(n_cards, CARDS_PER_SERVER)
    cards = list(range(per_server)) if device_ids is None else list(device_ids)
    if len(cards) != per_server:
        raise UsageError(f"{len(cards)} devices are named for {per_server} cards of a server")
    problem = find_card_problem(cards)
    if problem is not None:
        raise UsageError(problem)
    n_servers = n_cards // per_server
    if len(hosts) < n_servers:
        raise UsageError(
            f"{n_cards} cards need {n_servers} servers with {per_server} cards each, "
            f"addresses of {len(hosts)} are given"
        )
    entries: List[RankEntry] = []
    for server_id in list(hosts)[:n_servers]:
        for device_id in cards:
            if device_id not in hosts[server_id]:
                raise UsageError(
                    f"server {shorten(server_id)} gives no address for device {device_id}; "
                    f"it has those of {_list(sorted(hosts[server_id]))}"
                )
            entries.append(
                RankEntry(len(entries), device_id, hosts[server_id][device_id], server_id)
            )
    table = RankTable("1.0", COMPLETED, tuple(entries))
    check_rank_table(table, "as asked for", n_cards)
    return table


def select_ranks(table: RankTable, n_cards: int) -> RankTable:
    """The table of a run that uses fewer cards: the first ones, numbered anew from 0.

    Raises:
        UsageError: the table has too few ranks, or the first ones do not go together.
    """
    if n_cards == table.n_ranks:
        return table
    if n_cards > table.n_ranks:
        raise UsageError(f"{n_cards} cards asked, the rank table lists {table.n_ranks}")
    entries: Tuple[RankEntry, ...] = tuple(
        dataclasses.replace(entry, rank_id=rank)
        for rank, entry in enumerate(table.entries[:n_cards])
    )
    selected = dataclasses.replace(table, entries=entries)
    check_rank_table(selected, f"cut to {n_cards} cards", n_cards)
    return selected


def describe_rank_table(table: RankTable) -> str:
    """``64 ranks on 8 servers, form 1.0``."""
    n_servers = len(group_by_server(table))
    return "{} rank{} on {} server{}, form {}".format(
        table.n_ranks,
        "" if table.n_ranks == 1 else "s",
        n_servers,
        "" if n_servers == 1 else "s",
        table.form,
    )


def _list(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
