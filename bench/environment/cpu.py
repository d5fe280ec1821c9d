"""The processors: model, layout, frequency control, caches, NUMA."""

from __future__ import annotations

import re
from typing import Dict, List, Optional, Set, Tuple

from bench.environment.sources import (
    AbsentFactError,
    Facts,
    World,
    list_names,
    read_first,
    read_text,
    read_word,
    take,
)

_CPUS = "/sys/devices/system/cpu"
_NODES = "/sys/devices/system/node"
_CPU_FOLDER = re.compile(r"cpu\d+$")
_NODE_FOLDER = re.compile(r"node\d+$")
_VECTOR_FLAGS = re.compile(r"(?:avx|amx|fma|f16c|sse4|asimd|sve|bf16|fphp)\w*$")

# ARM kernels give numbers where x86 gives a name: (implementer, part) in the MIDR register.
_ARM_PARTS = {("0x48", "0xd01"): "HiSilicon TaiShan v110 (Kunpeng 920)"}


def collect_cpu(world: World) -> Facts:
    """Facts that hold as long as the machine is not set up anew."""

    def cpuinfo() -> str:
        return read_text(world, "/proc/cpuinfo")

    def usable() -> str:
        found = parse_status_field(read_text(world, "/proc/self/status"), "Cpus_allowed_list")
        if found is None:
            raise AbsentFactError("/proc/self/status does not tell")
        return found

    return {
        "cpu_model": take(lambda: parse_cpu_model(cpuinfo())),
        "cpu_microcode": take(lambda: parse_cpuinfo_field(cpuinfo(), ("microcode",))),
        "cpu_vector_flags": take(lambda: parse_vector_flags(cpuinfo())),
        "cpu_cores": take(lambda: len(parse_cpu_list(read_word(world, f"{_CPUS}/online")))),
        "cpu_cores_usable": take(lambda: len(parse_cpu_list(usable()))),
        "cpu_cores_usable_list": take(usable),
        "cpu_cores_physical": take(lambda: len(_read_topology(world))),
        "cpu_sockets": take(lambda: len({package for package, _ in _read_topology(world)})),
        "cpu_smt_active": take(lambda: parse_switch(read_word(world, f"{_CPUS}/smt/active"))),
        "cpu_governor": take(lambda: _read_of_all_cpus(world, "cpufreq/scaling_governor")),
        "cpu_frequency_driver": take(lambda: _read_of_all_cpus(world, "cpufreq/scaling_driver")),
        "cpu_turbo": take(lambda: _read_turbo(world)),
        "cpu_frequency_min_hertz": take(lambda: _read_frequency(world, "cpuinfo_min_freq")),
        "cpu_frequency_max_hertz": take(lambda: _read_frequency(world, "cpuinfo_max_freq")),
        "cpu_caches_bytes": take(lambda: _read_caches(world)),
        "cpu_isolated": take(lambda: read_word(world, f"{_CPUS}/isolated") or "none"),
        "cpu_vulnerabilities": take(lambda: _read_vulnerabilities(world)),
        "cpu_idle_driver": take(lambda: read_word(world, f"{_CPUS}/cpuidle/current_driver")),
        "numa_nodes": take(lambda: len(_list_nodes(world))),
        "numa_cores": take(lambda: _read_numa_cores(world)),
        "numa_balancing": take(lambda: read_word(world, "/proc/sys/kernel/numa_balancing")),
    }


def parse_cpuinfo_field(text: str, names: Tuple[str, ...]) -> Optional[str]:
    """First value of the first of several fields of ``/proc/cpuinfo``; None if there is none."""
    found: Dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and value.strip():
            found.setdefault(key.strip(), value.strip())
    return next((found[name] for name in names if name in found), None)


def parse_cpu_model(text: str) -> Optional[str]:
    """Model name from ``/proc/cpuinfo``; implementer and part where an ARM kernel has none."""
    name = parse_cpuinfo_field(text, ("model name", "Model", "Hardware", "cpu model"))
    if name is not None:
        return name
    implementer = parse_cpuinfo_field(text, ("CPU implementer",))
    part = parse_cpuinfo_field(text, ("CPU part",))
    if implementer is None or part is None:
        return None
    unnamed = f"ARM implementer {implementer} part {part}"
    return _ARM_PARTS.get((implementer.lower(), part.lower()), unnamed)


