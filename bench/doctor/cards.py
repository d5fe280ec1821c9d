"""The cards: device nodes, ``npu-smi``, health, memory errors, who uses them."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Dict, List, Sequence

from bench.devices import npu_smi, npu_smi_fields
from bench.devices.ascend import list_device_ids
from bench.devices.vendor_tools import NPU_SMI_PATHS, find_tool
from bench.doctor.model import FAIL, OK, WARN, Finding, Patient, join_numbers, skip
from bench.environment.sources import locate

_MANAGERS = ("davinci_manager", "devmm_svm", "hisi_hdc")
_HOT_CELSIUS = 85.0
_USED_RATIO = 0.1
_QUERIES = ("health", "ecc")


def examine_devices(patient: Patient) -> List[Finding]:
    """Device nodes and the right to open them."""
    folder = locate(patient.world, "/dev")
    devices = list_device_ids(folder)
    if not devices:
        return [
            Finding(
                "devices",
                FAIL,
                "no /dev/davinci*",
                "install the driver; in a container pass --device=/dev/davinciN for each card, "
                "or use --backend cpu",
            )
        ]
    findings = [Finding("devices", OK, f"{len(devices)}: davinci{join_numbers(devices)}")]
    absent = [name for name in _MANAGERS if not os.path.exists(os.path.join(folder, name))]
    if absent:
        flags = " ".join(f"--device=/dev/{name}" for name in absent)
        findings.append(
            Finding(
                "manager devices",
                FAIL,
                "no {}".format(", ".join("/dev/" + name for name in absent)),
                f"pass {flags} to the container",
            )
        )
    else:
        findings.append(Finding("manager devices", OK, ", ".join(_MANAGERS)))
    names = [f"davinci{device}" for device in devices] + [
        name for name in _MANAGERS if name not in absent
    ]
    closed = [
        name for name in names if not os.access(os.path.join(folder, name), os.R_OK | os.W_OK)
    ]
    if closed:
        findings.append(
            Finding(
                "device access",
                FAIL,
                "no right to open {}".format(", ".join(closed)),
                "join the group HwHiAiUser (docker run --group-add), or run as the driver's user",
            )
        )
    else:
        findings.append(Finding("device access", OK, "may be opened by this user"))
    return findings


def examine_cards(patient: Patient) -> List[Finding]:
    """What ``npu-smi`` tells of the cards."""
    tool = find_tool(NPU_SMI_PATHS, patient.world.root)
    if tool is None:
        return [
            Finding(
                "npu-smi",
                WARN,
                "not installed",
                "mount /usr/local/bin/npu-smi and /usr/local/dcmi into the container; "
                "without it runs have no telemetry of cards",
            )
        ]
    answer = patient.run([tool, "info"])
    overview = npu_smi.parse_overview(answer.output)
    if not overview.chips:
        said = npu_smi.find_failure(answer.output + "\n" + answer.errors) or answer.reason
        return [
            Finding(
                "npu-smi",
                FAIL,
                said or "its output shows no card",
                "restart the host after a change of the driver; give the container the devices "
                "and libraries of the driver",
            )
        ]
    version = overview.tool_version or "of unknown version"
    findings = [Finding("npu-smi", OK, f"{version} shows {len(overview.chips)} chip(s)")]
    details = _read_details(patient, tool, sorted({chip.npu for chip in overview.chips}))
    findings.append(_judge_health(overview.chips, details))
    findings.append(_judge_temperature(overview.chips))
    findings.append(_judge_memory_errors(details))
    findings.append(_judge_use(overview))
    return findings


def _read_details(
    patient: Patient, tool: str, cards: Sequence[int]
) -> Dict[int, npu_smi_fields.ChipDetails]:
    """Health and memory errors of each card, asked for at the same time."""

    def read(card: int) -> npu_smi_fields.ChipDetails:
        found = npu_smi_fields.ChipDetails()
        for query in _QUERIES:
            answer = patient.run([tool, "info", "-t", query, "-i", str(card)])
            for details in npu_smi_fields.parse_details(answer.output).values():
                worst = max(
                    found.hbm_ecc_double_bit_errors or 0, details.hbm_ecc_double_bit_errors or 0
                )
                found = npu_smi_fields.merge_details(found, details)
                if found.hbm_ecc_double_bit_errors is not None:
                    # Of a card with two chips the worse one counts.
                    found = replace(found, hbm_ecc_double_bit_errors=worst)
        return found

    with ThreadPoolExecutor(max_workers=max(1, len(cards))) as pool:
        return dict(zip(cards, pool.map(read, cards)))


def _judge_health(
    chips: Sequence[npu_smi.Chip], details: Dict[int, npu_smi_fields.ChipDetails]
) -> Finding:
    bad = [chip for chip in chips if chip.health.upper() != "OK"]
    if not bad:
        return Finding("card health", OK, f"{len(chips)} of {len(chips)} OK")
    texts = []
    for chip in bad:
        codes = (details.get(chip.npu) or npu_smi_fields.ChipDetails()).error_codes
        shown = " ({})".format(" ".join(codes)) if codes else ""
        texts.append(f"card {chip.device}: {chip.health or 'not told'}{shown}")
    serious = any(chip.health.upper() in ("ALARM", "CRITICAL") for chip in bad)
    return Finding(
        "card health",
        FAIL if serious else WARN,
        "; ".join(texts),
        "look the codes up in the vendor's list of black-box errors; leave these cards out",
    )


def _judge_temperature(chips: Sequence[npu_smi.Chip]) -> Finding:
    known = [
        (chip.temperature_celsius, chip.device)
        for chip in chips
        if chip.temperature_celsius is not None
    ]
    if not known:
        return skip("card temperature", "npu-smi does not tell it")
    hottest, device = max(known)
    figure = f"{hottest:.0f} °C at the most, card {device}"
    if hottest > _HOT_CELSIUS:
        return Finding("card temperature", WARN, figure, "look at fans and air flow")
    return Finding("card temperature", OK, figure)


def _judge_memory_errors(details: Dict[int, npu_smi_fields.ChipDetails]) -> Finding:
    name = "memory errors"
    known = {
        card: item for card, item in details.items() if item.hbm_ecc_double_bit_errors is not None
    }
    if not known:
        return skip(name, "this npu-smi does not tell of memory errors")
    bad = [card for card, item in sorted(known.items()) if item.hbm_ecc_double_bit_errors]
    singles = sum(item.hbm_ecc_single_bit_errors or 0 for item in known.values())
    if bad:
        return Finding(
            name,
            WARN,
            f"errors that could not be corrected on card {join_numbers(bad)}",
            "reset the card; have it replaced when they come again",
        )
    return Finding(name, OK, f"none uncorrected, {singles} corrected")


def _judge_use(overview: npu_smi.Overview) -> Finding:
    name = "card use"
    if overview.processes:
        texts = [
            f"{process.name or 'process'} {process.process_id} on card {process.npu}"
            for process in overview.processes
        ]
        more = len(texts) - 4
        return Finding(
            name,
            WARN,
            ", ".join(texts[:4]) + (f" and {more} more" if more > 0 else ""),
            "wait for their end, or leave these cards out; they would share the card with a run",
        )
    used = [
        chip.device
        for chip in overview.chips
        if chip.hbm_used_bytes and (chip.hbm_total_bytes or 0) * _USED_RATIO < chip.hbm_used_bytes
    ]
    if used:
        return Finding(
            name,
            WARN,
            f"memory in use on card {join_numbers(used)}",
            "somebody holds these cards, perhaps from another container",
        )
    return Finding(name, OK, "nobody uses them" if overview.has_process_table else "memory is free")
