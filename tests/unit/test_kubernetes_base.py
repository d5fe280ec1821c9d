"""The kustomize base against the parts of the published APIs that it uses.

Written from the API references of Kubernetes 1.20 (core/v1), Volcano (batch.volcano.sh/v1alpha1)
and the Prometheus operator (monitoring.coreos.com/v1); a key that is not listed here is refused.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Dict

import jsonschema
import pytest
import yaml

from bench.cli import build_parser
from bench.commands.bench import build_asked_specs
from bench.launch.kubernetes import (
    HOST_ADDRESS_VARIABLE,
    RANK_TABLE,
    KubernetesJob,
    build_config_map,
)

BASE = Path(__file__).resolve().parents[2] / "docker" / "kubernetes"

Schema = Dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1}
NAME: Schema = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 63}
YES: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
PATH: Schema = {"type": "string", "pattern": "^/"}
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}}


def record(required: str, **properties: Schema) -> Schema:
    """An object that has all required keys and no unknown one."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def rows(item: Schema) -> Schema:
    """A list with at least one entry."""
    return {"type": "array", "items": item, "minItems": 1}


def kind(version: str, name: str, **properties: Schema) -> Schema:
    """An object of the API."""
    meta = record("name", name=NAME, namespace=NAME, labels=LABELS)
    return record(
        "apiVersion kind metadata " + " ".join(properties),
        apiVersion={"const": version},
        kind={"const": name},
        metadata=meta,
        **properties,
    )


