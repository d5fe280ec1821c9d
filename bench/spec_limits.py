"""Settings of when a run is given up: silence, deadlines of its phases, and how often to retry."""

from __future__ import annotations

from dataclasses import dataclass

from bench.settings import setting


@dataclass(frozen=True)
class LimitsSpec:
    """How long each phase of a run may take; nothing waits for ever."""

    hang_seconds: float = setting(
        60.0,
        "float",
        "a rank silent for so long, and for hang_intervals, hangs; 0 never",
        minimum=0.0,
    )
    hang_intervals: float = setting(
        5.0, "float", "the same in median intervals between a rank's reports", minimum=1.0
    )
    prepare_seconds: float = setting(
        1800.0, "float", "wait for the synthetic corpus to be made", minimum=1.0
    )
    compile_seconds: float = setting(
        1800.0,
        "float",
        "wait for the first two reports: start, first compile; 0 for ever",
        minimum=0.0,
    )
    end_seconds: float = setting(
        600.0, "float", "wait for the end of a rank after its last step; 0 for ever", minimum=0.0
    )
    dump_seconds: float = setting(
        2.0, "float", "wait for the stacks of ranks that hang", minimum=0.0, maximum=60.0
    )
    retries: int = setting(
        0,
        "int",
        "how often a failed run starts anew from its last checkpoint",
        minimum=0,
        maximum=100,
    )
