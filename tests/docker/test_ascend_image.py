"""The Ascend image, on a stand-in base that holds TensorFlow and the fake npu_bridge."""

from __future__ import annotations

import json

import pytest

from tests.docker.test_cpu_image import CALLER, RESTRICTED, SMALL, mount, owners, read_results

pytestmark = pytest.mark.docker


def test_only_what_the_base_lacks_was_added(lab):
    look = "import tensorflow, npu_bridge, absl, jsonschema; print(npu_bridge.__file__)"
    entry = ("--entrypoint", "python3.7", "ascend-bert:ascend", "-W", "ignore", "-c", look)
    said = lab.engine.run("run", "--rm", "--network", "none", *entry, check=True).stdout
    assert said.strip().endswith("tfplugin/python/site-packages/npu_bridge/__init__.py")


def test_two_cards_train(lab, results, tmp_path, record_property):
    nodes = tmp_path / "dev"
    nodes.mkdir()
    options = []
    for number in range(2):
        (nodes / f"davinci{number}").touch()
        options += ["-v", f"{nodes}/davinci{number}:/dev/davinci{number}"]
    devices = [
        {"device_id": str(n), "device_ip": f"192.0.2.{n + 1}", "rank_id": str(n)} for n in range(2)
    ]
    servers = [{"server_id": "198.51.100.1", "device": devices}]
    table = {"version": "1.0", "status": "completed", "server_count": "1", "server_list": servers}
    (results / "table.json").write_text(json.dumps(table))
    (results / "table.json").chmod(0o644)
    options += ["-e", "FAKE_NPU_ADDRESSES=127.0.0.1:45001,127.0.0.1:45002"]
    options += ["-e", "RANK_TABLE_FILE=/ascend-bert/results/table.json"]
    words = ["bench", "--cards", "2", *SMALL, "--steps", "12", "--set", "iterations_per_loop=2"]
    # Twelve steps tell nothing of a steady state; they show that the cards train.
    words += ["--set", "require_steady=false", "--set", "session.repeats=1"]
    done = lab.engine.run(
        *("run", *RESTRICTED, *CALLER, *options, *mount(results), "ascend-bert:ascend", *words)
    )
    logs = [path.read_text(errors="replace")[-1500:] for path in results.glob("runs/*/logs/*")]
    assert done.returncode == 0, done.stderr + "\n".join(logs)
    assert "backend ascend" in done.stderr
    (result,) = read_results(results)
    assert result["found"]["backend"] == "ascend" and result["state"] == "finished"
    assert [len(rank["intervals"]) > 1 for rank in result["ranks"]] == [True, True]
    assert 4321 in owners(results)
    record_property("seen", f"{len(result['ranks'])} ranks trained")
