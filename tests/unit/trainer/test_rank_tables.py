"""Rank tables: the three forms, and everything that makes one unusable."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.backends.ascend_rank_table import parse_rank_table, read_rank_table
from bert.errors import UsageError

SAMPLES = Path(__file__).resolve().parents[3] / "bert" / "configs" / "rank_tables"


def load(name):
    return json.loads((SAMPLES / name).read_text("utf-8"))


def parse(table):
    return parse_rank_table(json.dumps(table), "table.json")


def build_table(n_servers, cards=range(8)):
    """A version 1.0 table; rank ids follow servers and cards."""
    cards = list(cards)
    return {
        "version": "1.0",
        "status": "completed",
        "server_count": str(n_servers),
        "server_list": [
            {
                "server_id": f"198.51.100.{server}",
                "device": [
                    {
                        "device_id": str(card),
                        "device_ip": f"10.{server}.0.{card + 1}",
                        "rank_id": str(server * len(cards) + i),
                    }
                    for i, card in enumerate(cards)
                ],
            }
            for server in range(n_servers)
        ],
    }


@pytest.mark.parametrize(
    ("name", "form", "n_ranks", "n_servers"),
    [
        ("1p.json", "lab", 1, 1),
        ("2p.json", "lab", 2, 1),
        ("8p.json", "1.0", 8, 1),
        ("BERT_base_1p_poc.json", "pod", 1, 1),
        ("BERT_base_64p_poc.json", "pod", 64, 8),
    ],
)
def test_the_sample_tables_are_sound(name, form, n_ranks, n_servers):
    table = read_rank_table(str(SAMPLES / name))
    assert (table.form, table.rank_size) == (form, n_ranks)
    assert {entry.server_index for entry in table.entries} == set(range(n_servers))
    assert [entry.rank_id for entry in table.entries] == list(range(n_ranks))


def test_every_sample_is_tested():
    assert len(list(SAMPLES.glob("*.json"))) == 5


def test_samples_hold_documentation_addresses_only():
    for path in SAMPLES.glob("*.json"):
        for entry in read_rank_table(str(path)).entries:
            assert entry.device_ip.startswith("192.0.2."), path
            assert entry.server_id.startswith("198.51.100."), path


def test_pods_are_ranks_in_their_order():
    table = read_rank_table(str(SAMPLES / "BERT_base_64p_poc.json"))
    entry = table.entries[13]
    assert (entry.pod_name, entry.device_id, entry.server_index) == ("bert-1", 5, 1)


def test_ranks_are_sorted_whatever_their_order_in_the_file():
    table = build_table(1, [0, 1])
    table["server_list"][0]["device"].reverse()
    assert [entry.device_id for entry in parse(table).entries] == [0, 1]


@given(st.sampled_from([1, 2, 3, 16]))
def test_clusters_of_whole_servers(n_servers):
    table = parse(build_table(n_servers))
    assert table.rank_size == 8 * n_servers
    assert [entry.rank_id for entry in table.list_server(n_servers - 1)] == list(
        range(8 * n_servers - 8, 8 * n_servers)
    )


@pytest.mark.parametrize("cards", [[0], [5], [0, 1], [6, 7], [0, 1, 2, 3], [4, 5, 6, 7]])
def test_parts_of_one_server(cards):
    assert [entry.device_id for entry in parse(build_table(1, cards)).entries] == cards


@pytest.mark.parametrize(
    ("n_servers", "cards", "message"),
    [
        (1, [0, 1, 2], "a server uses 1, 2, 4 or 8 cards, not 3"),
        (1, [3, 4], r"cards 0-3 and 4-7 are separate rings, \[3, 4\] crosses them"),
        (1, [0, 1, 2, 4], "separate rings"),
        (1, [7, 8], r"device ids are 0 to 7, found \[7, 8\]"),
        (1, [2, 2], "device_id stands there more than once|device_ip"),
        (2, [0, 1], "one of several servers must use 8 cards"),
    ],
)
def test_cards_that_do_not_go_together(n_servers, cards, message):
    with pytest.raises(UsageError, match=message):
        parse(build_table(n_servers, cards))


def change_status(table):
    table["status"] = "initializing"


def change_version(table):
    table["version"] = "2.0"


def repeat_rank(table):
    table["server_list"][0]["device"][1]["rank_id"] = "0"


def skip_rank(table):
    table["server_list"][0]["device"][1]["rank_id"] = "5"


def repeat_address(table):
    table["server_list"][0]["device"][1]["device_ip"] = "10.0.0.1"


def break_address(table):
    table["server_list"][0]["device"][1]["device_ip"] = "10.0.0.256"


def use_a_number(table):
    table["server_list"][0]["device"][1]["rank_id"] = 1


def use_a_word(table):
    table["server_list"][0]["device"][1]["device_id"] = "one"


def miscount(table):
    table["server_count"] = "2"


def drop_devices(table):
    table["server_list"][0]["device"] = []


def drop_servers(table):
    del table["server_list"]


def repeat_server(table):
    table["server_list"].append(copy.deepcopy(table["server_list"][0]))
    table["server_count"] = "2"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change_status, "status is 'initializing', not 'completed'"),
        (change_version, "version '2.0' is not 1.0"),
        (repeat_rank, r"rank ids must be 0 to 1, found \[0, 0\]"),
        (skip_rank, r"rank ids must be 0 to 1, found \[0, 5\]"),
        (repeat_address, "device_ip '10.0.0.1' stands there more than once"),
        (break_address, "device_ip '10.0.0.256' is no address"),
        (use_a_number, r"server_list\[0\].device\[1\] needs rank_id, a non-empty text \(found 1\)"),
        (use_a_word, "device_id='one' is not a whole number"),
        (miscount, "server_count says 2, listed are 1"),
        (drop_devices, r"server_list\[0\] needs device, a non-empty list"),
        (drop_servers, "has neither server_list nor group_list"),
        (repeat_server, "server_id '198.51.100.0' stands there more than once"),
    ],
)
def test_spoilt_tables(spoil, message):
    table = build_table(1, [0, 1])
    spoil(table)
    with pytest.raises(UsageError, match=message) as caught:
        parse(table)
    assert str(caught.value).startswith("rank table table.json: ")


def test_spoilt_legacy_tables():
    lab = load("2p.json")
    lab["group_list"][0]["device_num"] = "3"
    with pytest.raises(UsageError, match="device_num says 3, listed are 2"):
        parse(lab)
    lab = load("2p.json")
    lab["group_list"][0]["instance_list"][0]["devices"] *= 2
    with pytest.raises(UsageError, match="must have one device, found 2"):
        parse(lab)
    pods = load("BERT_base_64p_poc.json")
    pods["group_list"][0]["instance_list"][1]["pod_name"] = "bert-0"
    with pytest.raises(UsageError, match="pod_name 'bert-0' stands there more than once"):
        parse(pods)
    pods = load("BERT_base_1p_poc.json")
    pods["group_list"].append(pods["group_list"][0])
    with pytest.raises(UsageError, match="group_count says 1, listed are 2"):
        parse(pods)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"text"', '{"status": 1}'])
def test_texts_that_are_no_table(text):
    with pytest.raises(UsageError, match="^rank table t: "):
        parse_rank_table(text, "t")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "server_list", "device", "group_list", "instance_list"]),
            inner,
        )
    ),
    max_leaves=10,
)


@given(json_values)
def test_any_json_is_refused_in_one_line(value):
    if isinstance(value, dict):
        value = dict(value, status="completed", version="1.0", group_count="1", server_count="1")
    with pytest.raises(UsageError, match="^rank table t: ") as caught:
        parse_rank_table(json.dumps(value), "t")
    assert "\n" not in str(caught.value)


def test_a_table_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="absent.json: cannot be read: No such file"):
        read_rank_table(str(tmp_path / "absent.json"))
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="bytes.json: cannot be read"):
        read_rank_table(str(tmp_path / "bytes.json"))
