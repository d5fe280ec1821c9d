"""Kubernetes with Volcano: the manifests of a job, and what a pod of it has to know and wait for.

The hand-over of the rank table is that of ``hccl-controller``: the job comes with a ConfigMap
``rings-config-<job>`` that says ``initializing``; the controller fills in the devices of the pods,
and their addresses, once all pods are placed, and sets the status to ``completed``. Every pod has
the ConfigMap mounted and waits for that.
"""

from __future__ import annotations

import dataclasses
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import yaml

from bench.errors import BenchError, InfrastructureError, UsageError
from bench.launch.scheduler_variables import Place, find_place
from bench.ranktable.model import COMPLETED, COUNTS_PER_SERVER
from bench.ranktable.parse import read_rank_table

CONFIG_FOLDER = "/user/serverid/devindex/config"
RANK_TABLE = CONFIG_FOLDER + "/hccl.json"
HOST_ADDRESS_VARIABLE = "XDL_IP"
TASK = "bench"
WORKING_DIRECTORY = "/ascend-bert"
OUTPUT = WORKING_DIRECTORY + "/results"
DATA = "/data"

_LABEL = {"ring-controller.atlas": "ascend-910"}
_DEVICE = "huawei.com/Ascend910"
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,50}[a-z0-9])?\Z")
_JOB_KEY = re.compile(r"[^A-Za-z0-9._-]+")
_DRIVER = "/usr/local/Ascend/driver"
_USER = 1000
_POLL_SECONDS = 2.0


@dataclass(frozen=True)
class KubernetesJob:
    """What a manifest is made of.

    Attributes:
        name: of the job; a DNS label.
        image: of the container, which has ``ascend-bert`` on its path.
        n_hosts: pods, one on each host.
        cards_per_host: devices of a pod: 1, 2, 4 or 8; 0 for a job on CPUs.
        arguments: of ``ascend-bert bench``.
        output_claim: claim of a volume that all pods can write (ReadWriteMany).
        data_claim: claim of the training data; None where the job makes its own.
        namespace: of both objects.
        queue: of Volcano.
        architecture: ``arm`` or ``x86``, of the hosts.
        cpu_cores: cores asked for each pod, None for no request.
    """

    name: str
    image: str
    n_hosts: int
    cards_per_host: int
    arguments: Sequence[str]
    output_claim: str
    data_claim: Optional[str] = None
    namespace: str = "default"
    queue: str = "default"
    architecture: str = "arm"
    cpu_cores: Optional[int] = None


def render_manifests(job: KubernetesJob) -> str:
    """ConfigMap (on devices) and Volcano job as YAML, for ``kubectl apply -f -``.

    Raises:
        UsageError: a name that Kubernetes would refuse, or a count that Volcano cannot place.
    """
    for what, text in (("name", job.name), ("namespace", job.namespace), ("queue", job.queue)):
        if not _NAME.match(text):
            raise UsageError(f"{what} {text!r} is no name of Kubernetes (lower case, digits, -)")
    if job.cards_per_host not in (0, *COUNTS_PER_SERVER):
        raise UsageError(f"a pod gets 1, 2, 4 or 8 devices, not {job.cards_per_host}")
    if job.n_hosts > 1 and job.cards_per_host not in (0, 8):
        raise UsageError(
            f"each of several hosts uses all 8 of its devices, not {job.cards_per_host}"
        )
    objects = [build_volcano_job(job)]
    if job.cards_per_host:
        objects.insert(0, build_config_map(job))
    return yaml.safe_dump_all(objects, sort_keys=False, width=100)


