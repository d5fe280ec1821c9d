"""The operating system: kernel, clock, time zone, locale, virtualisation."""

from __future__ import annotations

import contextlib
import locale
import os
import platform
import re
import time
from functools import partial
from typing import Dict, List, Mapping, Optional

from bench.environment.cpu import parse_cpuinfo_field
from bench.environment.sources import (
    COMMAND_TIMEOUT_SECONDS,
    AbsentFactError,
    Facts,
    World,
    exists,
    list_names,
    locate,
    read_first,
    read_text,
    read_word,
    take,
)

_CLOCK = "/sys/devices/system/clocksource/clocksource0"
_SYNC_MARKS = ("/run/systemd/timesync/synchronized", "/run/chrony/chronyd.pid")

# Boot parameters that change speed; the rest may name disks and hosts and is nobody's business.
_BOOT_PARAMETERS = re.compile(
    r"(?:isolcpus|nohz|nohz_full|rcu_nocbs|mitigations|nosmt|maxcpus|nr_cpus|numa|numa_balancing"
    r"|idle|intel_idle\.\w+|processor\.\w+|intel_pstate|amd_pstate|hugepages|hugepagesz"
    r"|default_hugepagesz|transparent_hugepage|iommu|intel_iommu|amd_iommu|clocksource|tsc"
    r"|preempt|cgroup_disable|systemd\.unified_cgroup_hierarchy|irqaffinity)(?:=.*)?$"
)


def collect_system(world: World) -> Facts:
    """Facts of the running system."""
    return {
        "host_name": take(lambda: platform.node() or None),
        "system": take(lambda: platform.system() or None),
        "os_release": take(lambda: parse_os_release(_read_os_release(world)).get("PRETTY_NAME")),
        "kernel": take(lambda: read_word(world, "/proc/sys/kernel/osrelease")),
        "kernel_build": take(lambda: read_word(world, "/proc/sys/kernel/version")),
        "kernel_parameters": take(lambda: parse_boot_parameters(read_text(world, "/proc/cmdline"))),
        "architecture": take(lambda: platform.machine() or None),
        "libc": take(lambda: " ".join(platform.libc_ver()).strip() or None),
        "hardware_model": take(lambda: _read_hardware_model(world)),
        "virtualisation": take(lambda: _detect_virtualisation(world)),
        "boot_id": take(lambda: read_word(world, "/proc/sys/kernel/random/boot_id")),
        "timezone": take(lambda: _find_timezone(world)),
        "utc_offset_seconds": take(lambda: time.localtime().tm_gmtoff),
        "clock_source": take(lambda: read_word(world, f"{_CLOCK}/current_clocksource")),
        "clock_synchronised": take(lambda: _detect_synchronised(world)),
        "locale": take(lambda: parse_locale(world.variables)),
        "preferred_encoding": take(lambda: locale.getpreferredencoding(False)),
        "address_randomisation": take(
            lambda: int(read_word(world, "/proc/sys/kernel/randomize_va_space"))
        ),
        "scheduler_autogroup": take(
            lambda: read_word(world, "/proc/sys/kernel/sched_autogroup_enabled")
        ),
        "irq_balance": take(lambda: _is_running(world, "irqbalance")),
        "network_interfaces": take(lambda: _read_interfaces(world)),
    }


def parse_os_release(text: str) -> Dict[str, str]:
    """``/etc/os-release``: names and values, quotes taken off."""
    entries = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and not name.startswith("#"):
            entries[name.strip()] = value.strip().strip("\"'")
    return entries


def parse_boot_parameters(text: str) -> List[str]:
    """The boot parameters that change speed, in order."""
    return [word for word in text.split() if _BOOT_PARAMETERS.match(word)]


def parse_locale(variables: Mapping[str, str]) -> str:
    """The locale by the rule of POSIX: ``LC_ALL`` before ``LC_CTYPE`` before ``LANG``."""
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    return next((variables[name] for name in names if variables.get(name)), "C")


def parse_virtualisation(detected: Optional[str], cpuinfo: str) -> str:
    """Name of the hypervisor.

    Args:
        detected: what ``systemd-detect-virt --vm`` printed, None when it could not be run.
        cpuinfo: text of ``/proc/cpuinfo``, whose flag ``hypervisor`` tells of one.
    """
    if detected and detected.strip() not in ("", "none"):
        return detected.strip()
    flags = parse_cpuinfo_field(cpuinfo, ("flags",)) or ""
    return "a hypervisor without a name" if "hypervisor" in flags.split() else "none"


def parse_synchronised(text: str) -> Optional[bool]:
    """Answer of ``timedatectl show``."""
    match = re.search(r"^NTPSynchronized=(yes|no)$", text, re.MULTILINE)
    return match.group(1) == "yes" if match else None


def parse_zone_link(target: str) -> Optional[str]:
    """Zone name from the target of ``/etc/localtime``."""
    _, found, zone = target.partition("/zoneinfo/")
    return zone or None if found else None


def _read_os_release(world: World) -> str:
    return read_first(world, ("/etc/os-release", "/usr/lib/os-release"))


def _read_hardware_model(world: World) -> Optional[str]:
    text = read_first(world, ("/sys/class/dmi/id/product_name", "/proc/device-tree/model"))
    return text.strip("\0 \n") or None


def _detect_virtualisation(world: World) -> str:
    detected: Optional[str] = None
    # It exits with 1 on bare metal and is absent from many images; the flag decides then.
    with contextlib.suppress(AbsentFactError):
        detected = world.run(["systemd-detect-virt", "--vm"], COMMAND_TIMEOUT_SECONDS)
    return parse_virtualisation(detected, read_text(world, "/proc/cpuinfo"))


def _find_timezone(world: World) -> Optional[str]:
    if world.variables.get("TZ"):
        return world.variables["TZ"]
    link = locate(world, "/etc/localtime")
    if os.path.islink(link):
        zone = parse_zone_link(os.readlink(link))
        if zone:
            return zone
    if exists(world, "/etc/timezone"):
        return read_word(world, "/etc/timezone")
    if exists(world, "/etc/localtime"):
        raise AbsentFactError("/etc/localtime has no name")
    return "UTC"


def _detect_synchronised(world: World) -> Optional[bool]:
    try:
        argv = ["timedatectl", "show", "--property=NTPSynchronized"]
        return parse_synchronised(world.run(argv, COMMAND_TIMEOUT_SECONDS))
    except AbsentFactError as error:
        if any(exists(world, mark) for mark in _SYNC_MARKS):
            return True
        raise AbsentFactError(f"{error}, and no time service left a mark") from error


def _is_running(world: World, name: str) -> bool:
    for pid in filter(str.isdigit, list_names(world, "/proc")):
        try:
            if read_word(world, f"/proc/{pid}/comm") == name:
                return True
        except AbsentFactError:
            continue
    return False


def _read_interfaces(world: World) -> Dict[str, str]:
    """State and speed of the network interfaces, addresses left out."""
    interfaces = {}
    for name in list_names(world, "/sys/class/net"):
        if name == "lo":
            continue
        state = take(partial(read_word, world, f"/sys/class/net/{name}/operstate"))
        speed = take(partial(read_word, world, f"/sys/class/net/{name}/speed"))
        # An interface without a link says -1 or cannot be asked.
        known = str(speed.value).isdigit()
        interfaces[name] = f"{state.value}, {speed.value} Mb/s" if known else str(state.value)
    return interfaces
