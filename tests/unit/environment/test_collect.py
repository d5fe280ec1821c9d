"""The environment as a whole: golden machine, missing pieces, slow and hostile ones."""

import json
import os
import stat
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.environment import Subject, World, collect_environment, collect_state
from bench.environment.collect import PROBES, STATE_PROBES, Probe, _collect
from bench.environment.sources import AbsentFactError, Fact, run_command
from tests.unit.environment.machine import GOLDEN, build_kunpeng, build_world

OF_THIS_HOST = {
    "host_name", "system", "architecture", "libc", "utc_offset_seconds", "preferred_encoding",
    "process_nice", "process_is_root", "output_free_bytes",
}  # fmt: skip


def _of_machine(found):
    return {
        part: {
            key: value
            for key, value in found[part].items()
            if key not in OF_THIS_HOST and not key.startswith("harness_")
        }
        for part in ("facts", "absent")
    }


def test_a_training_server_is_read_in_full(tmp_path):
    world = build_kunpeng(tmp_path)
    subject = Subject(output="/output/x", data="/data sets/wiki")
    expected = json.loads((GOLDEN / "kunpeng_910.json").read_text(encoding="utf-8"))
    assert _of_machine(collect_environment(subject, world)) == expected["environment"]
    assert _of_machine(collect_state(subject, world)) == expected["state"]


def test_an_empty_machine_gives_every_fact_with_its_reason(tmp_path):
    world = build_world("", tmp_path)
    for found, probes in (
        (collect_environment(None, world), PROBES),
        (collect_state(None, world), STATE_PROBES),
    ):
        assert list(found["facts"]) == [key for probe in probes for key in probe.keys]
        absent = {key for key, value in found["facts"].items() if value is None}
        assert absent == set(found["absent"])
        assert all(found["absent"].values())


def test_this_machine_within_the_time_and_in_plain_json():
    subject = Subject(trainer_python=sys.executable, output="results")
    start = time.monotonic()
    found = collect_environment(subject)
    assert time.monotonic() - start < 10.0
    assert len(found["facts"]) >= 60
    assert sum(value is not None for value in found["facts"].values()) >= 40
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["facts"]["trainer_python_version"] == "{}.{}.{}".format(*sys.version_info[:3])
    assert found["facts"]["kernel"] == os.uname().release
    assert found["facts"]["cpu_cores_usable"] == len(os.sched_getaffinity(0))


def test_a_probe_that_hangs_costs_its_own_facts_only():
    def hang(world, subject):
        time.sleep(20.0)
        return {}

    probes = (
        Probe("slow", ("a", "b"), hang),
        Probe("quick", ("c",), lambda world, subject: {"c": Fact(3)}),
    )
    start = time.monotonic()
    found = _collect(probes, Subject(), World(), 0.2)
    assert time.monotonic() - start < 5.0
    assert found["facts"] == {"a": None, "b": None, "c": 3}
    assert found["absent"] == dict.fromkeys(("a", "b"), "probe slow took longer than 0.2 s")


def test_a_probe_that_breaks_costs_its_own_facts_only():
    def broken(world, subject):
        raise RuntimeError("boom")

    found = _collect((Probe("odd", ("a",), broken),), Subject(), World(), 5.0)
    assert found["absent"] == {"a": "probe odd failed: RuntimeError: boom"}


def _program(tmp_path, text):
    path = tmp_path / "tool"
    path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sleep 5\n", "tool took longer than 0.2 s"),
        ("echo wrong >&2\nexit 3\n", "tool exited with 3: wrong"),
        ("exit 4\n", "tool exited with 4"),
    ],
)
def test_commands_that_do_not_answer_say_why(tmp_path, text, reason):
    with pytest.raises(AbsentFactError) as caught:
        run_command([_program(tmp_path, text)], 0.2 if "sleep" in text else 10.0)
    assert str(caught.value) == reason


def test_a_command_that_is_not_there():
    with pytest.raises(AbsentFactError, match="no-such-tool is not installed"):
        run_command(["no-such-tool"], 1.0)


def test_commands_are_asked_in_plain_language(tmp_path):
    text = _program(tmp_path, 'echo "$LC_ALL $GIT_OPTIONAL_LOCKS"; cat\n')
    assert run_command([text], 10.0) == "C 0\n"


@settings(max_examples=25)
@given(st.binary(max_size=300), st.sampled_from(sorted(GOLDEN.glob("*.txt"))))
def test_no_text_of_a_machine_can_raise(tmp_path_factory, noise, source):
    # Every file of the machine is cut and followed by noise.
    root = tmp_path_factory.mktemp("machine")
    build_world(source.read_text(encoding="utf-8"), root)
    for path in root.rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: len(noise)] + noise)
    world = World(root=str(root), variables={}, run=lambda argv, seconds: noise.decode("latin-1"))
    for found in (collect_environment(None, world), collect_state(None, world)):
        absent = {key for key, value in found["facts"].items() if value is None}
        assert absent == set(found["absent"])
        json.dumps(found)