QUANTITIES: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["integer", "string"], "pattern": "^[0-9.]+[A-Za-z]*$"},
}
RESOURCES = record("requests limits", requests=QUANTITIES, limits=QUANTITIES)
VOLUME: Schema = {
    "oneOf": [
        record("name emptyDir", name=NAME, emptyDir=record("", medium={"enum": ["", "Memory"]})),
        record(
            "name persistentVolumeClaim",
            name=NAME,
            persistentVolumeClaim=record("claimName", claimName=NAME, readOnly=YES),
        ),
        record("name configMap", name=NAME, configMap=record("name", name=NAME)),
        record(
            "name hostPath",
            name=NAME,
            hostPath=record("path", path=PATH, type={"enum": ["", "Directory", "File"]}),
        ),
    ]
}
VARIABLE: Schema = {
    "oneOf": [
        record("name value", name=TEXT, value={"type": "string"}),
        record(
            "name valueFrom",
            name=TEXT,
            valueFrom=record("fieldRef", fieldRef=record("fieldPath", fieldPath=TEXT)),
        ),
    ]
}
CONTAINER = record(
    "name image",
    name=NAME,
    image=TEXT,
    args=rows(TEXT),
    env=rows(VARIABLE),
    ports=rows(
        record("containerPort", name=NAME, containerPort={"type": "integer", "maximum": 65535})
    ),
    resources=RESOURCES,
    securityContext=record(
        "",
        allowPrivilegeEscalation={"const": False},
        readOnlyRootFilesystem={"const": True},
        capabilities=record("drop", drop={"const": ["ALL"]}),
        seccompProfile=record("type", type={"enum": ["RuntimeDefault"]}),
    ),
    volumeMounts=rows(record("name mountPath", name=NAME, mountPath=PATH, readOnly=YES)),
)
POD = record(
    "containers",
    restartPolicy={"enum": ["Always", "OnFailure", "Never"]},
    terminationGracePeriodSeconds=COUNT,
    automountServiceAccountToken=YES,
    nodeSelector=LABELS,
    securityContext=record(
        "", runAsNonRoot={"const": True}, runAsUser=COUNT, runAsGroup=COUNT, fsGroup=COUNT
    ),
    containers=rows(CONTAINER),
    volumes=rows(VOLUME),
)
EVENTS = {"enum": ["PodEvicted", "PodFailed", "TaskCompleted", "*"]}
ACTIONS = {"enum": ["AbortJob", "RestartJob", "TerminateJob", "CompleteJob"]}
SCHEMAS: Dict[str, Schema] = {
    "rank-table.yaml": kind("v1", "ConfigMap", data=LABELS),
    "results.yaml": kind(
        "v1",
        "PersistentVolumeClaim",
        spec=record(
            "accessModes resources",
            accessModes=rows({"enum": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"]}),
            resources=record("requests", requests=QUANTITIES),
        ),
    ),
    "job.yaml": kind(
        "batch.volcano.sh/v1alpha1",
        "Job",
        spec=record(
            "tasks",
            minAvailable=COUNT,
            schedulerName={"const": "volcano"},
            queue=NAME,
            maxRetry=COUNT,
            policies=rows(record("event action", event=EVENTS, action=ACTIONS)),
            plugins={"type": "object", "additionalProperties": {"type": "array"}},
            tasks=rows(
                record(
                    "name replicas template",
                    name=NAME,
                    replicas=COUNT,
                    template=record("metadata spec", metadata=record("", labels=LABELS), spec=POD),
                )
            ),
        ),
    ),
    "pod-monitor.yaml": kind(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        spec=record(
            "selector podMetricsEndpoints",
            selector=record("matchLabels", matchLabels=LABELS),
            podMetricsEndpoints=rows(
                record("port", port=NAME, path=PATH, interval={"pattern": "^[0-9]+s$"})
            ),
        ),
    ),
    "kustomization.yaml": record(
        "apiVersion kind resources",
        apiVersion={"const": "kustomize.config.k8s.io/v1beta1"},
        kind={"const": "Kustomization"},
        namespace=NAME,
        resources=rows(TEXT),
        images=rows(record("name", name=TEXT, newName=TEXT, newTag=TEXT, digest=TEXT)),
    ),
}


def read(name: str) -> Any:
    """One file of the base."""
    return yaml.safe_load((BASE / name).read_text(encoding="utf-8"))


def read_pod() -> Any:
    """The template of the job's only pod."""
    return read("job.yaml")["spec"]["tasks"][0]["template"]


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_file_keeps_to_the_api(name):
    jsonschema.validate(read(name), SCHEMAS[name])


@pytest.mark.parametrize(
    "path, value",
    [
        (("spec", "minAvailabel"), 1),
        (("spec", "tasks", 0, "replicas"), "one"),
        (("spec", "tasks", 0, "template", "spec", "containers", 0, "privileged"), True),
        (("metadata", "name"), "Ascend_BERT"),
    ],
)
def test_schema_refuses(path, value):
    manifest = copy.deepcopy(read("job.yaml"))
    inner = manifest
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(manifest, SCHEMAS["job.yaml"])


def test_base_lists_every_file():
    kustomization = read("kustomization.yaml")
    files = {path.name for path in BASE.glob("*.yaml")}
    assert files == set(SCHEMAS)
    assert set(kustomization["resources"]) == files - {"kustomization.yaml"}
    assert kustomization["images"][0]["name"] == read_pod()["spec"]["containers"][0]["image"]


def test_rank_table_is_the_one_that_the_controller_looks_for():
    made = build_config_map(KubernetesJob("ascend-bert", "i", 1, 8, (), "results"))
    found = read("rank-table.yaml")
    assert found["metadata"]["name"] == made["metadata"]["name"]
    assert found["metadata"]["labels"] == made["metadata"]["labels"]
    assert yaml.safe_load(found["data"]["hccl.json"]) == {"status": "initializing"}
    label = made["metadata"]["labels"]
    assert read("job.yaml")["metadata"]["labels"] == label
    assert label.items() <= read_pod()["metadata"]["labels"].items()


def test_pod_mounts_what_it_names():
    pod = read_pod()["spec"]
    (container,) = pod["containers"]
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes
    variables = {entry["name"]: entry for entry in container["env"]}
    assert variables["RANK_TABLE_FILE"]["value"] == RANK_TABLE
    assert HOST_ADDRESS_VARIABLE in variables
    folders = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert str(Path(RANK_TABLE).parent) in folders and "/ascend-bert/results" in folders


def test_command_is_one_that_bench_takes():
    arguments = read_pod()["spec"]["containers"][0]["args"]
    parsed = build_parser().parse_args(arguments)
    (spec,) = build_asked_specs(parsed)
    assert spec.cards == (8,) and spec.backend == "ascend" and spec.launcher == "kubernetes"
    devices = read_pod()["spec"]["containers"][0]["resources"]
    assert devices["limits"] == devices["requests"] == {"huawei.com/Ascend910": 8}


def test_monitor_selects_the_pod_and_its_port():
    monitor = read("pod-monitor.yaml")["spec"]
    pod = read_pod()
    assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert monitor["podMetricsEndpoints"][0]["port"] == port["name"]
    assert f"--metrics-port={port['containerPort']}" in pod["spec"]["containers"][0]["args"]
