"""What changes while a machine works; taken before and after each run, and so kept cheap."""

from __future__ import annotations

import re
from functools import partial
from typing import Dict, List, Optional

from bench.environment.cpu import parse_cpuinfo_field
from bench.environment.memory import get_entry, parse_meminfo
from bench.environment.sources import (
    AbsentFactError,
    Facts,
    World,
    exists,
    list_names,
    read_text,
    read_word,
    take,
)

_THERMAL = "/sys/class/thermal"
_CPUS = "/sys/devices/system/cpu"
_TICKS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def collect_state_of_host(world: World) -> Facts:
    """Load, memory, frequencies and temperatures of the host."""

    def load() -> List[str]:
        return read_text(world, "/proc/loadavg").split()

    def meminfo(name: str) -> int:
        entries = parse_meminfo(read_text(world, "/proc/meminfo"))
        return int(get_entry(entries, name, "/proc/meminfo"))

    return {
        "load_average_1min": take(lambda: float(load()[0])),
        "load_average_5min": take(lambda: float(load()[1])),
        "processes_running": take(lambda: int(load()[3].split("/")[0])),
        "processes": take(lambda: int(load()[3].split("/")[1])),
        "uptime_seconds": take(lambda: float(read_text(world, "/proc/uptime").split()[0])),
        "memory_available_bytes": take(lambda: meminfo("MemAvailable")),
        "swap_used_bytes": take(lambda: meminfo("SwapTotal") - meminfo("SwapFree")),
        "hugepages_free": take(lambda: meminfo("HugePages_Free")),
        "cpu_frequency_hertz": take(lambda: _read_frequency(world)),
        "cpu_throttle_count": take(lambda: _count_throttles(world)),
        "cpu_ticks": take(lambda: parse_ticks(read_text(world, "/proc/stat"))),
        "cpu_pressure_some_avg60": take(
            lambda: parse_pressure(read_text(world, "/proc/pressure/cpu"))
        ),
        "memory_pressure_some_avg60": take(
            lambda: parse_pressure(read_text(world, "/proc/pressure/memory"))
        ),
        "io_pressure_some_avg60": take(
            lambda: parse_pressure(read_text(world, "/proc/pressure/io"))
        ),
        "temperatures_celsius": take(lambda: _read_temperatures(world)),
    }


def parse_ticks(text: str) -> Optional[Dict[str, int]]:
    """Clock ticks of all cores since boot, from ``/proc/stat``; ``steal`` is what a host took."""
    match = re.search(r"^cpu +(.*)$", text, re.MULTILINE)
    return dict(zip(_TICKS, map(int, match.group(1).split()))) if match else None


def parse_pressure(text: str) -> Optional[float]:
    """Share in percent of the last minute in which some task waited, from ``/proc/pressure``."""
    match = re.search(r"^some .*\bavg60=(\d+(?:\.\d+)?)", text, re.MULTILINE)
    return float(match.group(1)) if match else None


def parse_megahertz(cpuinfo: str) -> List[float]:
    """Present frequency of each core in MHz, where the kernel writes it."""
    return [float(word) for word in re.findall(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo, re.MULTILINE)]


def _list_cpus(world: World) -> List[str]:
    return [name for name in list_names(world, _CPUS) if re.match(r"cpu\d+$", name)]


def _read_frequency(world: World) -> Dict[str, float]:
    """Lowest, mean and highest of the cores."""
    values: List[float] = []
    for cpu in _list_cpus(world):
        path = f"{_CPUS}/{cpu}/cpufreq/scaling_cur_freq"
        if exists(world, path):
            values.append(float(read_word(world, path)) * 1e3)
    if not values:
        cpuinfo = read_text(world, "/proc/cpuinfo")
        values = [megahertz * 1e6 for megahertz in parse_megahertz(cpuinfo)]
        if not values and parse_cpuinfo_field(cpuinfo, ("processor",)) is not None:
            raise AbsentFactError("the kernel does not tell the frequency")
    return {"min": min(values), "mean": sum(values) / len(values), "max": max(values)}


def _count_throttles(world: World) -> int:
    counts = []
    for cpu in _list_cpus(world):
        path = f"{_CPUS}/{cpu}/thermal_throttle/core_throttle_count"
        if exists(world, path):
            counts.append(int(read_word(world, path)))
    if not counts:
        raise AbsentFactError("the kernel does not count throttling of this processor")
    return sum(counts)


def _read_temperatures(world: World) -> Dict[str, float]:
    """Thermal zones by name and type, as in ``{"thermal_zone0 x86_pkg_temp": 41.0}``."""
    temperatures = {}
    for zone in list_names(world, _THERMAL):
        if zone.startswith("thermal_zone"):
            kind = take(partial(read_word, world, f"{_THERMAL}/{zone}/type"))
            reading = take(partial(read_word, world, f"{_THERMAL}/{zone}/temp"))
            if reading.value is not None:
                temperatures[f"{zone} {kind.value}"] = int(reading.value) / 1000.0
    if not temperatures:
        raise AbsentFactError(f"no readable thermal zone under {_THERMAL}")
    return temperatures
