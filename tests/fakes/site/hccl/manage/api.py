"""Groups of ranks, and who this process is among them."""

import os

from npu_bridge._native import record

from hccl._checks import WORLD_GROUP, check_group, check_number

_CARDS_PER_SERVER = 8
_groups = {}


def create_group(group, rank_num, rank_ids):
    """Makes a group of some ranks."""
    check_group(group)
    check_number(rank_num, "rank_num")
    for rank_id in rank_ids:
        check_number(rank_id, "rank_ids")
    if len(rank_ids) != rank_num or group in _groups or group == WORLD_GROUP:
        raise ValueError(f"cannot create group {group!r} of {rank_num} ranks {rank_ids}")
    _groups[group] = list(rank_ids)
    record.write("create_group", group=group, rank_ids=rank_ids)


def destroy_group(group):
    """Removes a group."""
    check_group(group)
    if group not in _groups:
        raise ValueError(f"there is no group {group!r}")
    del _groups[group]


def get_rank_size(group=WORLD_GROUP):
    """Number of ranks."""
    return len(_list_ranks(group))


def get_rank_id(group=WORLD_GROUP):
    """This process's rank in the group."""
    return _list_ranks(group).index(_get_own_rank())


def get_local_rank_size(group=WORLD_GROUP):
    """Number of ranks of the group on this server."""
    return len(_list_local_ranks(group))


def get_local_rank_id(group=WORLD_GROUP):
    """This process's place among the ranks of the group on this server."""
    return _list_local_ranks(group).index(_get_own_rank())


def get_world_rank_from_group_rank(group, group_rank_id):
    """Rank in the world of a rank of the group."""
    check_number(group_rank_id, "group_rank_id")
    return _list_ranks(group)[group_rank_id]


def get_group_rank_from_world_rank(world_rank_id, group):
    """Rank in the group of a rank of the world."""
    check_number(world_rank_id, "world_rank_id")
    return _list_ranks(group).index(world_rank_id)


def _get_own_rank():
    return int(os.getenv("RANK_ID", "0"))


def _list_ranks(group):
    check_group(group)
    if group == WORLD_GROUP:
        return list(range(int(os.getenv("RANK_SIZE", "1"))))
    if group not in _groups:
        raise ValueError(f"there is no group {group!r}")
    return _groups[group]


def _list_local_ranks(group):
    own_server = _get_own_rank() // _CARDS_PER_SERVER
    return [rank for rank in _list_ranks(group) if rank // _CARDS_PER_SERVER == own_server]
