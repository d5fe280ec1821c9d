"""Measures how long a scrape of 64 ranks and 64 cards takes: ``python -m tests.perf.exporter``.

Over a real socket, as a scraper does it, plain and compressed; and what the scrapes of a minute,
one each 5 seconds, cost the machine that the ranks run on (client and server together).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import urllib.request
from typing import Callable, List

from bench.export.collector import BuildCollector, LiveCollector
from bench.export.server import MetricsServer
from bench.export.telemetry import TelemetryCollector
from bench.measure.live import LiveRun, RunFacts
from bench.telemetry.model import (
    CardReading,
    HostReading,
    RankReading,
    SourceState,
    TelemetrySample,
    TelemetrySnapshot,
)

LIMIT_SECONDS = 0.05
LIMIT_SERIES = 2000


def build_run(n_ranks: int) -> LiveRun:
    """A run of which every rank has reported everything."""
    facts = RunFacts(
        run_id="20260101T000000Z-abcd-bert-base-ascend-64p-r1",
        model="bert-base",
        backend="ascend",
        simulated=False,
        precision="fp16",
        task="pretrain",
        world_size=n_ranks,
        batch_size=128,
        seq_length=128,
        steps=1000,
        iterations_per_loop=100,
        started_at_seconds=time.time() - 60.0,
        devices=tuple(range(n_ranks)),
    )
    live = LiveRun(facts)
    live.set_state("measuring")
    for rank in range(n_ranks):
        live.set_up(rank, True)
        live.report_loss(rank, 100, 7.12345678, 0.6543210, 7.77777778, time.time())
        live.report_rate(rank, 2.4512345, time.time())
        live.report_loss_scale(rank, 65536.0)
    return live


def build_telemetry(n_ranks: int) -> TelemetrySnapshot:
    """A sample with every value there is."""
    cards = {
        device: CardReading(
            device=device,
            name="910A",
            bus_id="0000:C1:00.0",
            firmware_version="1.76.22.3.220",
            health="ok",
            power_watts=251.3,
            energy_joules=12345.678,
            temperature_celsius=61.0,
            core_usage_ratio=0.91,
            core_frequency_hertz=1.0e9,
            core_rated_frequency_hertz=1.0e9,
            hbm_used_bytes=31 << 30,
            hbm_total_bytes=32 << 30,
            hbm_ecc_single_bit_errors=0,
            hbm_ecc_double_bit_errors=0,
            process_ids=(1000 + device,),
            foreign_process_ids=(),
            link_up=True,
            network_health="Success",
            link_up_count=1,
            roce_receive_errors=0,
            roce_transmit_errors=0,
        )
        for device in range(n_ranks)
    }
    host = HostReading(
        cpu_seconds={"user": 1.0, "system": 2.0, "idle": 3.0, "iowait": 4.0},
        load_average_1min=1.0,
        memory_total_bytes=1 << 40,
        memory_available_bytes=1 << 39,
        swap_used_bytes=0,
        network_receive_bytes={"eth0": 1},
        network_transmit_bytes={"eth0": 1},
        output_total_bytes=1 << 40,
        output_free_bytes=1 << 39,
    )
    ranks = {
        rank: RankReading(rank, rank, 1000 + rank, cpu_seconds=12.5, resident_bytes=1 << 31)
        for rank in range(n_ranks)
    }
    names = ("host", "ranks", "npu_smi", "npu_details", "hccn")
    sources = {name: SourceState(name, True, None, 0.1, time.time(), 60, 0, 0) for name in names}
    sample = TelemetrySample(time.monotonic(), time.time(), cards=cards, host=host, ranks=ranks)
    return TelemetrySnapshot(sample, sources, samples=60, cost_seconds=1.0)


def time_calls(call: Callable[[], int], repeats: int) -> List[float]:
    """Seconds of each call."""
    call()
    spent = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        spent.append(time.perf_counter() - started)
    return spent


def main() -> int:
    """Prints the figures; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    live, telemetry = build_run(arguments.ranks), build_telemetry(arguments.ranks)
    collectors = (
        BuildCollector(),
        LiveCollector(live.snapshot),
        TelemetryCollector(lambda: telemetry, lambda: live.snapshot().facts),
    )
    broken = False
    with MetricsServer(collectors, 0) as server:

        def scrape(encoding: str = "identity") -> int:
            request = urllib.request.Request(server.url, headers={"Accept-Encoding": encoding})
            with urllib.request.urlopen(request, timeout=10) as answer:
                return len(answer.read())

        with urllib.request.urlopen(server.url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        n_series = sum(not line.startswith("#") for line in lines)
        print(f"{arguments.ranks} ranks and cards: {n_series} series (limit {LIMIT_SERIES})")
        broken = n_series > LIMIT_SERIES
        for encoding in ("identity", "gzip"):
            n_bytes = scrape(encoding)
            spent = sorted(time_calls(lambda: scrape(encoding), arguments.repeats))  # noqa: B023
            median, worst = statistics.median(spent), spent[int(0.99 * len(spent))]
            print(
                f"{encoding:>8}: median {1e3 * median:.1f} ms, 99 % {1e3 * worst:.1f} ms, "
                f"{n_bytes / 1e3:.0f} kB (limit {1e3 * LIMIT_SECONDS:.0f} ms)"
            )
            broken = broken or median > LIMIT_SECONDS
        cpu = time.process_time()
        for _ in range(12):
            scrape("gzip")
        print(f"12 scrapes, a minute's worth: {time.process_time() - cpu:.3f} s of one core")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
