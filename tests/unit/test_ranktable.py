"""Rank tables: made, checked, converted; every rule broken once; hostile files in one line."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.ranktable.addresses import parse_addresses, parse_hosts, plan_addresses, read_hosts
from bench.ranktable.create import build_rank_table, describe_rank_table, select_ranks
from bench.ranktable.model import FORMS, MAX_CARDS
from bench.ranktable.parse import parse_rank_table, read_rank_table
from bench.ranktable.render import convert_rank_table, render_rank_table
from bench.ranktable.rules import check_rank_table, compare_addresses, list_findings

SAMPLES = Path(__file__).resolve().parents[2] / "bert" / "configs" / "rank_tables"
SUBNETS = ("10.8.0.0/16", "10.9.0.0/16", "10.10.0.0/16", "10.11.0.0/16")


def build(n_cards, device_ids=None, form="1.0"):
    """A sound table with planned addresses."""
    n_servers = max(1, n_cards // 8)
    plan = plan_addresses(SUBNETS[:4], n_servers)
    hosts = {f"10.0.{s // 256}.{s % 256}": plan[s] for s in range(n_servers)}
    return convert_rank_table(build_rank_table(hosts, n_cards, device_ids), form)


def parse(plain):
    return parse_rank_table(json.dumps(plain), "t.json")


def plain(table):
    return json.loads(render_rank_table(table))


card_counts = st.sampled_from([1, 2, 4, 8, 16, 24, 64, 120, 512])


@given(card_counts, st.sampled_from(FORMS))
def test_what_is_made_is_sound_and_read_back(n_cards, form):
    table = build(n_cards, form=form)
    again = parse_rank_table(render_rank_table(table), "t.json")
    assert list_findings(again, n_cards) == []
    assert [dataclasses.replace(entry, where="") for entry in again.entries] == list(table.entries)
    assert again.remarks == ()


@given(card_counts, st.sampled_from(FORMS), st.sampled_from(FORMS))
def test_forms_convert_without_loss(n_cards, one, other):
    table = build(n_cards, form=one)
    there = convert_rank_table(table, other)
    back = convert_rank_table(parse_rank_table(render_rank_table(there), "t.json"), one)
    facts = [(e.rank_id, e.device_id, e.device_ip, e.server_id) for e in table.entries]
    assert [(e.rank_id, e.device_id, e.device_ip, e.server_id) for e in back.entries] == facts


def test_largest_cluster():
    table = build(MAX_CARDS)
    assert describe_rank_table(table) == "4096 ranks on 512 servers, form 1.0"
    assert (table.entries[-1].rank_id, table.entries[-1].device_id) == (4095, 7)


@pytest.mark.parametrize("name", sorted(path.name for path in SAMPLES.glob("*.json")))
def test_samples_of_the_original_are_sound_and_written_back_as_they_are(name):
    text = (SAMPLES / name).read_text(encoding="utf-8")
    table = parse_rank_table(text, name)
    assert list_findings(table) == []
    assert table.remarks == ()
    assert json.loads(render_rank_table(table)) == json.loads(text)


@pytest.mark.parametrize(
    ("name", "n_cards", "form"),
    [
        ("1p.json", 1, "lab"),
        ("2p.json", 2, "lab"),
        ("8p.json", 8, "1.0"),
        ("BERT_base_1p_poc.json", 1, "pod"),
        ("BERT_base_64p_poc.json", 64, "pod"),
    ],
)
def test_samples_are_made_from_what_hosts_say(name, n_cards, form):
    sample = read_rank_table(SAMPLES / name)
    listing = "".join(
        f"{entry.server_id}: address_{entry.device_id}={entry.device_ip}\n"
        for entry in sample.entries
    )
    made = convert_rank_table(build_rank_table(parse_hosts(listing, "pdsh"), n_cards), form)
    made = dataclasses.replace(made, group_name=sample.group_name, lab=sample.lab)
    assert json.loads(render_rank_table(made)) == json.loads((SAMPLES / name).read_text("utf-8"))


def test_plan_has_the_layout_of_the_original():
    subnets = [f"192.168.{third}.0/24" for third in (100, 101, 102, 103)]
    (server,) = plan_addresses(subnets, 1, first=100)
    assert [server[device] for device in range(8)] == [
        *(f"192.168.{third}.101" for third in (100, 101, 102, 103)),
        *(f"192.168.{third}.100" for third in (100, 101, 102, 103)),
    ]
    servers = plan_addresses(subnets, 8, first=30, step=10)
    assert servers[7][0] == "192.168.100.101"
    assert servers[0][4] == "192.168.100.30"


@given(st.sampled_from([1, 2, 4, 8]), st.integers(1, 40), st.integers(1, 9))
def test_planned_addresses_differ_and_lie_in_their_subnets(n_subnets, n_servers, first):
    subnets = [f"10.{index}.0.0/16" for index in range(n_subnets)]
    servers = plan_addresses(subnets, n_servers, first)
    every = [address for server in servers for address in server.values()]
    assert len(set(every)) == 8 * n_servers
    for server in servers:
        for device, address in server.items():
            assert address.startswith(f"10.{device % n_subnets}.")


@pytest.mark.parametrize(
    ("subnets", "n_servers", "message"),
    [
        (["10.0.0.0/24"] * 3, 1, "not 3"),
        (["10.0.0.0/24", "10.0.0.128/25"], 1, "overlap"),
        (["10.0.0.0/28"], 2, "too small: 2 servers need host number 16"),
        (["10.0.0.1/24"], 1, "no network"),
        (["fe80::/64"], 1, "no network"),
    ],
)
def test_plans_that_cannot_be(subnets, n_servers, message):
    with pytest.raises(UsageError, match=message):
        plan_addresses(subnets, n_servers)


@pytest.mark.parametrize(
    ("n_cards", "device_ids", "message"),
    [
        (0, None, "0 cards"),
        (3, None, "3 cards: one server uses 1, 2, 4 or 8"),
        (12, None, "12 cards"),
        (4104, None, "at most 512 servers"),
        (2, [3, 4], "cards 0-3 and 4-7 are separate rings, 3, 4 cross them"),
        (2, [0], "1 devices are named for 2 cards"),
        (2, [1, 1], "listed twice"),
        (1, [8], "device ids are 0 to 7"),
    ],
)
def test_clusters_that_cannot_be(n_cards, device_ids, message):
    hosts = {"a": plan_addresses(SUBNETS, 1)[0]}
    with pytest.raises(UsageError, match=message):
        build_rank_table(hosts, n_cards, device_ids)


def test_too_few_hosts_and_absent_addresses_are_named():
    with pytest.raises(UsageError, match="16 cards need 2 servers .* of 1 are given"):
        build_rank_table({"a": plan_addresses(SUBNETS, 1)[0]}, 16)
    with pytest.raises(UsageError, match="server 'a' gives no address for device 1; it has .* 0"):
        build_rank_table({"a": {0: "10.0.0.1"}}, 2)


CONF = "address_0=29.1.137.205\nnetmask_0=255.255.0.0\nsend_arp_status_0=1\naddress_1=29.2.0.1\n"
TOOL = (
    "$ hccn_tool -i 0 -ip -g\nipaddr:10.10.0.10\nnetmask:255.255.255.0\n"
    "[devid 1]\nGet ipconf failed, because no ip was preset there!\n[devid 2]\nipaddr:10.10.2.10\n"
)


def test_addresses_of_a_host():
    assert parse_addresses(CONF, "x") == {0: "29.1.137.205", 1: "29.2.0.1"}
    assert parse_addresses(TOOL, "x") == {0: "10.10.0.10", 2: "10.10.2.10"}


def test_addresses_of_hosts_are_in_the_order_of_their_numbers(tmp_path):
    for host in ("node10", "node9"):
        (tmp_path / f"{host}.conf").write_text(CONF, encoding="utf-8")
    assert list(read_hosts(tmp_path)) == ["node9", "node10"]
    listing = "node10: address_0=10.0.0.2\nnode9: address_0=10.0.0.1\n"
    assert list(parse_hosts(listing, "x").items()) == [
        ("node9", {0: "10.0.0.1"}),
        ("node10", {0: "10.0.0.2"}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line address_"),
        ("netmask_0=255.0.0.0", "no line address_"),
        ("address_8=10.0.0.1", "x line 1: device ids are 0 to 7, found 8"),
        ("\naddress_0=10.0.0", "x line 2: address '10.0.0' is no IP address"),
        ("address_0=010.0.0.1", "leading zero"),
        ("address_0=127.0.0.1", "own address"),
        ("address_0=10.0.0.1\naddress_0=10.0.0.2", "device 0 has two addresses"),
        ("ipaddr:10.0.0.1", "which device"),
        ("[devid 1]\nipaddr:", "x line 2: address '' is no IP address"),
    ],
)
def test_addresses_that_cannot_be(text, message):
    with pytest.raises(UsageError, match=message):
        parse_addresses(text, "x")


def set_device(key, value, device=1):
    def change(table):
        table["server_list"][0]["device"][device][key] = value

    return change


def set_root(key, value):
    return lambda table: table.__setitem__(key, value)


def drop_device_key(table):
    del table["server_list"][0]["device"][1]["device_ip"]


def repeat_server(table):
    table["server_list"].append(copy.deepcopy(table["server_list"][0]))
    table["server_count"] = "2"


def empty_servers(table):
    table["server_list"] = []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (set_root("status", "initializing"), "status is 'initializing', not 'completed'"),
        (set_root("status", 1), "status must be a text in quotes, found a number"),
        (set_root("version", "2.0"), "version must be '1.0', found '2.0'"),
        (set_root("server_count", "2"), "server_count says 2, listed are 1"),
        (set_root("server_count", "９"), "server_count must be a whole number"),
        (set_root("server_list", {}), "server_list must be a list, found an object"),
        (set_root("server_list", [1]), r"server_list\[0\] must be an object, found a number"),
        (empty_servers, "server_list is empty"),
        (drop_device_key, r"server_list\[0\].device\[1\] has no device_ip"),
        (repeat_server, "server_id '10.0.0.0' is listed twice"),
        (
            set_device("rank_id", "0"),
            r"server_list\[0\].device\[1\]: rank_id 0 is also that of server_list\[0\].device\[0\]",
        ),
        (set_device("rank_id", "5"), "rank_id 5 is not below 2"),
        (set_device("rank_id", 1), "rank_id must be a text in quotes, found a number"),
        (set_device("rank_id", "-1"), "rank_id must be a whole number, found '-1'"),
        (set_device("rank_id", "9" * 400), "rank_id must be a whole number, found '999"),
        (set_device("device_id", "0"), "a device_id is listed twice: 0, 0"),
        (set_device("device_id", "4"), "cards 0-3 and 4-7 are separate rings, 0, 4 cross them"),
        (set_device("device_id", "8"), "device ids are 0 to 7, found 0, 8"),
        (set_device("device_ip", "10.8.0.2"), "device_ip 10.8.0.2 is also that of"),
        (set_device("device_ip", "10.0.0.256"), "device_ip '10.0.0.256' is no IP address"),
        (set_device("device_ip", "0.0.0.0"), "cannot be a port's own address"),
        (set_device("device_ip", ""), "device_ip is empty"),
        (set_device("device_ip", None), "device_ip must be a text in quotes, found null"),
    ],
)
def test_each_rule_is_checked_and_named(spoil, message):
    table = plain(build(2))
    spoil(table)
    with pytest.raises(UsageError, match=message) as caught:
        check_rank_table(parse(table), "t.json")
    assert str(caught.value).startswith("rank table t.json: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_all_findings_at_once():
    table = plain(build(16))
    table["status"] = "initializing"
    del table["server_list"][1]["device"][4:]
    table["server_list"][0]["server_id"] = "../../etc"
    findings = list_findings(parse(table), rank_size=16)
    assert [finding.split(":")[0] for finding in findings] == [
        "status is 'initializing', not 'completed'",
        "server_id '../../etc' is no address or host name (letters, digits, . _ ",
        "server '10.0.0.1'",
        "12 ranks are listed, RANK_SIZE is 16",
    ]


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("server_id", ".."),
        ("server_id", "a/b"),
        ("server_id", "a\nb"),
        ("server_id", "\ud800"),
        ("pod_name", "../x"),
        ("pod_name", "Upper"),
        ("group_name", "a b"),
    ],
)
def test_names_that_could_be_paths_are_refused(part, name):
    table = plain(build(8, form="pod"))
    group = table["group_list"][0]
    (group if part == "group_name" else group["instance_list"][0])[part] = name
    with pytest.raises(UsageError, match=part):
        check_rank_table(parse(table), "t.json")


def test_unknown_keys_are_told_and_not_kept():
    table = plain(build(2))
    table["server_list"][0]["host_nic_ip"] = "reserve"
    parsed = parse(table)
    assert parsed.remarks == ("the key 'host_nic_ip' of a 1.0 server entry is not known; ignored",)
    assert list_findings(parsed) == []


def test_pod_form_needs_neighbouring_ranks():
    table = plain(build(16))
    first, second = (server["device"] for server in table["server_list"])
    first[7]["rank_id"], second[0]["rank_id"] = "8", "7"
    parsed = parse(table)
    assert list_findings(parsed) == []
    with pytest.raises(UsageError, match="must follow each other"):
        convert_rank_table(parsed, "pod")
    assert len(convert_rank_table(parsed, "lab").entries) == 16


def test_part_of_a_table_for_a_smaller_run():
    table = build(64)
    assert select_ranks(table, 64) is table
    assert list_findings(select_ranks(table, 8), 8) == []
    assert [entry.rank_id for entry in select_ranks(table, 16).entries] == list(range(16))
    with pytest.raises(UsageError, match="128 cards asked, the rank table lists 64"):
        select_ranks(table, 128)
    with pytest.raises(UsageError, match="not 3"):
        select_ranks(table, 3)


def test_table_and_hosts_are_compared():
    table = build(8)
    actual = {entry.device_id: entry.device_ip for entry in table.entries}
    assert list(compare_addresses(table, {"10.0.0.0": actual})) == []
    actual[3] = "10.9.9.9"
    del actual[4]
    assert list(compare_addresses(table, {"10.0.0.0": actual, "other": {}})) == [
        f"rank 3: device_ip is {table.entries[3].device_ip}, the server has 10.9.9.9",
        "rank 4: that server has no address for device 4",
        "server 'other' is not in the table",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 100000,
        '{"a":' * 100000,
        '{"status": "completed"}',
        '{"status": "initializing"}',
        '{"status": "completed", "status": "completed"}',
        '{"status": "completed", "n": ' + "9" * 100000 + "}",
        '{"status": "completed", "server_list": "x", "version": "1.0"}',
        '{"status": "completed", "group_list": [[]]}',
        "\x00",
    ],
)
def test_texts_that_are_no_table_are_refused_in_one_line(text):
    with pytest.raises(UsageError, match="^rank table t: ") as caught:
        parse_rank_table(text, "t")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def list_places(value, path=()):
    """Paths to all values of a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if isinstance(value, (dict, list)):
        for key, inner in items:
            yield from list_places(inner, (*path, key))


@given(st.data(), st.sampled_from([1, 2, 8, 16]), st.sampled_from(FORMS), json_values)
def test_any_value_anywhere_gives_findings_or_one_line(data, n_cards, form, value):
    document = plain(build(n_cards, form=form))
    places = [path for path in list_places(document) if path]
    path = data.draw(st.sampled_from(places))
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    try:
        findings = list_findings(parse(document))
    except UsageError as error:
        findings = [str(error)]
    for finding in findings:
        assert finding.isprintable()
        assert len(finding) < 400


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b" " * (5 << 20))
    for path, message in (
        (tmp_path / "absent", "cannot be read: No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "bytes", "not UTF-8 at byte 0"),
        (tmp_path / "large", "larger than 4 MiB"),
    ):
        with pytest.raises(UsageError, match=message):
            read_rank_table(path)