def parse_vector_flags(text: str) -> Optional[List[str]]:
    """The flags of ``/proc/cpuinfo`` that numerical libraries choose their kernels by, sorted."""
    flags = parse_cpuinfo_field(text, ("flags", "Features"))
    return None if flags is None else sorted({f for f in flags.split() if _VECTOR_FLAGS.match(f)})


def parse_status_field(text: str, name: str) -> Optional[str]:
    """A field of ``/proc/<pid>/status``."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return None


def parse_cpu_list(text: str) -> List[int]:
    """Core numbers of the kernel's list form, as in ``0-3,8``.

    Raises:
        ValueError: not in that form.
    """
    cores: List[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cores.extend(range(int(first), int(last or first) + 1))
    return cores


def parse_switch(text: str) -> Optional[bool]:
    """``1`` or ``0`` of a kernel file; None for anything else."""
    return {"1": True, "0": False}.get(text.strip())


def parse_size(text: str) -> int:
    """Bytes of a size with the kernel's suffixes, as in ``32K``.

    Raises:
        ValueError: not in that form.
    """
    word = text.strip()
    scale = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(word[-1:].upper(), 1)
    return int(word if scale == 1 else word[:-1]) * scale


def _list_cpus(world: World) -> List[str]:
    folders = [name for name in list_names(world, _CPUS) if _CPU_FOLDER.match(name)]
    return sorted(folders, key=lambda name: int(name[3:]))


def _list_nodes(world: World) -> List[str]:
    return [name for name in list_names(world, _NODES) if _NODE_FOLDER.match(name)]


def _read_topology(world: World) -> Set[Tuple[str, str]]:
    """(package, core) of every physical core."""
    cores = set()
    for cpu in _list_cpus(world):
        try:
            package = read_word(world, f"{_CPUS}/{cpu}/topology/physical_package_id")
            cores.add((package, read_word(world, f"{_CPUS}/{cpu}/topology/core_id")))
        except AbsentFactError:
            continue  # a core that is offline has no topology
    if not cores:
        raise AbsentFactError(f"no {_CPUS}/cpu*/topology")
    return cores


def _read_of_all_cpus(world: World, name: str) -> str:
    """The one value of all cores, or the different ones with commas."""
    values = set()
    for cpu in _list_cpus(world):
        try:
            values.add(read_word(world, f"{_CPUS}/{cpu}/{name}"))
        except AbsentFactError:
            continue
    if not values:
        raise AbsentFactError(f"no {_CPUS}/cpu*/{name}: the kernel does not control the frequency")
    return ",".join(sorted(values))


def _read_frequency(world: World, name: str) -> int:
    return int(_read_of_all_cpus(world, f"cpufreq/{name}").split(",")[-1]) * 1000


def _read_turbo(world: World) -> Optional[bool]:
    try:
        no_turbo = parse_switch(read_word(world, f"{_CPUS}/intel_pstate/no_turbo"))
        return None if no_turbo is None else not no_turbo
    except AbsentFactError:
        return parse_switch(read_word(world, f"{_CPUS}/cpufreq/boost"))


def _read_caches(world: World) -> Dict[str, int]:
    """Caches of the first core, as in ``{"L1 Data": 32768}``."""
    caches = {}
    folder = f"{_CPUS}/cpu0/cache"
    for name in list_names(world, folder):
        if name.startswith("index"):
            level = read_word(world, f"{folder}/{name}/level")
            kind = read_word(world, f"{folder}/{name}/type")
            caches[f"L{level} {kind}"] = parse_size(read_first(world, (f"{folder}/{name}/size",)))
    return caches


def _read_vulnerabilities(world: World) -> Dict[str, str]:
    folder = f"{_CPUS}/vulnerabilities"
    return {name: read_word(world, f"{folder}/{name}") for name in list_names(world, folder)}


def _read_numa_cores(world: World) -> Dict[str, str]:
    return {node: read_word(world, f"{_NODES}/{node}/cpulist") for node in _list_nodes(world)}
