"""Manifests held to the API, and the hand-over of the rank table with a stand-in controller."""

from __future__ import annotations

import json
import os
import threading
import time

import jsonschema
import pytest
import yaml

from bench.errors import InfrastructureError, InterruptedRunError, UsageError
from bench.launch.kubernetes import (
    CONFIG_FOLDER,
    RANK_TABLE,
    KubernetesJob,
    find_pod,
    name_job,
    render_manifests,
    wait_for_rank_table,
)
from bench.ranktable.create import build_rank_table
from bench.ranktable.render import render_rank_table
from tests.unit.hosts.volcano_schema import CONFIG_MAP, VOLCANO_JOB


def make_job(**more):
    values = {
        "name": "bert",
        "image": "registry.example/ascend-bert:1",
        "n_hosts": 8,
        "cards_per_host": 8,
        "arguments": ["--cards", "8,64"],
        "output_claim": "results",
        **more,
    }
    return KubernetesJob(**values)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"n_hosts": 1, "cards_per_host": 2},
        {"data_claim": "wikipedia", "namespace": "training", "queue": "npu", "architecture": "x86"},
        {"cards_per_host": 0, "cpu_cores": 4},
    ],
)
def test_manifests_hold_to_the_api(more):
    job = make_job(**more)
    documents = list(yaml.safe_load_all(render_manifests(job)))
    if job.cards_per_host:
        config_map = documents.pop(0)
        jsonschema.validate(config_map, CONFIG_MAP)
        assert config_map["metadata"]["name"] == f"rings-config-{job.name}"
        assert json.loads(config_map["data"]["hccl.json"]) == {"status": "initializing"}
        # The controller finds both by the same label and namespace.
        assert config_map["metadata"]["labels"] == documents[0]["metadata"]["labels"]
        assert config_map["metadata"]["namespace"] == documents[0]["metadata"]["namespace"]
    (volcano,) = documents
    jsonschema.validate(volcano, VOLCANO_JOB)
    task = volcano["spec"]["tasks"][0]
    assert volcano["spec"]["minAvailable"] == task["replicas"] == job.n_hosts
    pod = task["template"]["spec"]
    (container,) = pod["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    variables = {item["name"]: item for item in container["env"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    if job.cards_per_host:
        assert variables["RANK_TABLE_FILE"]["value"] == RANK_TABLE
        assert mounts[CONFIG_FOLDER]["readOnly"] is True
        wanted = {"huawei.com/Ascend910": str(job.cards_per_host)}
        assert container["resources"]["limits"] == container["resources"]["requests"] == wanted
    else:
        assert "huawei" not in render_manifests(job)


def test_schema_finds_what_is_misspelt():
    volcano = list(yaml.safe_load_all(render_manifests(make_job())))[1]
    volcano["spec"]["tasks"][0]["template"]["spec"]["containers"][0]["envs"] = []
    with pytest.raises(jsonschema.ValidationError, match="envs"):
        jsonschema.validate(volcano, VOLCANO_JOB)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"name": "Bert"}, "name 'Bert' is no name of Kubernetes"),
        ({"name": "a/b"}, "is no name"),
        ({"namespace": "../x"}, "namespace"),
        ({"cards_per_host": 3}, "a pod gets 1, 2, 4 or 8 devices, not 3"),
        ({"cards_per_host": 4}, "each of several hosts uses all 8"),
    ],
)
def test_jobs_that_cannot_be(more, message):
    with pytest.raises(UsageError, match=message):
        render_manifests(make_job(**more))


def test_pod_knows_its_place():
    place = find_pod({"VC_TASK_INDEX": "3", "JOB_ID": "bert"}, 8)
    assert (place.index, place.count, place.job) == (3, 8, "bert")
    assert find_pod({"VK_TASK_INDEX": "0", "JOB_ID": "b", "VC_BENCH_NUM": "2"}, None).count == 2


@pytest.mark.parametrize(
    ("environ", "count", "message"),
    [
        ({}, 8, "works inside a pod of a Volcano job"),
        ({"VC_TASK_INDEX": "x"}, 8, "works inside a pod"),
        ({"VC_TASK_INDEX": "0", "JOB_ID": "b"}, None, "set hosts.count"),
        ({"VC_TASK_INDEX": "0"}, 2, "set JOB_ID"),
        ({"VC_TASK_INDEX": "2", "JOB_ID": "b"}, 2, "pod 2 is not one of hosts.count=2"),
    ],
)
def test_pods_that_do_not_know_it(environ, count, message):
    with pytest.raises(UsageError, match=message):
        find_pod(environ, count)


@pytest.mark.parametrize("job", ["../../etc", "a/b", "", "...", "x" * 500, "a b\n"])
def test_names_of_jobs_stay_in_their_folder(job):
    name = name_job(job)
    assert os.path.basename(name) == name
    assert len(name) < 128


class Controller:
    """Stands in for hccl-controller and kubelet: a ConfigMap as a folder of links.

    kubelet mounts a ConfigMap as links into a hidden folder and replaces that as a whole.
    """

    def __init__(self, folder):
        self.folder = folder
        self._versions = 0
        self.table = folder / "hccl.json"
        self.put('{"status":"initializing"}')
        os.symlink("..data/hccl.json", str(self.table))

    def put(self, text):
        self._versions += 1
        version = self.folder / f"..{self._versions}"
        version.mkdir()
        (version / "hccl.json").write_text(text, encoding="utf-8")
        link = self.folder / "..data_tmp"
        os.symlink(version.name, str(link))
        os.replace(str(link), str(self.folder / "..data"))


def make_text(n_servers, status="completed"):
    hosts = {
        f"192.0.2.{server + 1}": {d: f"198.51.{server}.{d + 1}" for d in range(8)}
        for server in range(n_servers)
    }
    text = render_rank_table(build_rank_table(hosts, 8 * n_servers))
    return text.replace('"completed"', f'"{status}"')


def test_pod_waits_until_the_controller_has_filled_the_table(tmp_path):
    controller = Controller(tmp_path)

    def fill():
        for text in ("", '{"status":', make_text(1, "initializing"), make_text(2)):
            time.sleep(0.05)
            controller.put(text)

    worker = threading.Thread(target=fill)
    worker.start()
    looks = []
    wait_for_rank_table(controller.table, 20, sleep=lambda seconds: looks.append(time.sleep(0.01)))
    worker.join()
    assert looks
    assert json.loads(controller.table.read_text("utf-8"))["status"] == "completed"


def test_pod_does_not_wait_for_ever(tmp_path):
    controller = Controller(tmp_path)
    message = "was not completed within 0.1 s: .*'initializing'.*hccl-controller"
    with pytest.raises(InfrastructureError, match=message):
        wait_for_rank_table(controller.table, 0.1)
    with pytest.raises(InfrastructureError, match="No such file"):
        wait_for_rank_table(tmp_path / "absent", 0.1)


def test_wait_is_ended_by_a_signal(tmp_path):
    def check():
        raise InterruptedRunError("ended by SIGTERM", 15)

    with pytest.raises(InterruptedRunError):
        wait_for_rank_table(Controller(tmp_path).table, 600, check)
