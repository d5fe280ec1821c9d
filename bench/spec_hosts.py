"""Settings of runs on several hosts: how they are reached and how long to wait for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

from bench.settings import setting

LAUNCHERS = ("local", "slurm", "mpi", "env", "kubernetes")


@dataclass(frozen=True)
class HostsSpec:
    """The hosts of a session; nothing here matters to the local launcher."""

    count: Optional[int] = setting(
        None, "int", "hosts; as the scheduler says if absent", minimum=1, maximum=4096
    )
    cards_per_host: Optional[int] = setting(
        None,
        "int",
        "ranks of a host; 8 on Ascend, else spread evenly, if absent",
        minimum=1,
        maximum=4096,
    )
    network: Optional[str] = setting(
        None, "str", "network by which ranks reach each other, like 10.0.0.0/24"
    )
    options: Tuple[str, ...] = setting((), "words", "more words for srun or mpirun")
    start_timeout_seconds: float = setting(
        300.0, "float", "wait for all hosts to be ready, a queue included", minimum=1.0
    )
    metrics_port: Optional[int] = setting(
        None,
        "int",
        "each host but the head's serves its telemetry there; 0 takes a free one",
        minimum=0,
        maximum=65535,
    )
    metrics_address: str = setting("127.0.0.1", "str", "address that it serves on")
    metrics_web_config: Optional[str] = setting(
        None, "str", "TLS, users and rate limit of it, with the keys of Prometheus' exporters"
    )
    timeout_seconds: float = setting(
        60.0, "float", "a host without a sign of life for so long is lost", minimum=5.0
    )
