"""The trainer's interpreter and the cards' software: versions, imports, what fits together."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional

from bench.devices import npu_smi_fields
from bench.devices.ascend import list_device_ids
from bench.devices.vendor_tools import NPU_SMI_PATHS, find_tool
from bench.doctor.compatibility import MEASURED_CANN, list_doubts
from bench.doctor.model import FAIL, OK, WARN, Finding, Patient, skip
from bench.environment import software
from bench.environment.ascend import collect_ascend_files
from bench.environment.sources import AbsentFactError, Fact, Subject, locate
from bench.launch.trainer import find_trainer_folder

PYTHON_SERIES = "3.7"
TENSORFLOW_SERIES = "1.15"
_IMPORT_TIMEOUT_SECONDS = 20.0
_MODULES = ("npu_bridge", "hccl")
_IMPORT = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        module = importlib.import_module(name)
        found[name] = [True, str(getattr(module, "__file__", None) or "")]
    except BaseException as error:
        found[name] = [False, "{}: {}".format(type(error).__name__, error)]
print(json.dumps(found))
"""


def examine_trainer(patient: Patient) -> List[Finding]:
    """Interpreter, framework and package of the trainer."""
    if patient.backend == "simulated":
        return [skip("trainer", "simulated cards run no trainer")]
    python = patient.trainer_python
    answer = patient.run([python, str(software.LISTER)], 2 * _IMPORT_TIMEOUT_SECONDS)
    try:
        if answer.reason is not None:
            raise AbsentFactError(answer.reason)
        found = software.parse_packages(answer.output)
    except AbsentFactError as error:
        remedy = "name the trainer's interpreter with --trainer-python"
        return [Finding("trainer Python", FAIL, f"{python}: {error}", remedy)]
    version = str(found["python"])
    findings = []
    if version.startswith(PYTHON_SERIES + "."):
        findings.append(Finding("trainer Python", OK, f"{version} at {python}"))
    else:
        findings.append(
            Finding(
                "trainer Python",
                WARN,
                f"{version} at {python}",
                f"TensorFlow {TENSORFLOW_SERIES} was built for Python {PYTHON_SERIES}; "
                "scripts/prepare finds one, --trainer-python names one",
            )
        )
    findings.append(_judge_tensorflow(found))
    folder = find_trainer_folder()
    findings.append(
        Finding("trainer", OK, str(folder))
        if folder is not None
        else Finding(
            "trainer",
            WARN,
            "the package bert is not installed",
            "install it, or bring a trainer of your own with --trainer-command",
        )
    )
    return findings


def _judge_tensorflow(found: Dict[str, Any]) -> Finding:
    remedy = f"install the extra 'cpu' (TensorFlow {TENSORFLOW_SERIES}), or use the Ascend image"
    try:
        version = software.get_version(found, ("tensorflow", "tensorflow-cpu", "tensorflow-gpu"))
    except AbsentFactError as error:
        if found["modules"].get("tensorflow"):
            return Finding("TensorFlow", WARN, str(error), remedy)
        return Finding("TensorFlow", FAIL, str(error), remedy)
    if version.startswith(TENSORFLOW_SERIES + "."):
        return Finding("TensorFlow", OK, version)
    return Finding("TensorFlow", FAIL, version, remedy)


def examine_adapter(patient: Patient) -> List[Finding]:
    """Whether the adapter and HCCL can really be imported by the trainer's interpreter."""
    answer = patient.run(
        [patient.trainer_python, "-c", _IMPORT, *_MODULES], _IMPORT_TIMEOUT_SECONDS
    )
    try:
        found = dict(json.loads((answer.output.strip().splitlines() or [""])[-1]))
    except (ValueError, TypeError):
        said = answer.reason or "it printed no answer"
        return [
            Finding(
                "npu_bridge",
                FAIL,
                f"the import ended the interpreter: {said}",
                "source the set-up of CANN; LD_LIBRARY_PATH must name its and the driver's lib64",
            )
        ]
    findings = []
    for name in _MODULES:
        is_there, text = found.get(name, [False, "not asked"])
        remedy = (
            f"install the adapter for {patient.trainer_python}, and put TF_PLUGIN_PKG and "
            "fwkacllib's site-packages on PYTHONPATH"
        )
        findings.append(
            Finding(name, OK, text) if is_there else Finding(name, FAIL, text[:200], remedy)
        )
    return findings


def examine_versions(patient: Patient) -> List[Finding]:
    """Versions of driver, firmware, CANN and adapter, and whether they go together."""
    facts = collect_ascend_files(patient.world, Subject())
    board = _read_board(patient)
    driver = facts["ascend_driver_version"].value or board.software_version
    firmware = facts["ascend_firmware_version"].value or board.firmware_version
    cann = facts["ascend_nnae_version"].value or facts["ascend_toolkit_version"].value
    cann = cann or facts["ascend_fwkacllib_version"].value
    adapter = facts["ascend_tfplugin_version"].value
    findings = [
        _state(
            "driver",
            driver,
            facts["ascend_driver_version"],
            FAIL,
            "install it on the host, and mount /usr/local/Ascend/driver into the container",
        ),
        _state(
            "firmware",
            firmware,
            facts["ascend_firmware_version"],
            WARN,
            "see npu-smi info -t board",
        ),
        _state(
            "CANN",
            cann,
            facts["ascend_nnae_version"],
            FAIL,
            "use the ascend-tensorflow image, or install nnae or ascend-toolkit",
        ),
        _state(
            "adapter",
            adapter,
            facts["ascend_tfplugin_version"],
            WARN,
            "install the tfplugin package of the same CANN",
        ),
    ]
    findings.append(_judge_together(cann, driver, firmware, adapter, board.compatibility))
    return findings


def _judge_together(
    cann: Optional[str],
    driver: Optional[str],
    firmware: Optional[str],
    adapter: Optional[str],
    compatibility: Optional[str],
) -> Finding:
    name = "compatibility"
    if compatibility is not None and compatibility.upper() == "NOK":
        return Finding(
            name,
            FAIL,
            "npu-smi says that driver and firmware do not fit (NOK)",
            "install driver and firmware of one release and restart the host",
        )
    if cann is None:
        return skip(name, "the version of CANN is not known")
    doubts = list_doubts(cann, driver, firmware, adapter)
    if doubts:
        return Finding(
            name,
            WARN,
            "; ".join(doubts),
            "look the pairing up in the release notes of CANN; it may work all the same",
        )
    return Finding(
        name,
        OK,
        f"CANN {cann} with driver {driver}, as published"
        + ("" if cann.startswith(MEASURED_CANN) else f"; written for CANN {MEASURED_CANN}"),
    )


def _read_board(patient: Patient) -> npu_smi_fields.ChipDetails:
    """What the first card says of itself; nothing when it does not answer."""
    tool = find_tool(NPU_SMI_PATHS, patient.world.root)
    devices = list_device_ids(locate(patient.world, "/dev"))
    if tool is None or not devices:
        return npu_smi_fields.ChipDetails()
    answer = patient.run([tool, "info", "-t", "board", "-i", str(devices[0])])
    chips = npu_smi_fields.parse_details(answer.output)
    return chips[min(chips)] if chips else npu_smi_fields.ChipDetails()


def _state(name: str, value: Optional[str], fact: Fact, absent: str, remedy: str) -> Finding:
    if value is not None:
        return Finding(name, OK, value)
    return Finding(name, absent, str(fact.reason or "not known"), remedy)
