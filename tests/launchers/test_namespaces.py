"""Two network namespaces as two hosts: they train together, and one is cut off."""

from __future__ import annotations

import json
import sys
import time

import pytest

from bench.results.store import list_run_directories
from tests.launchers.namespaces import Namespaces
from tests.launchers.sessions import BENCH, check_equal_in_form, finish, read_only_result, start

DETECTED_WITHIN_SECONDS = 60.0


@pytest.fixture
def namespaces():
    with Namespaces() as made:
        yield made


def start_both(namespaces, output, *words):
    """A rank on each host, as some other scheduler would start them."""
    argv = [*BENCH, "--launcher", "env", "--cards", "2", "--output", str(output), *words]
    return [
        start(
            namespaces.wrap(index, argv),
            {"RANK_ID": str(index), "RANK_SIZE": "2", "JOB_ID": "namespaces"},
        )
        for index in range(2)
    ]


def wait_for_steps(output, head):
    """Returns once both ranks have reported some steps."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        logs = list(output.glob("runs/*/logs/train_*.log"))
        if len(logs) == 2 and all("global_step = 5," in log.read_text() for log in logs):
            return
        assert head.poll() is None, finish(head)
        time.sleep(0.2)
    raise AssertionError("no steps within 120 s")


def test_two_hosts_train_together(namespaces, local_result, tmp_path):
    for process in start_both(namespaces, tmp_path):
        code, _, err = finish(process)
        assert code == 0, err
    result = read_only_result(tmp_path)
    check_equal_in_form(result, local_result)
    first, second = result.found["hosts"]
    assert [first["networks"], second["networks"]] == [["10.213.7.1/24"], ["10.213.7.2/24"]]
    # The head does not see the other host's processes: that one looks after its own.
    assert "telemetry" not in first
    assert second["telemetry"].get("samples", 0) >= 1, second["telemetry"]
    assert list(second["telemetry"]["ranks"]) == ["1"]
    (folder,) = list_run_directories(tmp_path)
    samples = (folder / "hosts" / "1" / "telemetry.jsonl").read_text("utf-8").splitlines()
    assert all(json.loads(line) for line in samples)


def test_each_host_has_an_endpoint_that_prometheus_finds(namespaces, tmp_path):
    words = ["--metrics-port", "0", "--metrics-address", "10.213.7.1"]
    words += ["--set", "hosts.metrics_port=0", "--set", "hosts.metrics_address=10.213.7.2"]
    processes = start_both(namespaces, tmp_path, "--steps", "100000", *words)
    try:
        wait_for_steps(tmp_path, processes[0])
        targets = sorted(
            target
            for path in (tmp_path / "prometheus").glob("*.json")
            for group in json.loads(path.read_text("utf-8"))
            for target in group["targets"]
        )
        assert [target.split(":")[0] for target in targets] == ["10.213.7.1", "10.213.7.2"]
        code = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
        reader = namespaces.wrap(0, [sys.executable, "-c", code])
        texts = [finish(start([*reader, f"http://{target}/metrics"]))[1] for target in targets]
    finally:
        processes[0].terminate()
        codes = [finish(process)[0] for process in processes]
    assert codes == [143, 0]
    # The head's endpoint has the run and its own rank, the other host's its rank.
    assert "ascend_bert_run_info" in texts[0]
    for rank, text in enumerate(texts):
        assert f'rank="{rank}"' in text.split("ascend_bert_rank_resident_memory_bytes{")[1]
    assert not list((tmp_path / "prometheus").glob("*.json"))


def test_a_host_that_is_cut_off_is_detected_classified_and_cleaned(namespaces, tmp_path):
    head, other = start_both(namespaces, tmp_path, "--steps", "100000")
    wait_for_steps(tmp_path, head)
    namespaces.cut()
    cut_at = time.monotonic()
    code, _, err = finish(head)
    assert time.monotonic() - cut_at < DETECTED_WITHIN_SECONDS
    assert code == 6, err
    assert finish(other)[0] == 0
    result = read_only_result(tmp_path)
    assert (result.state, result.failure.kind) == ("failed", "infrastructure")
    assert "cannot be reached for 30 s; its host or the network to it is down" in err
    # What was measured until then is kept.
    assert all(rank.last_step >= 5 for rank in result.ranks)
    assert not (tmp_path / "hosts").exists()