def build_config_map(job: KubernetesJob) -> Dict[str, Any]:
    """The ConfigMap that ``hccl-controller`` fills."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"rings-config-{job.name}",
            "namespace": job.namespace,
            "labels": dict(_LABEL),
        },
        "data": {"hccl.json": '{"status":"initializing"}'},
    }


def build_volcano_job(job: KubernetesJob) -> Dict[str, Any]:
    """The job: one pod on each host, all or none."""
    labels = _LABEL if job.cards_per_host else {}
    spec: Dict[str, Any] = {
        "minAvailable": job.n_hosts,
        "schedulerName": "volcano",
        "queue": job.queue,
        # A benchmark that begins anew elsewhere is another measurement: it is not tried again.
        "maxRetry": 1,
        "policies": [
            {"event": "PodEvicted", "action": "AbortJob"},
            {"event": "PodFailed", "action": "AbortJob"},
            {"event": "TaskCompleted", "action": "CompleteJob"},
        ],
        # env gives the pods their index, svc their names and the way to each other.
        "plugins": {"env": [], "svc": []},
        "tasks": [
            {
                "name": TASK,
                "replicas": job.n_hosts,
                "template": {
                    "metadata": {"labels": {"app": job.name, **labels}},
                    "spec": _build_pod(job),
                },
            }
        ],
    }
    return {
        "apiVersion": "batch.volcano.sh/v1alpha1",
        "kind": "Job",
        "metadata": {"name": job.name, "namespace": job.namespace, "labels": dict(labels)},
        "spec": spec,
    }


def _build_pod(job: KubernetesJob) -> Dict[str, Any]:
    container = {
        "name": "ascend",
        "image": job.image,
        "args": [
            "bench",
            "--launcher=kubernetes",
            f"--set=hosts.count={job.n_hosts}",
            *job.arguments,
        ],
        "env": _list_variables(job),
        "resources": _build_resources(job),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [mount for mount, _ in _list_volumes(job)],
    }
    pod: Dict[str, Any] = {
        "restartPolicy": "Never",
        # Longer than the harness takes to end its ranks and to store what was measured.
        "terminationGracePeriodSeconds": 60,
        "automountServiceAccountToken": False,
        "affinity": _build_anti_affinity(job),
        # HwHiAiUser of the images, to whose group the device nodes belong.
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
        },
        "containers": [container],
        "volumes": [volume for _, volume in _list_volumes(job)],
    }
    if job.cards_per_host:
        pod["nodeSelector"] = {
            "host-arch": f"huawei-{job.architecture}",
            "accelerator-type": "module",
        }
    return pod


def _list_variables(job: KubernetesJob) -> List[Dict[str, Any]]:
    variables: List[Dict[str, Any]] = [
        {"name": "JOB_ID", "value": job.name},
        # A corpus that the session makes for itself must be seen by all pods.
        {"name": "ASCEND_BERT_CACHE", "value": OUTPUT + "/cache"},
        {"name": HOST_ADDRESS_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
    ]
    if job.cards_per_host:
        annotation = {"fieldRef": {"fieldPath": f"metadata.annotations['{_DEVICE}']"}}
        variables += [
            {"name": "ASCEND_VISIBLE_DEVICES", "valueFrom": annotation},
            {"name": "RANK_TABLE_FILE", "value": RANK_TABLE},
        ]
    return variables


def _build_resources(job: KubernetesJob) -> Dict[str, Any]:
    resources: Dict[str, Any] = {}
    if job.cpu_cores is not None:
        resources["cpu"] = str(job.cpu_cores)
    if job.cards_per_host:
        resources[_DEVICE] = str(job.cards_per_host)
    return {"requests": dict(resources), "limits": dict(resources)}


def _list_volumes(job: KubernetesJob) -> List[Tuple[Dict[str, Any], Dict[str, Any]]]:
    """Where each volume is mounted, and what it is."""
    volumes: List[Tuple[Dict[str, Any], Dict[str, Any]]] = []

    def add(name: str, path: str, source: Dict[str, Any], read_only: bool = False) -> None:
        mount: Dict[str, Any] = {"name": name, "mountPath": path}
        volumes.append(
            ({**mount, "readOnly": True} if read_only else mount, {"name": name, **source})
        )

    claim = {"claimName": job.output_claim}
    add("scratch", WORKING_DIRECTORY, {"emptyDir": {}})
    add("results", OUTPUT, {"persistentVolumeClaim": claim})
    add("temporary", "/tmp", {"emptyDir": {}})
    # In place of the host's IPC namespace.
    add("shared-memory", "/dev/shm", {"emptyDir": {"medium": "Memory"}})
    if job.data_claim is not None:
        data = {"claimName": job.data_claim, "readOnly": True}
        add("data", DATA, {"persistentVolumeClaim": data}, read_only=True)
    if job.cards_per_host:
        table = {"configMap": {"name": f"rings-config-{job.name}"}}
        add("rank-table", CONFIG_FOLDER, table, read_only=True)
        add("driver", _DRIVER, {"hostPath": {"path": _DRIVER, "type": "Directory"}}, read_only=True)
        logs = {"path": "/var/log/npu", "type": "Directory"}
        add("device-logs", "/var/log/npu", {"hostPath": logs})
        add(
            "local-time", "/etc/localtime", {"hostPath": {"path": "/etc/localtime"}}, read_only=True
        )
    return volumes


def _build_anti_affinity(job: KubernetesJob) -> Dict[str, Any]:
    """One pod of the job on a host, so that a host's devices stay together."""
    term = {
        "labelSelector": {
            "matchExpressions": [
                {"key": "volcano.sh/job-name", "operator": "In", "values": [job.name]}
            ]
        },
        "topologyKey": "kubernetes.io/hostname",
    }
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def find_pod(environ: Mapping[str, str], n_hosts: Optional[int]) -> Place:
    """This pod among those of its job.

    Raises:
        UsageError: this is no pod of a Volcano job, or the number of pods is not known.
    """
    try:
        place = find_place(environ, "Volcano")
    except UsageError as error:
        raise UsageError(
            "--launcher kubernetes works inside a pod of a Volcano job and VC_TASK_INDEX is not "
            "set; 'ascend-bert job kubernetes' writes the manifests"
        ) from error
    count = n_hosts or place.count
    if count is None:
        raise UsageError("the number of pods is not known: set hosts.count")
    if not place.job:
        raise UsageError("set JOB_ID to the name of the job in every pod")
    if place.index >= count:
        raise UsageError(f"pod {place.index} is not one of hosts.count={count}")
    return dataclasses.replace(place, count=count)


def name_job(job: str) -> str:
    """Folder of messages of a job."""
    return "job-" + (_JOB_KEY.sub("-", job).strip("-.")[:100] or "unnamed")


def wait_for_rank_table(
    path: Path,
    timeout_seconds: float,
    check: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Waits until somebody has completed a rank table.

    Args:
        path: the file, which may come later.
        timeout_seconds: how long.
        check: called while waiting; raises to end the wait.
        sleep: waits; a test passes its own.

    Raises:
        InfrastructureError: it was not completed in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        check()
        try:
            table = read_rank_table(path)
            if table.status == COMPLETED:
                return
            last = f"its status is {table.status[:40]!r}"
        except BenchError as error:
            # While a ConfigMap is brought up to date the file may be absent or half a table.
            last = str(error)
        if time.monotonic() >= deadline:
            raise InfrastructureError(
                f"rank table {path} was not completed within {timeout_seconds:g} s: {last}; is "
                "hccl-controller running, and were all pods placed?"
            )
        sleep(min(_POLL_SECONDS, timeout_seconds))
