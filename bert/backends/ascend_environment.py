"""Who a rank is on Ascend, from one source, and the variables that adapter and HCCL read.

The source is the rank table, or without one the card of a single rank. Whatever else the
environment says must agree with it: three sources of truth that contradict each other are how
ranks end up on the wrong card or wait for each other for ever.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any, Dict, List, Mapping, Optional, Tuple

from bert.backends.ascend_config import AscendConfig
from bert.backends.ascend_rank_table import RankEntry, RankTable, find_card_problem, read_rank_table
from bert.backends.rank import RankEnvironment
from bert.errors import UnavailableError, UsageError

# Read by the graph engine of that time; harmless to those that do not know them.
_ENGINE_SWITCHES = {
    "WHICH_OP": "GEOP",
    "NEW_GE_FE_ID": "1",
    "GE_AICPU_FLAG": "1",
    "GE_USE_STATIC_MEMORY": "1",
    "OPTION_EXEC_HCCL_FLAG": "1",
}
_WARM_STARTS = ("RESTORE_FROM", "LOCAL_CHECKPOINT_DIR")
_DEVICE_NODE = re.compile(r"davinci(\d+)")


def build_environment(
    rank: RankEnvironment,
    config: AscendConfig,
    connect_timeout_seconds: int,
    environ: Mapping[str, str],
) -> Dict[str, str]:
    """Returns the variables of this rank, after checking all that can be checked beforehand.

    Args:
        rank: this process among the ranks.
        config: flags of the backend.
        connect_timeout_seconds: longest wait of HCCL for the other ranks.
        environ: the environment of this process.

    Raises:
        UsageError: if environment, job file and rank table contradict each other, or say too
            little for several ranks.
    """
    _check_warm_start(environ)
    entry = find_own_entry(rank, environ)
    job_id = rank.job_id
    if config.job_start_file:
        check_job_start_file(config.job_start_file, rank)
    elif not job_id:
        raise UsageError(
            "environment JOB_ID is missing; the Ascend adapter cannot start without it: set it to "
            "any name of the job, or give --npu_bert_job_start_file"
        )
    variables = build_rank_variables(entry, rank.rank_size, job_id, rank.rank_table_file)
    for name in ("ASCEND_DEVICE_ID", "HCCL_CONNECT_TIMEOUT"):
        if environ.get(name) and not environ[name].isdigit():
            raise UsageError(f"environment {name}={environ[name]!r} is not a whole number")
    # These two may be set on purpose: a logical device id inside a container, a longer time-out.
    if environ.get("ASCEND_DEVICE_ID"):
        variables["ASCEND_DEVICE_ID"] = environ["ASCEND_DEVICE_ID"]
    variables["HCCL_CONNECT_TIMEOUT"] = environ.get("HCCL_CONNECT_TIMEOUT") or str(
        connect_timeout_seconds
    )
    for name, value in _ENGINE_SWITCHES.items():
        variables[name] = environ.get(name, value)
    return variables


def build_rank_variables(
    entry: RankEntry, rank_size: int, job_id: str, rank_table_file: str
) -> Dict[str, str]:
    """Returns the variables that say who a rank is, as launch scripts set them."""
    variables = {
        "RANK_SIZE": str(rank_size),
        "RANK_ID": str(entry.rank_id),
        "RANK_INDEX": str(entry.server_index),
        "DEVICE_ID": str(entry.device_id),
        "DEVICE_INDEX": str(entry.rank_id),
        "ASCEND_DEVICE_ID": str(entry.device_id),
    }
    if job_id:
        variables["JOB_ID"] = job_id
    if rank_table_file:
        variables["RANK_TABLE_FILE"] = os.path.abspath(rank_table_file)
    if entry.pod_name:
        variables["POD_NAME"] = entry.pod_name
    return variables


def find_own_entry(rank: RankEnvironment, environ: Mapping[str, str]) -> RankEntry:
    """Returns this rank's entry of the rank table, or of the card list for a single rank.

    Raises:
        UsageError: if the environment disagrees with it.
    """
    if not rank.rank_table_file:
        return _find_card(rank, environ)
    table = read_rank_table(rank.rank_table_file)
    if table.rank_size != rank.rank_size:
        raise UsageError(
            f"environment RANK_SIZE={rank.rank_size}, but the rank table {table.source} has "
            f"{table.rank_size} ranks"
        )
    entry = table.entries[rank.rank_id]
    _check_agreement(entry, table, environ)
    return entry


def _find_card(rank: RankEnvironment, environ: Mapping[str, str]) -> RankEntry:
    if rank.rank_size > 1:
        raise UsageError(
            f"environment RANK_SIZE={rank.rank_size} needs RANK_TABLE_FILE: without a rank table "
            "every device trains for itself"
        )
    visible = environ.get("ASCEND_VISIBLE_DEVICES", "")
    cards = parse_card_list(visible) if visible else None
    device_id = rank.device_id
    if cards is not None and "DEVICE_ID" not in environ:
        device_id = cards[0]
    if cards is not None and device_id not in cards:
        raise UsageError(
            f"environment DEVICE_ID={device_id} is not among ASCEND_VISIBLE_DEVICES={visible}"
        )
    return list_card_entries([device_id])[0]


def _check_agreement(entry: RankEntry, table: RankTable, environ: Mapping[str, str]) -> None:
    """Raises UsageError where the environment says something else than the rank table."""
    found = {
        "DEVICE_ID": str(entry.device_id),
        "RANK_INDEX": str(entry.server_index),
    }
    if table.form == "pod":
        found["POD_NAME"] = entry.pod_name
        if not environ.get("POD_NAME"):
            raise UsageError(
                f"environment POD_NAME is missing; the rank table {table.source} knows ranks by "
                f"pod only, and rank {entry.rank_id} is in {entry.pod_name}"
            )
    for name, value in found.items():
        given = environ.get(name, "").strip()
        if given and given != value:
            raise UsageError(
                f"environment {name}={given}, but the rank table {table.source} says {value} for "
                f"rank {entry.rank_id}"
            )


def parse_card_list(text: str) -> List[int]:
    """Parses a list of cards such as 0,1 or 0-3 or Ascend910-0,Ascend910-1.

    Returns:
        Physical device ids, ascending.

    Raises:
        UsageError: if it is no such list, or names a card twice.
    """
    cards: List[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(?:Ascend910-)?(\d+)|(\d+)-(\d+)", part.strip())
        if match is None:
            raise UsageError(f"card list {text!r}: {part!r} is neither a card nor a range of cards")
        if match.group(1) is not None:
            cards.append(int(match.group(1)))
        else:
            cards.extend(range(int(match.group(2)), int(match.group(3)) + 1))
    if not cards or len(set(cards)) != len(cards):
        raise UsageError(f"card list {text!r} is empty or names a card twice")
    return sorted(cards)


def list_card_entries(cards: List[int]) -> Tuple[RankEntry, ...]:
    """Returns one rank per card of one server, in the order of the cards.

    Raises:
        UsageError: if one server cannot use these cards together.
    """
    problem = find_card_problem(cards)
    if problem is not None:
        raise UsageError(f"card list {cards}: {problem}")
    return tuple(
        RankEntry(rank_id=i, device_id=card, device_ip="", server_id="", server_index=0)
        for i, card in enumerate(cards)
    )


def check_job_start_file(path: str, rank: RankEnvironment) -> None:
    """Checks a job description, which the adapter then reads in place of the environment.

    Raises:
        UsageError: if it cannot be read, lacks a field, or contradicts the environment.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            job = json.load(stream)
    except OSError as error:
        raise UsageError(f"--npu_bert_job_start_file={path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"--npu_bert_job_start_file={path}: not valid JSON: {error}") from error
    device_info = job.get("device_info") if isinstance(job, dict) else None
    index = device_info.get("Index") if isinstance(device_info, dict) else None
    rank_size = job.get("rank_size") if isinstance(job, dict) else None
    for name, value, least in (("device_info.Index", index, 0), ("rank_size", rank_size, 1)):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise UsageError(
                f"--npu_bert_job_start_file={path}: {name} must be a whole number from {least} on, "
                f"found {value!r}"
            )
    if job.get("rank_table_file") is None:
        raise UsageError(f"--npu_bert_job_start_file={path}: rank_table_file is missing")
    if job.get("local_checkpoint_dir"):
        raise UsageError(
            f"--npu_bert_job_start_file={path}: local_checkpoint_dir would start training from "
            "other weights than asked; give --init_checkpoint instead"
        )
    if (index, rank_size) != (rank.rank_id, rank.rank_size):
        raise UsageError(
            f"--npu_bert_job_start_file={path} says rank {index} of {rank_size}, the environment "
            f"rank {rank.rank_id} of {rank.rank_size}"
        )


def _check_warm_start(environ: Mapping[str, str]) -> None:
    for name in _WARM_STARTS:
        if environ.get(name):
            raise UsageError(
                f"environment {name} is set: the adapter would start from that checkpoint unasked; "
                "unset it, and give --init_checkpoint to start from one"
            )


def check_device_node(device_root: str, device_id: int) -> None:
    """Raises UnavailableError if there is no node davinciN for the device."""
    path = os.path.join(device_root, f"davinci{device_id}")
    if os.path.exists(path):
        return
    found = list_device_ids(device_root)
    raise UnavailableError(
        f"Ascend device {device_id} is absent: there is no {path} (found: "
        f"{', '.join(f'davinci{i}' for i in found) or 'none'}); see DEVICE_ID, and what a "
        "container maps"
    )


def list_device_ids(device_root: str) -> List[int]:
    """Returns the ids of all nodes davinciN, ascending; empty if the directory cannot be read."""
    names: List[str] = []
    try:
        names = os.listdir(device_root)
    except OSError:
        return []
    matches: List[Optional[Any]] = [_DEVICE_NODE.fullmatch(name) for name in names]
    return sorted(int(match.group(1)) for match in matches if match)
