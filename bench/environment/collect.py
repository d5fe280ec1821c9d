"""Runs all probes side by side, each on its own clock, and puts their facts together."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from bench.environment.ascend import (
    collect_ascend_cards,
    collect_ascend_files,
    collect_ascend_state,
)
from bench.environment.container import collect_container
from bench.environment.cpu import collect_cpu
from bench.environment.files import collect_files
from bench.environment.memory import collect_limits, collect_memory
from bench.environment.software import collect_harness, collect_trainer_software
from bench.environment.sources import Fact, Facts, Subject, World
from bench.environment.state import collect_state_of_host
from bench.environment.storage import collect_storage, collect_storage_state
from bench.environment.system import collect_system
from bench.environment.variables import collect_variables, redact_text

ENVIRONMENT_SECONDS = 9.0
STATE_SECONDS = 4.0


@dataclass(frozen=True)
class Probe:
    """A group of facts that are found together.

    Attributes:
        name: for messages.
        keys: the facts that it gives, so that they are known also when it gives none.
        collect: finds them; it may block, and must not raise.
    """

    name: str
    keys: Tuple[str, ...]
    collect: Callable[[World, Subject], Facts]


def _probe(name: str, collect: Callable[[World, Subject], Facts], keys: str) -> Probe:
    return Probe(name, tuple(keys.split()), collect)


PROBES: Tuple[Probe, ...] = (
    _probe(
        "system",
        lambda world, subject: collect_system(world),
        """host_name system os_release kernel kernel_build kernel_parameters architecture libc
        hardware_model virtualisation boot_id timezone utc_offset_seconds clock_source
        clock_synchronised locale preferred_encoding address_randomisation scheduler_autogroup
        irq_balance network_interfaces""",
    ),
    _probe(
        "cpu",
        lambda world, subject: collect_cpu(world),
        """cpu_model cpu_microcode cpu_vector_flags cpu_cores cpu_cores_usable
        cpu_cores_usable_list cpu_cores_physical cpu_sockets cpu_smt_active cpu_governor
        cpu_frequency_driver cpu_turbo cpu_frequency_min_hertz cpu_frequency_max_hertz
        cpu_caches_bytes cpu_isolated cpu_vulnerabilities cpu_idle_driver numa_nodes numa_cores
        numa_balancing""",
    ),
    _probe(
        "memory",
        lambda world, subject: collect_memory(world),
        """memory_bytes swap_bytes hugepages hugepage_bytes transparent_hugepages
        transparent_hugepage_defrag swappiness overcommit_memory shared_memory_bytes""",
    ),
    _probe(
        "limits",
        lambda world, subject: collect_limits(world),
        """limit_open_files limit_processes limit_locked_memory_bytes limit_stack_bytes
        limit_core_file_bytes limit_address_space_bytes process_nice process_is_root""",
    ),
    _probe(
        "container",
        lambda world, subject: collect_container(world),
        """container_runtime container_id container_image container_image_digest kubernetes_pod
        scheduler_job cgroup_version cgroup_cpu_limit_cores cgroup_memory_limit_bytes cgroup_cpuset
        cgroup_pids_limit""",
    ),
    _probe(
        "variables",
        lambda world, subject: collect_variables(world),
        """variables_ascend variables_tensorflow variables_threads variables_python
        variables_loader""",
    ),
    _probe(
        "harness",
        collect_harness,
        """harness_version harness_python_version harness_python_implementation
        harness_python_executable git_commit git_dirty git_branch harness_sources_sha256
        trainer_sources_sha256""",
    ),
    _probe(
        "trainer software",
        collect_trainer_software,
        """trainer_python_executable trainer_python_version trainer_python_implementation
        trainer_python_compiler tensorflow_version npu_bridge_version hccl_version numpy_version
        protobuf_version h5py_version grpcio_version absl_version trainer_packages_sha256
        trainer_packages""",
    ),
    _probe(
        "inputs",
        lambda world, subject: collect_files(subject),
        "data_sha256 data_hash_method data_files data_bytes model_config_sha256",
    ),
    _probe(
        "storage",
        collect_storage,
        """output_filesystem output_disk output_mount_options data_filesystem data_disk
        temporary_filesystem""",
    ),
    _probe(
        "Ascend files",
        collect_ascend_files,
        """ascend_driver_version ascend_firmware_version ascend_nnae_version
        ascend_toolkit_version ascend_tfplugin_version ascend_fwkacllib_version ascend_opp_version
        npu_device_nodes hccn_addresses hccn_sha256 rank_table_sha256 rank_table_devices
        rank_table_status""",
    ),
    _probe(
        "Ascend cards",
        lambda world, subject: collect_ascend_cards(world),
        """npu_smi_version npu_smi_driver_version npu_names npu_bus_ids npu_hbm_bytes
        npu_firmware_version npu_software_version npu_compatibility npu_board_id""",
    ),
)
"""Facts that hold for a session."""

STATE_PROBES: Tuple[Probe, ...] = (
    _probe(
        "state of the host",
        lambda world, subject: collect_state_of_host(world),
        """load_average_1min load_average_5min processes_running processes uptime_seconds
        memory_available_bytes swap_used_bytes hugepages_free cpu_frequency_hertz
        cpu_throttle_count cpu_ticks cpu_pressure_some_avg60 memory_pressure_some_avg60
        io_pressure_some_avg60 temperatures_celsius""",
    ),
    _probe(
        "state of the disks",
        lambda world, subject: collect_storage_state(subject),
        "output_free_bytes",
    ),
    _probe(
        "state of the cards",
        lambda world, subject: collect_ascend_state(world),
        """npu_health npu_temperature_celsius npu_power_watts npu_core_usage_ratio
        npu_hbm_used_bytes npu_core_frequency_hertz npu_processes""",
    ),
)
"""Facts that change while a machine works."""


def collect_environment(
    subject: Optional[Subject] = None,
    world: Optional[World] = None,
    limit_seconds: float = ENVIRONMENT_SECONDS,
) -> Dict[str, Any]:
    """Facts of this machine and of what the run will use.

    Unprivileged, and done within the limit: a probe that has not answered by then is left alone
    and its facts are absent for that reason.

    Args:
        subject: what the run will use; by default nothing.
        world: the machine to look at; by default this one.
        limit_seconds: of all probes together.

    Returns:
        ``facts`` and ``absent``; see the package.
    """
    return _collect(PROBES, subject or Subject(), world or World(), limit_seconds)


def collect_state(
    subject: Optional[Subject] = None,
    world: Optional[World] = None,
    limit_seconds: float = STATE_SECONDS,
) -> Dict[str, Any]:
    """Load, clocks, temperatures and free space at this moment; see :func:`collect_environment`."""
    return _collect(STATE_PROBES, subject or Subject(), world or World(), limit_seconds)


def _collect(
    probes: Sequence[Probe], subject: Subject, world: World, limit_seconds: float
) -> Dict[str, Any]:
    answers: List[Optional[Facts]] = [None] * len(probes)
    end = time.monotonic() + limit_seconds

    def ask(index: int) -> None:
        try:
            answers[index] = probes[index].collect(world, subject)
        except Exception as error:
            reason = f"probe {probes[index].name} failed: {type(error).__name__}: {error}"[:200]
            answers[index] = {key: Fact(None, reason) for key in probes[index].keys}

    # Daemon threads: a file system that hangs must not hold up the end of the harness either.
    threads = [
        threading.Thread(target=ask, args=(index,), name=f"probe {probe.name}", daemon=True)
        for index, probe in enumerate(probes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    facts: Dict[str, Any] = {}
    absent: Dict[str, str] = {}
    for probe, answer in zip(probes, list(answers)):
        late = f"probe {probe.name} took longer than {limit_seconds:g} s"
        for key in probe.keys:
            fact = Fact(None, late) if answer is None else answer[key]
            facts[key] = fact.value
            if fact.reason is not None:
                # A reason quotes paths and what commands said.
                absent[key] = redact_text(fact.reason)
    return {"facts": facts, "absent": absent}
