"""Who a rank is on Ascend: one source, and every way to contradict it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bert.backends.ascend_config import AscendConfig
from bert.backends.ascend_environment import (
    build_environment,
    build_rank_variables,
    check_device_node,
    list_card_entries,
    parse_card_list,
)
from bert.backends.ascend_rank_table import read_rank_table
from bert.backends.rank import parse_rank_environment
from bert.errors import UnavailableError, UsageError

TABLES = Path(__file__).resolve().parents[3] / "bert" / "configs" / "rank_tables"
EIGHT = str(TABLES / "8p.json")
PODS = str(TABLES / "BERT_base_64p_poc.json")


def build(job_start_file="", **environ):
    rank = parse_rank_environment(environ)
    return build_environment(rank, AscendConfig(job_start_file=job_start_file), 600, environ)


def test_a_single_card_needs_a_job_only():
    variables = build(JOB_ID="bert-base-1p")
    assert variables == {
        "RANK_SIZE": "1",
        "RANK_ID": "0",
        "RANK_INDEX": "0",
        "DEVICE_ID": "0",
        "DEVICE_INDEX": "0",
        "ASCEND_DEVICE_ID": "0",
        "JOB_ID": "bert-base-1p",
        "HCCL_CONNECT_TIMEOUT": "600",
        "WHICH_OP": "GEOP",
        "NEW_GE_FE_ID": "1",
        "GE_AICPU_FLAG": "1",
        "GE_USE_STATIC_MEMORY": "1",
        "OPTION_EXEC_HCCL_FLAG": "1",
    }


def test_a_single_card_by_its_number_and_by_what_the_container_shows():
    assert build(JOB_ID="j", DEVICE_ID="5")["DEVICE_ID"] == "5"
    assert build(JOB_ID="j", ASCEND_VISIBLE_DEVICES="3,6")["DEVICE_ID"] == "3"
    assert build(JOB_ID="j", ASCEND_VISIBLE_DEVICES="3,6", DEVICE_ID="6")["DEVICE_ID"] == "6"


def test_the_rank_table_says_the_card():
    variables = build(JOB_ID="j", RANK_SIZE="8", RANK_ID="6", RANK_TABLE_FILE=EIGHT)
    assert (variables["DEVICE_ID"], variables["RANK_INDEX"]) == ("6", "0")
    assert variables["RANK_TABLE_FILE"] == EIGHT


def test_what_is_set_on_purpose_stays():
    variables = build(
        JOB_ID="j", ASCEND_DEVICE_ID="1", HCCL_CONNECT_TIMEOUT="1200", GE_AICPU_FLAG="0"
    )
    assert variables["ASCEND_DEVICE_ID"] == "1"
    assert variables["HCCL_CONNECT_TIMEOUT"] == "1200"
    assert variables["GE_AICPU_FLAG"] == "0"


def test_a_pod_is_known_by_its_name():
    environ = {"JOB_ID": "j", "RANK_SIZE": "64", "RANK_ID": "13", "RANK_TABLE_FILE": PODS}
    variables = build(POD_NAME="bert-1", **environ)
    assert (variables["POD_NAME"], variables["DEVICE_ID"]) == ("bert-1", "5")
    with pytest.raises(UsageError, match="POD_NAME is missing; .* rank 13 is in bert-1"):
        build(**environ)
    with pytest.raises(UsageError, match="POD_NAME=bert-2, but the rank table"):
        build(POD_NAME="bert-2", **environ)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "JOB_ID is missing"),
        ({"JOB_ID": "j", "RANK_SIZE": "8", "RANK_ID": "0"}, "RANK_SIZE=8 needs RANK_TABLE_FILE"),
        (
            {"JOB_ID": "j", "RANK_SIZE": "4", "RANK_ID": "0", "RANK_TABLE_FILE": EIGHT},
            "RANK_SIZE=4, but the rank table .* has 8 ranks",
        ),
        ({"JOB_ID": "j", "RANK_TABLE_FILE": EIGHT}, "RANK_SIZE=1, but the rank table .* has 8"),
        (
            {
                "JOB_ID": "j",
                "RANK_SIZE": "8",
                "RANK_ID": "6",
                "RANK_TABLE_FILE": EIGHT,
                "DEVICE_ID": "7",
            },
            "DEVICE_ID=7, but the rank table .* says 6 for rank 6",
        ),
        (
            {
                "JOB_ID": "j",
                "RANK_SIZE": "8",
                "RANK_ID": "6",
                "RANK_TABLE_FILE": EIGHT,
                "RANK_INDEX": "1",
            },
            "RANK_INDEX=1, but the rank table .* says 0",
        ),
        ({"JOB_ID": "j", "RANK_TABLE_FILE": "absent.json"}, "absent.json: cannot be read"),
        ({"JOB_ID": "j", "ASCEND_DEVICE_ID": "x"}, "ASCEND_DEVICE_ID='x' is not a whole number"),
        ({"JOB_ID": "j", "HCCL_CONNECT_TIMEOUT": "-1"}, "HCCL_CONNECT_TIMEOUT='-1' is not"),
        ({"JOB_ID": "j", "RESTORE_FROM": "m"}, "RESTORE_FROM is set: .* --init_checkpoint"),
        ({"JOB_ID": "j", "LOCAL_CHECKPOINT_DIR": "m"}, "LOCAL_CHECKPOINT_DIR is set"),
        (
            {"JOB_ID": "j", "ASCEND_VISIBLE_DEVICES": "0-3", "DEVICE_ID": "4"},
            "DEVICE_ID=4 is not among ASCEND_VISIBLE_DEVICES=0-3",
        ),
        ({"JOB_ID": "j", "DEVICE_ID": "8"}, "device ids are 0 to 7"),
    ],
)
def test_contradictions(environ, message):
    with pytest.raises(UsageError, match=message):
        build(**environ)


def write_job(path, **changes):
    job = {"device_info": {"Index": 0}, "rank_table_file": "", "rank_size": 1}
    job.update(changes)
    path.write_text(json.dumps(job), encoding="utf-8")
    return str(path)


def test_a_job_file_stands_for_the_job_id(tmp_path):
    assert "JOB_ID" not in build(job_start_file=write_job(tmp_path / "job.json"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device_info": None}, "device_info.Index must be a whole number from 0 on, found None"),
        ({"device_info": {"Index": "0"}}, "device_info.Index must be a whole number"),
        ({"rank_size": 0}, "rank_size must be a whole number from 1 on, found 0"),
        ({"rank_table_file": None}, "rank_table_file is missing"),
        ({"local_checkpoint_dir": "x"}, "local_checkpoint_dir would start training"),
        ({"rank_size": 8}, "says rank 0 of 8, the environment rank 0 of 1"),
        ({"device_info": {"Index": 3}}, "says rank 3 of 1, the environment rank 0 of 1"),
    ],
)
def test_job_files_that_are_refused(tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        build(job_start_file=write_job(tmp_path / "job.json", **changes))


def test_job_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        build(job_start_file=str(tmp_path / "absent.json"))
    (tmp_path / "job.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="not valid JSON"):
        build(job_start_file=str(tmp_path / "job.json"))


@pytest.mark.parametrize(
    ("text", "cards"),
    [
        ("0", [0]),
        ("0,1,3", [0, 1, 3]),
        ("0-2,5", [0, 1, 2, 5]),
        ("Ascend910-4,Ascend910-0", [0, 4]),
        (" 1 , 2 ", [1, 2]),
    ],
)
def test_card_lists(text, cards):
    assert parse_card_list(text) == cards


@pytest.mark.parametrize("text", ["", "void", "1,,2", "3-1", "1,1", "-1", "0-2,1"])
def test_texts_that_are_no_card_list(text):
    with pytest.raises(UsageError, match="card list"):
        parse_card_list(text)


def test_cards_become_ranks_in_their_order():
    entries = list_card_entries([4, 5, 6, 7])
    assert [(entry.rank_id, entry.device_id) for entry in entries] == [
        (0, 4),
        (1, 5),
        (2, 6),
        (3, 7),
    ]
    with pytest.raises(UsageError, match="separate rings"):
        list_card_entries([0, 4])


def test_variables_of_every_rank_of_a_table():
    table = read_rank_table(PODS)
    variables = [build_rank_variables(entry, 64, "j", PODS) for entry in table.entries]
    assert len({v["RANK_ID"] for v in variables}) == 64
    assert variables[63]["RANK_INDEX"] == "7"
    assert variables[63]["POD_NAME"] == "bert-7"


def test_device_nodes(tmp_path):
    for name in ("davinci0", "davinci3", "davinci_manager"):
        (tmp_path / name).touch()
    check_device_node(str(tmp_path), 3)
    with pytest.raises(
        UnavailableError, match=r"device 1 is absent: .*davinci1 \(found: davinci0, davinci3\)"
    ):
        check_device_node(str(tmp_path), 1)
    with pytest.raises(UnavailableError, match=r"\(found: none\)"):
        check_device_node(str(tmp_path / "absent"), 0)
