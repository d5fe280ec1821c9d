"""The doctor against hosts of scripts: sound ones, sick ones, and tools that hang."""

import json
import os
import stat
import sys
import time

import jsonschema
import pytest

from bench.cli import main
from bench.doctor import compatibility
from bench.doctor.examine import EXAMINATIONS, examine
from bench.doctor.model import FAIL, OK, SKIPPED, WARN, Examination, Finding, Patient, join_numbers
from bench.doctor.render import SCHEMA, render_json, render_table
from bench.environment.sources import World
from bench.ranktable.create import build_rank_table
from bench.ranktable.render import render_rank_table
from tests.fakes.npu_host import LAYOUTS, FakeHost, build_cards

CANN = {
    "usr/local/Ascend/nnae/latest/ascend_nnae_install.info": "version=20.2.rc1\n",
    "usr/local/Ascend/tfplugin/latest/ascend_tfplugin_install.info": "version=20.2.rc1\n",
    "usr/local/Ascend/firmware/version.info": "Version=1.76.22.3.220\n",
}


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Tools of a loaded machine may take their time."""
    monkeypatch.setattr("bench.doctor.model.TOOL_TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr("bench.doctor.software._IMPORT_TIMEOUT_SECONDS", 60.0)


@pytest.fixture
def host(tmp_path):
    """A sound host with two cards and CANN 20.2."""
    cards = build_cards(2)
    built = FakeHost(tmp_path / "host", cards, LAYOUTS["24.1.0"], driver="20.2.0")
    for path, text in CANN.items():
        built.write(path, text)
    built.write("proc/loadavg", "0.10 0.10 0.10 1/100 42\n")
    built.write("etc/hccn.conf", "".join(f"address_{n}=192.168.100.{101 + n}\n" for n in range(2)))
    return built


@pytest.fixture
def python(tmp_path):
    """An interpreter that has the framework and the adapter, as far as anybody asks it."""
    site = tmp_path / "site"
    for name in ("tensorflow-1.15.0.dist-info", "npu_bridge", "hccl"):
        (site / name).mkdir(parents=True)
    for name in ("npu_bridge", "hccl"):
        (site / name / "__init__.py").write_text("", "utf-8")
    file = tmp_path / "python"
    file.write_text(
        f"#!/bin/sh\nPYTHONPATH='{site}' exec '{sys.executable}' \"$@\"\n", encoding="utf-8"
    )
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


def build_patient(host, python, backend="ascend", **values):
    world = World(root=str(host.root), variables={"PATH": os.environ["PATH"]})
    output = str(host.root / "results")
    return Patient(backend, world, output, python, **values)


def find(findings, name):
    rows = [finding for finding in findings if finding.name == name]
    assert len(rows) == 1, f"{len(rows)} rows for {name}"
    return rows[0]


def check(host, python, name, **values):
    """One row; interpreters are started only where they are what is asked for."""
    slow = {"trainer", "npu_bridge"} - {name}
    examinations = [one for one in EXAMINATIONS if one.name not in slow]
    return find(examine(build_patient(host, python, **values), examinations), name)


def write_rank_table(host, addresses):
    table = build_rank_table({"10.0.0.1": dict(enumerate(addresses))}, len(addresses))
    host.write("table.json", render_rank_table(table))
    return str(host.root / "table.json")


# --- a sound host --------------------------------------------------------------------------------


def test_a_sound_host_is_sound(host, python):
    table = write_rank_table(host, ["192.168.100.101", "192.168.100.102"])
    findings = examine(build_patient(host, python, rank_table=table))
    # What a scripted host cannot have: another Python series, memory and shared memory of its own.
    of_this_machine = {"trainer Python", "host name", "disk", "trainer"}
    bad = [
        finding
        for finding in findings
        if finding.status in (WARN, FAIL) and finding.name not in of_this_machine
    ]
    assert bad == []
    assert find(findings, "compatibility").figure == (
        "CANN 20.2.rc1 with driver 20.2.0, as published"
    )
    assert find(findings, "devices").figure == "2: davinci0-1"
    assert find(findings, "npu_bridge").status == OK
    assert find(findings, "TensorFlow").figure == "1.15.0"
    assert find(findings, "network health").figure == "2 of 2: Success"
    assert "addresses as on this host" in find(findings, "rank table").figure
    assert all(finding.figure for finding in findings)
    assert all(finding.remedy for finding in findings if finding.status in (WARN, FAIL))


@pytest.mark.parametrize("backend", ["cpu", "simulated"])
def test_other_backends_skip_what_belongs_to_cards(host, python, backend):
    findings = examine(build_patient(host, python, backend))
    skipped = {finding.name for finding in findings if finding.status == SKIPPED}
    assert {"devices", "cards", "versions", "npu_bridge", "card network", "rank table"} <= skipped
    assert host.list_calls() == []
    assert ("trainer" in skipped) == (backend == "simulated")


# --- sick ones -----------------------------------------------------------------------------------


def test_without_devices(host, python):
    for file in (host.root / "dev").iterdir():
        file.unlink()
    row = check(host, python, "devices")
    assert (row.status, row.figure) == (FAIL, "no /dev/davinci*")
    assert "--device=/dev/davinciN" in row.remedy


def test_without_a_manager_device(host, python):
    (host.root / "dev" / "hisi_hdc").unlink()
    row = check(host, python, "manager devices")
    assert (row.status, row.figure) == (FAIL, "no /dev/hisi_hdc")
    assert row.remedy == "pass --device=/dev/hisi_hdc to the container"


def test_devices_that_may_not_be_opened(host, python, monkeypatch):
    real = os.access

    def access(path, mode):
        return False if str(path).endswith("davinci1") else real(path, mode)

    monkeypatch.setattr("bench.doctor.cards.os.access", access)
    row = check(host, python, "device access")
    assert (row.status, row.figure) == (FAIL, "no right to open davinci1")


@pytest.mark.parametrize(
    ("health", "codes", "status"),
    [("Warning", "NA", WARN), ("Alarm", "A4025021 8C03A000", FAIL), ("Critical", "NA", FAIL)],
)
def test_a_card_that_is_not_well(host, python, health, codes, status):
    host.change(1, health=health, error_codes=codes)
    row = check(host, python, "card health")
    assert row.status == status
    assert row.figure == f"card 1: {health}" + ("" if codes == "NA" else f" ({codes})")


@pytest.mark.parametrize(
    ("changes", "name", "status", "figure"),
    [
        ({"temperature": "91"}, "card temperature", WARN, "91 °C at the most, card 1"),
        ({"ecc": (3, 1)}, "memory errors", WARN, "errors that could not be corrected on card 1"),
        ({"ecc": (3, 0)}, "memory errors", OK, "none uncorrected, 3 corrected"),
        (
            {"processes": ((4242, "python", 9),)},
            "card use",
            WARN,
            "python 4242 on card 1",
        ),
        ({"hbm": ("30712", "32768")}, "card use", WARN, "memory in use on card 1"),
        ({"link": "DOWN"}, "card links", WARN, "card 1: DOWN"),
        ({"net_health": "Fault"}, "network health", WARN, "card 1: Fault"),
    ],
)
def test_what_the_tools_tell(host, python, changes, name, status, figure):
    host.change(1, **changes)
    row = check(host, python, name)
    assert (row.status, row.figure) == (status, figure)


def test_of_two_chips_the_worse_one_counts(host, python):
    text = "".join(
        f"HBM Double Bit Error Count : {count}\nChip ID : {chip}\n"
        for chip, count in enumerate((2, 0))
    )
    host.answer("npu-smi info -t ecc -i 1", "NPU ID : 1\n" + text)
    row = check(host, python, "memory errors")
    assert row.figure == "errors that could not be corrected on card 1"


def test_a_port_that_is_down_stops_a_run_of_several_hosts(host, python):
    host.change(1, link="DOWN")
    hosts = {f"10.0.0.{n}": {card: f"1.1.{n}.{card + 1}" for card in range(8)} for n in (1, 2)}
    host.write("two.json", render_rank_table(build_rank_table(hosts, 16)))
    row = check(host, python, "card links", rank_table=str(host.root / "two.json"))
    assert (row.status, row.figure) == (FAIL, "card 1: DOWN")


def test_cards_that_never_tested_their_network_are_no_fault(host, python):
    for card in (0, 1):
        host.change(card, net_health="Init")
    assert check(host, python, "network health").status == SKIPPED


@pytest.mark.parametrize(
    ("text", "code", "figure"),
    [
        ("dcmi module initialize failed. ret is -8005\n", 0, "dcmi module initialize failed"),
        ("", 7, "npu-smi exited with 7"),
        ("gibberish\n", 0, "its output shows no card"),
    ],
)
def test_npu_smi_that_fails(host, python, text, code, figure):
    host.answer("npu-smi info", text, code)
    row = check(host, python, "npu-smi")
    assert row.status == FAIL
    assert figure in row.figure


def test_tools_that_are_not_there(host, python):
    (host.root / "usr/local/bin/npu-smi").unlink()
    (host.root / "usr/local/Ascend/driver/tools/hccn_tool").unlink()
    findings = examine(build_patient(host, python))
    assert find(findings, "npu-smi").status == WARN
    assert "mount" in find(findings, "npu-smi").remedy
    assert find(findings, "card network").figure == "hccn_tool is not installed"


def test_tools_that_hang_do_not_hang_the_doctor(host, python):
    host.hang()
    start = time.monotonic()
    slow = [one for one in EXAMINATIONS if one.name in ("disk", "cards", "card network")]
    findings = examine(build_patient(host, python), slow, limit_seconds=0.5)
    assert time.monotonic() - start < 20.0
    assert [finding.name for finding in findings] == ["disk", "cards", "card network"]
    for row in findings[1:]:
        assert (row.status, row.figure) == (FAIL, "did not end within 0.5 s")
    assert find(findings, "disk").status != SKIPPED
    left = [name for name in os.listdir("/proc") if name.isdigit() and _mentions(name, host)]
    assert left == []


def _mentions(process_id, host):
    try:
        with open(f"/proc/{process_id}/cmdline", encoding="utf-8", errors="replace") as stream:
            return str(host.answers) in stream.read()
    except OSError:
        return False


@pytest.mark.parametrize(
    ("path", "text", "name", "status", "figure"),
    [
        (
            "usr/local/Ascend/driver/version.info",
            "Version=23.0.rc1\n",
            "compatibility",
            WARN,
            "CANN 20.2 was published with driver 20.2, found 23.0.rc1",
        ),
        (
            "usr/local/Ascend/firmware/version.info",
            "Version=7.1.0\n",
            "compatibility",
            WARN,
            "CANN 20.2 was published with firmware 1.76, found 7.1.0",
        ),
        (
            "usr/local/Ascend/tfplugin/latest/ascend_tfplugin_install.info",
            "version=5.0.4\n",
            "compatibility",
            WARN,
            "the adapter is of 5.0.4 and CANN of 20.2.rc1; they are released as one",
        ),
        (
            "usr/local/Ascend/nnae/latest/ascend_nnae_install.info",
            "version=99.9\n",
            "compatibility",
            WARN,
            "CANN 99.9 is not in the table; the adapter is of 20.2.rc1 and CANN of 99.9; "
            "they are released as one",
        ),
        (
            "usr/local/Ascend/nnae/latest/ascend_nnae_install.info",
            None,
            "CANN",
            FAIL,
            "no /usr/local/Ascend/nnae/latest/ascend_nnae_install.info",
        ),
    ],
)
def test_versions(host, python, path, text, name, status, figure):
    if text is None:
        (host.root / path).unlink()
    else:
        host.write(path, text)
    row = check(host, python, name)
    assert (row.status, row.figure) == (status, figure)


def test_driver_and_firmware_that_the_tool_calls_unfit(host, python):
    text = (host.answers / "npu-smi info -t board -i 0").read_text(encoding="utf-8")
    host.answer("npu-smi info -t board -i 0", text.replace(": OK", ": NOK"))
    assert check(host, python, "compatibility").status == FAIL


def test_an_adapter_that_cannot_be_imported(host, python, tmp_path):
    (tmp_path / "site" / "npu_bridge" / "__init__.py").write_text("import no_such_lib\n", "utf-8")
    (tmp_path / "site" / "hccl" / "__init__.py").write_text("raise SystemExit(3)\n", "utf-8")
    findings = examine(build_patient(host, python))
    assert find(findings, "npu_bridge").figure.startswith("ModuleNotFoundError")
    assert find(findings, "hccl").figure == "SystemExit: 3"
    (tmp_path / "site" / "npu_bridge" / "__init__.py").write_text(
        "import os\nos.abort()\n", "utf-8"
    )
    row = check(host, python, "npu_bridge")
    assert row.status == FAIL
    assert "ended the interpreter" in row.figure


def test_an_interpreter_that_is_not_there(host):
    findings = examine(build_patient(host, "/no/such/python"))
    assert find(findings, "trainer Python").status == FAIL
    assert find(findings, "trainer Python").figure == ("/no/such/python: python is not installed")


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("{", "table.json"),
        ('{"status": "completed"}', "table.json"),
        (None, "table.json"),
    ],
)
def test_rank_tables_that_cannot_be_read(host, python, text, figure):
    if text is not None:
        host.write("table.json", text)
    row = check(host, python, "rank table", rank_table=str(host.root / "table.json"))
    assert row.status == FAIL
    assert figure in row.figure


def test_a_rank_table_with_addresses_of_another_time(host, python):
    table = write_rank_table(host, ["192.168.100.101", "192.168.100.222"])
    row = check(host, python, "rank table", rank_table=table)
    assert row.status == FAIL
    assert "192.168.100.222" in row.figure
    assert "192.168.100.102" in row.figure


def test_addresses_that_are_missing(host, python):
    host.write("etc/hccn.conf", "address_1=192.168.100.102\n")
    assert check(host, python, "card addresses").figure == "no address for card 0"
    (host.root / "etc/hccn.conf").unlink()
    assert check(host, python, "card addresses").figure == "no address in /etc/hccn.conf"


def test_a_results_directory_that_cannot_be_written(host, python):
    (host.root / "results").write_text("a file", "utf-8")
    world = World(root=str(host.root), variables={})
    patient = Patient("cpu", world, "/proc/nowhere", python)
    row = find(examine(patient), "disk")
    assert row.status == FAIL
    assert "/proc/nowhere cannot be written" in row.figure


def test_a_busy_host(host, python):
    host.write("proc/loadavg", "900.00 0.10 0.10 1/100 42\n")
    assert check(host, python, "cores").status == WARN


# --- the frame -----------------------------------------------------------------------------------


def test_an_examination_that_breaks_is_a_failure_and_no_crash(host, python):
    def broken(patient):
        raise ValueError("odd")

    findings = examine(build_patient(host, python), [Examination("odd", broken)])
    assert findings == [
        Finding("odd", FAIL, "could not be examined: ValueError: odd", "please report this")
    ]


def test_pairings_of_versions():
    assert compatibility.is_of_series("20.2.rc1", "20.2")
    assert compatibility.is_of_series("23.0.rc3", "23.0.RC3")
    assert not compatibility.is_of_series("20.20.1", "20.2")
    assert not compatibility.is_of_series("2", "20.2")
    assert compatibility.list_doubts("20.2.rc1", "20.2.2.spc001", None, None) == []
    assert compatibility.list_doubts(None, "1", "2", "3") == []
    assert compatibility.list_doubts("8.5.0", "25.3.1", None, "8.5.0") == []


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([], ""), ([3], "3"), ([0, 1, 2, 3], "0-3"), ([0, 2, 3, 7], "0,2-3,7")],
)
def test_numbers_in_short(numbers, text):
    assert join_numbers(numbers) == text


def test_the_table_and_the_document_say_the_same():
    findings = [
        Finding("disk", OK, "9.0 GiB free"),
        Finding("card links", WARN, "card 1: DOWN", "look at the cable " * 9),
        Finding("rank table", SKIPPED, "none is named"),
        Finding("CANN", FAIL, "absent", "install it"),
    ]
    table = render_table(findings)
    assert table.splitlines()[0] == "disk        ok    9.0 GiB free"
    assert "skipped: rank table: none is named" in table.splitlines()
    assert table.endswith("\n1 ok, 1 warn, 1 fail, 1 skipped")
    assert max(map(len, table.splitlines())) <= 100
    document = json.loads(render_json(Patient("cpu"), "as asked", findings))
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert document["passed"] is False
    assert [row["status"] for row in document["checks"]] == ["ok", "warn", "skipped", "fail"]
    assert document["checks"][0]["remedy"] is None


def test_the_command_with_exit_codes(host, python, capsys):
    arguments = ["doctor", "--host-root", str(host.root), "--output", str(host.root / "out")]
    arguments += ["--trainer-python", python]
    assert main(arguments) == 0
    assert "backend ascend: 2 device(s) under /dev" in capsys.readouterr().out
    host.change(0, health="Critical")
    assert main([*arguments, "--json"]) == 6
    said = capsys.readouterr()
    assert said.err == "ascend-bert: error: not fit for a run: card health\n"
    document = json.loads(said.out)
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")))
    assert document["backend"] == "ascend"
    assert main([*arguments, "--backend", "cpu"]) == 0
    assert main(["doctor", "--output", ""]) == 2
    assert not (host.root / "out").exists()
