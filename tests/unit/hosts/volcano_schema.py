"""JSON Schema of what we use of a Volcano job and of a pod, after the published API.

Names and kinds are those of ``jobs.batch.volcano.sh`` (CRD of Volcano 1.x, ``v1alpha1``) and of the
core API ``v1`` of Kubernetes 1.19 and later. Unlike theirs it knows no field that we do not use, so
a misspelt one is found.
"""

from __future__ import annotations

from typing import Any, Dict

NAME = {"type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"}
LABELS = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63}}
COUNT = {"type": "integer", "minimum": 0}
TEXT = {"type": "string", "minLength": 1}


def shape(required: str, **properties: Any) -> Dict[str, Any]:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def listing(item: Dict[str, Any]) -> Dict[str, Any]:
    """A list that is not empty."""
    return {"type": "array", "items": item, "minItems": 1}


METADATA = shape("name", name=NAME, namespace=NAME, labels=LABELS)
RESOURCES = {"type": "object", "additionalProperties": {"type": "string", "pattern": "^[0-9]+m?$"}}
FIELD = shape("fieldRef", fieldRef=shape("fieldPath", fieldPath=TEXT))
VARIABLE = {
    "oneOf": [
        shape("name value", name=TEXT, value={"type": "string"}),
        shape("name valueFrom", name=TEXT, valueFrom=FIELD),
    ]
}
CLAIM = shape("claimName", claimName=NAME, readOnly={"type": "boolean"})
VOLUME = {
    "oneOf": [
        shape("name persistentVolumeClaim", name=NAME, persistentVolumeClaim=CLAIM),
        shape("name emptyDir", name=NAME, emptyDir=shape("", medium={"enum": ["", "Memory"]})),
        shape("name configMap", name=NAME, configMap=shape("name", name=NAME)),
        shape(
            "name hostPath",
            name=NAME,
            hostPath=shape("path", path=TEXT, type={"enum": ["", "Directory", "File"]}),
        ),
    ]
}
MOUNT = shape(
    "name mountPath",
    name=NAME,
    mountPath={"type": "string", "pattern": "^/"},
    readOnly={"type": "boolean"},
)
CONTAINER = shape(
    "name image",
    name=NAME,
    image=TEXT,
    command=listing({"type": "string"}),
    args=listing({"type": "string"}),
    env=listing(VARIABLE),
    resources=shape("", requests=RESOURCES, limits=RESOURCES),
    securityContext=shape(
        "",
        allowPrivilegeEscalation={"type": "boolean"},
        readOnlyRootFilesystem={"type": "boolean"},
        capabilities=shape("", add=listing(TEXT), drop=listing(TEXT)),
        seccompProfile=shape("type", type={"enum": ["RuntimeDefault", "Unconfined", "Localhost"]}),
    ),
    volumeMounts=listing(MOUNT),
)
AFFINITY_TERM = shape(
    "topologyKey",
    topologyKey=TEXT,
    labelSelector=shape(
        "",
        matchExpressions=listing(
            shape(
                "key operator",
                key=TEXT,
                operator={"enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                values=listing(TEXT),
            )
        ),
    ),
)
POD = shape(
    "containers",
    restartPolicy={"enum": ["Always", "OnFailure", "Never"]},
    terminationGracePeriodSeconds=COUNT,
    automountServiceAccountToken={"type": "boolean"},
    affinity=shape(
        "podAntiAffinity",
        podAntiAffinity=shape(
            "", requiredDuringSchedulingIgnoredDuringExecution=listing(AFFINITY_TERM)
        ),
    ),
    securityContext=shape(
        "", runAsNonRoot={"type": "boolean"}, runAsUser=COUNT, runAsGroup=COUNT, fsGroup=COUNT
    ),
    nodeSelector=LABELS,
    containers=listing(CONTAINER),
    volumes=listing(VOLUME),
)
EVENTS = ["*", "PodEvicted", "PodFailed", "PodPending", "TaskCompleted", "TaskFailed", "Unknown"]
ACTIONS = ["AbortJob", "CompleteJob", "RestartJob", "RestartTask", "ResumeJob", "TerminateJob"]
TASK = shape(
    "name replicas template",
    name=NAME,
    replicas={"type": "integer", "minimum": 1},
    template=shape("spec", metadata=shape("", labels=LABELS), spec=POD),
)
VOLCANO_JOB = shape(
    "apiVersion kind metadata spec",
    apiVersion={"const": "batch.volcano.sh/v1alpha1"},
    kind={"const": "Job"},
    metadata=METADATA,
    spec=shape(
        "tasks",
        minAvailable=COUNT,
        schedulerName=TEXT,
        queue=NAME,
        maxRetry=COUNT,
        policies=listing(
            shape("action", action={"enum": ACTIONS}, event={"enum": EVENTS}, timeout=TEXT)
        ),
        plugins={
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
        tasks=listing(TASK),
    ),
)
CONFIG_MAP = shape(
    "apiVersion kind metadata data",
    apiVersion={"const": "v1"},
    kind={"const": "ConfigMap"},
    metadata=METADATA,
    data={"type": "object", "additionalProperties": {"type": "string"}},
)
