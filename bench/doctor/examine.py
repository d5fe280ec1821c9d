"""Runs the examinations side by side and ends in time, whatever hangs."""

from __future__ import annotations

import threading
import time
from typing import List, Optional, Sequence

from bench.doctor.cards import examine_cards, examine_devices
from bench.doctor.machine import (
    examine_clock,
    examine_cores,
    examine_disk,
    examine_harness,
    examine_memory,
    examine_ports,
)
from bench.doctor.model import FAIL, Examination, Finding, Patient, skip
from bench.doctor.network import examine_network, examine_rank_table
from bench.doctor.software import examine_adapter, examine_trainer, examine_versions

LIMIT_SECONDS = 25.0
_LAST_WAIT_SECONDS = 1.0

EXAMINATIONS = (
    Examination("harness", examine_harness),
    Examination("cores", examine_cores),
    Examination("memory", examine_memory),
    Examination("disk", examine_disk),
    Examination("clock", examine_clock),
    Examination("ports", examine_ports),
    Examination("trainer", examine_trainer),
    Examination("devices", examine_devices, ("ascend",)),
    Examination("cards", examine_cards, ("ascend",)),
    Examination("versions", examine_versions, ("ascend",)),
    Examination("npu_bridge", examine_adapter, ("ascend",)),
    Examination("card network", examine_network, ("ascend",)),
    Examination("rank table", examine_rank_table, ("ascend",)),
)
"""All of them, in the order of the report."""


def examine(
    patient: Patient,
    examinations: Sequence[Examination] = EXAMINATIONS,
    limit_seconds: float = LIMIT_SECONDS,
) -> List[Finding]:
    """Findings of all examinations, in their order.

    Args:
        patient: what is examined.
        examinations: what to do.
        limit_seconds: of all together; one that has not ended by then is a failure.
    """
    answers: List[Optional[List[Finding]]] = [None] * len(examinations)
    end = time.monotonic() + limit_seconds

    def run(index: int) -> None:
        one = examinations[index]
        try:
            answers[index] = one.examine(patient)
        except Exception as error:
            text = f"could not be examined: {type(error).__name__}: {error}"[:200]
            answers[index] = [Finding(one.name, FAIL, text, "please report this")]

    threads = []
    for index, one in enumerate(examinations):
        if one.backends and patient.backend not in one.backends:
            needed = " or ".join(one.backends)
            answers[index] = [skip(one.name, f"only for backend {needed}")]
            continue
        # Daemon threads: a file system that hangs must not hold up the end.
        thread = threading.Thread(target=run, args=(index,), name=f"doctor {one.name}", daemon=True)
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    done = list(answers)
    # Commands that still run are killed, and their threads get a moment to see to it.
    patient.cancel.set()
    last = time.monotonic() + _LAST_WAIT_SECONDS
    for thread in threads:
        thread.join(max(0.0, last - time.monotonic()))
    findings: List[Finding] = []
    for one, answer in zip(examinations, done):
        if answer is None:
            late = f"did not end within {limit_seconds:g} s"
            answer = [
                Finding(one.name, FAIL, late, "a tool or a file system hangs; try it by hand")
            ]
        findings += answer
    return findings
