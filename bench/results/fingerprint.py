"""Whether two results may be compared, decided by a table of facts.

A fact of :data:`RULES` either forbids a comparison when it differs (what was trained, and on what
kind of device) or calls for a warning (versions, settings and hardware that shift the speed). Facts
outside the table decide nothing: a commit or a loss may differ, that is what one compares for.

Unknown is not equal. A fact that is known on one side only calls for a warning; where what was
asked is unknown on one side, the results are not comparable.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.results.model import RunResult

COMPARABLE = "comparable"
WITH_WARNING = "comparable with warning"
NOT_COMPARABLE = "not comparable"

FORBIDS = "forbids"
WARNS = "warns"

ASCEND = ("ascend",)
CPU = ("cpu",)
REAL = ("ascend", "cpu")


@dataclass(frozen=True)
class Rule:
    """What follows when a fact differs.

    Attributes:
        field: key of :attr:`Fingerprint.values`.
        role: :data:`FORBIDS` or :data:`WARNS`.
        backends: where the rule holds; empty for all.
    """

    field: str
    role: str
    backends: Tuple[str, ...] = ()


def _rules(role: str, backends: Tuple[str, ...], fields: str) -> Tuple[Rule, ...]:
    return tuple(Rule(field, role, backends) for field in fields.split())


RULES: Tuple[Rule, ...] = (
    *_rules(
        FORBIDS,
        (),
        """simulated backend estimate asked.cards asked.task asked.model asked.batch_size
        asked.seq_length asked.max_predictions asked.precision asked.optimizer
        asked.trainer_command""",
    ),
    *_rules(FORBIDS, REAL, "model_config_sha256"),
    *_rules(FORBIDS, ASCEND, "npu_kinds npu_hbm_kinds"),
    *_rules(FORBIDS, CPU, "architecture cpu_model cores_per_card oversubscribed"),
    *_rules(
        WARNS,
        (),
        """asked.steps asked.save_checkpoints_steps asked.trainer_options iterations_per_loop
        tool_version""",
    ),
    *_rules(
        WARNS,
        REAL,
        """host_name os_release kernel kernel_parameters virtualisation hardware_model clock_source
        cpu_microcode cpu_governor cpu_frequency_driver cpu_turbo cpu_frequency_max_hertz
        cpu_smt_active cpu_cores_usable cpu_isolated cpu_vulnerabilities numa_nodes numa_balancing
        memory_gibibytes swap_in_use transparent_hugepages hugepages container_runtime
        container_image_digest cgroup_cpu_limit_cores cgroup_memory_limit_bytes cgroup_cpuset
        process_nice output_disk data_disk data_sha256 trainer_python_version tensorflow_version
        numpy_version trainer_packages_sha256 variables_tensorflow variables_threads
        variables_loader""",
    ),
    *_rules(
        WARNS,
        ASCEND,
        """architecture cpu_model ascend_driver_version ascend_firmware_version ascend_nnae_version
        ascend_toolkit_version ascend_tfplugin_version npu_firmware_version npu_bridge_version
        rank_table_sha256 hccn_sha256 variables_ascend""",
    ),
)

# Variables that tell a rank who it is differ from run to run and change no speed.
_IDENTITY = re.compile(r"(?:RANK|DEVICE)_\w+$|(?:JOB_ID|ASCEND_DEVICE_ID|ASCEND_VISIBLE_DEVICES)$")
_GIBIBYTE = 1 << 30


@dataclass(frozen=True)
class Fingerprint:
    """The facts of a result that decide what it may be compared with.

    Attributes:
        values: field of :data:`RULES` → plain value, None when not known.
    """

    values: Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """A fact that is not the same on both sides, or not known.

    Attributes:
        field: which.
        role: what follows from it: :data:`FORBIDS` or :data:`WARNS`.
        left: value of the first result, None when not known.
        right: value of the second.
    """

    field: str
    role: str
    left: Any
    right: Any


@dataclass(frozen=True)
class Comparability:
    """Whether two results may be compared.

    Attributes:
        level: :data:`COMPARABLE`, :data:`WITH_WARNING` or :data:`NOT_COMPARABLE`.
        differences: the facts behind it, the forbidding ones first.
    """

    level: str
    differences: Tuple[Difference, ...]

    @property
    def fields(self) -> Tuple[str, ...]:
        """Names of the facts that differ."""
        return tuple(difference.field for difference in self.differences)


def build_fingerprint(result: RunResult) -> Fingerprint:
    """Takes the deciding facts out of a result."""
    found = result.found
    facts: Mapping[str, Any] = found.get("environment", {}).get("facts", {})
    before: Mapping[str, Any] = found.get("state_before", {}).get("facts", {})
    imported = found.get("imported") or {}
    derived: Dict[str, Any] = {
        "simulated": result.simulated,
        "backend": found.get("backend"),
        "estimate": imported.get("estimate") or "ours",
        "cores_per_card": found.get("cores_per_card"),
        "oversubscribed": bool(found.get("oversubscribed")),
        "iterations_per_loop": found.get("iterations_per_loop"),
        "tool_version": result.tool.get("version"),
        "npu_kinds": _kinds(facts.get("npu_names")),
        "npu_hbm_kinds": _kinds(facts.get("npu_hbm_bytes")),
        "memory_gibibytes": _round(facts.get("memory_bytes"), _GIBIBYTE),
        "swap_in_use": _is_positive(before.get("swap_used_bytes")),
        "variables_ascend": _drop_identity(facts.get("variables_ascend")),
    }
    values = {}
    for rule in RULES:
        if rule.field in derived:
            value = derived[rule.field]
        elif rule.field.startswith("asked."):
            value = result.asked.get(rule.field[len("asked.") :])
        else:
            value = facts.get(rule.field)
        values[rule.field] = json.loads(json.dumps(value))
    return Fingerprint(values)


def compare_fingerprints(
    left: Fingerprint, right: Fingerprint, ignore: Sequence[str] = ()
) -> Comparability:
    """Decides whether two results may be compared.

    Args:
        left: of the first result.
        right: of the second.
        ignore: fields that differ on purpose, such as ``asked.cards`` for scaling, or what an A/B
            comparison varies.

    Raises:
        ValueError: ``ignore`` has a field that no rule has, or one that must never be ignored.
    """
    known = {rule.field for rule in RULES}
    wrong = [field for field in ignore if field not in known or field == "simulated"]
    if wrong:
        raise ValueError("cannot ignore {}".format(", ".join(wrong)))
    backends = {left.values.get("backend"), right.values.get("backend")}
    differences: List[Difference] = []
    for rule in RULES:
        if rule.field in ignore or (rule.backends and not backends & set(rule.backends)):
            continue
        role = _judge(rule, left.values.get(rule.field), right.values.get(rule.field))
        if role is not None:
            differences.append(
                Difference(
                    rule.field, role, left.values.get(rule.field), right.values.get(rule.field)
                )
            )
    differences.sort(key=lambda difference: difference.role != FORBIDS)
    if not differences:
        level = COMPARABLE
    else:
        level = NOT_COMPARABLE if differences[0].role == FORBIDS else WITH_WARNING
    return Comparability(level, tuple(differences))


def hash_fingerprint(fingerprint: Fingerprint) -> str:
    """Hash of the forbidding facts: results with the same one form a series."""
    backend = fingerprint.values.get("backend")
    deciding = {
        rule.field: fingerprint.values.get(rule.field)
        for rule in RULES
        if rule.role == FORBIDS and (not rule.backends or backend in rule.backends)
    }
    text = json.dumps(deciding, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def render_comparability(comparability: Comparability) -> str:
    """The level, and each fact behind it with both values."""
    parts = [
        f"{difference.field} {_show(difference.left)} / {_show(difference.right)}"
        for difference in comparability.differences
    ]
    return comparability.level + (": " + "; ".join(parts) if parts else "")


def _judge(rule: Rule, left: Any, right: Any) -> Optional[str]:
    """What follows from two values; None for nothing."""
    if left is None and right is None:
        # Nobody can say that the devices or the model were the same.
        must_know = rule.role == FORBIDS and bool(rule.backends) and rule.field not in _OPTIONAL
        return WARNS if must_know else None
    if left == right:
        return None
    one_unknown = left is None or right is None
    if one_unknown and not rule.field.startswith("asked."):
        return WARNS
    return rule.role


# Null with a meaning of its own: cards that are no cores, another trainer without our config file.
_OPTIONAL = ("cores_per_card", "model_config_sha256")


def _kinds(by_card: Optional[Mapping[str, Any]]) -> Optional[List[Any]]:
    if not by_card:
        return None
    return sorted({value for value in by_card.values() if value is not None}) or None


def _round(value: Optional[float], unit: int) -> Optional[int]:
    # Kernels keep some megabytes to themselves, another amount in each version.
    return None if value is None else round(value / unit)


def _is_positive(value: Optional[float]) -> Optional[bool]:
    return None if value is None else value > 0


def _drop_identity(variables: Optional[Mapping[str, str]]) -> Optional[Dict[str, str]]:
    if variables is None:
        return None
    return {name: value for name, value in variables.items() if not _IDENTITY.match(name)}


def _show(value: Any) -> str:
    if value is None:
        return "not known"
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= 60 else text[:57] + "..."
