"""``ascend-bert ranktable`` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.cli import main

SAMPLES = Path(__file__).resolve().parents[2] / "bert" / "configs" / "rank_tables"
SUBNETS = "192.168.100.0/24,192.168.101.0/24,192.168.102.0/24,192.168.103.0/24"


def run(capsys, *words):
    code = main(["ranktable", *words])
    return (code, *capsys.readouterr())


def test_create_plan_check_convert(tmp_path, capsys):
    servers = ",".join(f"10.0.0.{n}" for n in range(1, 9))
    plan = ["--servers", servers, "--subnets", SUBNETS]
    file = str(tmp_path / "64p.json")
    assert run(capsys, "create", "--cards", "64", *plan, "--file", file)[0] == 0
    code, out, _ = run(capsys, "check", file, "--rank-size", "64")
    assert (code, out) == (0, f"ok: {file}: 64 ranks on 8 servers, form 1.0\n")
    code, out, _ = run(capsys, "convert", file, "--to", "pod", "--group-name", "training")
    assert code == 0
    group = json.loads(out)["group_list"][0]
    assert (group["group_name"], group["instance_count"]) == ("training", "8")
    assert [pod["pod_name"] for pod in group["instance_list"]][-1] == "bert-7"


def test_create_from_the_files_of_hosts(tmp_path, capsys):
    conf = tmp_path / "hccn.conf"
    conf.write_text("".join(f"address_{i}=10.0.{i}.1\n" for i in range(8)), encoding="utf-8")
    words = ["--cards", "4", "--devices", "4,5,6,7", "--form", "lab", "--board-id", "0x0020"]
    code, out, _ = run(capsys, "create", "--host", f"198.51.100.1={conf}", *words)
    assert code == 0
    table = json.loads(out)
    assert table["board_id"] == "0x0020"
    assert [i["devices"][0]["device_id"] for i in table["group_list"][0]["instance_list"]] == [
        *"4567"
    ]


def test_check_says_everything_and_fails(tmp_path, capsys):
    table = json.loads((SAMPLES / "8p.json").read_text("utf-8"))
    table["server_list"][0]["device"][3]["rank_id"] = "9"
    file = tmp_path / "t.json"
    file.write_text(json.dumps(table), encoding="utf-8")
    code, out, err = run(capsys, "check", str(file), "--rank-size", "16")
    assert code == 2
    assert out.splitlines() == [
        "wrong: server_list[0].device[3]: rank_id 9 is not below 8",
        "wrong: no entry has rank_id 3",
        "wrong: 8 ranks are listed, RANK_SIZE is 16",
    ]
    assert err.splitlines()[-1].endswith("must not be used: 3 finding(s)")
    code, out, _ = run(capsys, "check", str(file), "--json")
    assert (code, len(json.loads(out)["findings"])) == (2, 2)


def test_check_against_a_host(tmp_path, capsys):
    conf = tmp_path / "hccn.conf"
    conf.write_text("address_0=192.0.2.12\n", encoding="utf-8")
    table = str(SAMPLES / "1p.json")
    code, out, _ = run(capsys, "check", table, "--host", f"198.51.100.1={conf}")
    assert code == 2
    assert out == "wrong: instance_list[0]: device_ip is 192.0.2.11, the server has 192.0.2.12\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a tool"),
        (["create", "--cards", "5", "--host", "a=/dev/null"], "no line address_"),
        (["create", "--cards", "1", "--host", "a"], "--host wants ID=FILE"),
        (["create", "--cards", "1", "--gathered", "/nowhere/x"], "cannot be read"),
        (["create", "--cards", "8", "--subnets", SUBNETS], "--subnets needs --servers"),
        (["create", "--cards", "16", "--subnets", SUBNETS, "--servers", "a"], "too few"),
        (["create", "--cards", "8", "--subnets", SUBNETS, "--servers", "../a"], "server_id"),
        (["create", "--cards", "8", "--subnets", "x", "--servers", "a"], "no network"),
        (["create", "--cards", "1", "--devices", "x"], "--devices wants numbers"),
        (["check", "/nowhere/x"], "cannot be read: No such file"),
        (["convert", str(SAMPLES / "8p.json"), "--to", "pod", "--pod-prefix", "A"], "pod_name"),
        (["convert", str(SAMPLES / "8p.json")], "--to"),
        (["create", "--cards", "x"], "invalid int value"),
    ],
)
def test_bad_use_is_one_line(capsys, words, message):
    code, out, err = run(capsys, *words)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err
