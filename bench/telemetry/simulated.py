"""What simulated cards would show: made up from the spec, and labelled so wherever it is kept.

A card warms up from idle to its working temperature with a time constant of a minute, its power
follows the utilisation, and both waver a little, each card in its own way. The values depend on the
seed, the device and the time alone.
"""

from __future__ import annotations

import math
from typing import Dict, Sequence

from bench.spec import RunSpec
from bench.telemetry.model import CardReading

MAX_CARDS = 64
"""So many cards are told of; a file of thousands would try the disk and show nothing more."""

_NAME = "simulated 910"
_RATED_HERTZ = 1.0e9
_HBM_BYTES = 32768 << 20
_HBM_USED_BYTES = 30784 << 20
_IDLE_WATTS, _BUSY_WATTS = 70.0, 250.0
_IDLE_CELSIUS, _BUSY_CELSIUS = 36.0, 68.0
_WARM_UP_SECONDS = 60.0
_USAGE_RATIO = 0.92
_LINK_BYTES_PER_SECOND = 12.5e9


def simulate_cards(spec: RunSpec, devices: Sequence[int], seconds: float) -> Dict[int, CardReading]:
    """The cards at a time after the start.

    Args:
        spec: the run.
        devices: physical ids; those beyond :data:`MAX_CARDS` are left out.
        seconds: since the start.
    """
    return {device: _simulate_card(spec, device, seconds) for device in devices[:MAX_CARDS]}


def _simulate_card(spec: RunSpec, device: int, seconds: float) -> CardReading:
    # Incommensurable periods give a course that is smooth, repeatable and never twice the same.
    phase = 0.7 * device + 0.001 * (spec.random_seed % 1000)
    waver = math.sin(seconds / 7.0 + phase) + 0.5 * math.sin(seconds / 2.3 + 2.0 * phase)
    usage = min(1.0, _USAGE_RATIO + 0.02 * waver)
    share = 1.0 - math.exp(-seconds / _WARM_UP_SECONDS)
    temperature = _IDLE_CELSIUS + (_BUSY_CELSIUS - _IDLE_CELSIUS) * share + (device % 8) * 0.5
    return CardReading(
        device=device,
        name=_NAME,
        bus_id=None,
        firmware_version="simulated",
        health="ok",
        error_codes=(),
        power_watts=round(_IDLE_WATTS + (_BUSY_WATTS - _IDLE_WATTS) * usage + 2.0 * waver, 1),
        temperature_celsius=round(temperature),
        hbm_temperature_celsius=round(temperature) + 4.0,
        core_usage_ratio=round(usage, 2),
        core_frequency_hertz=_RATED_HERTZ,
        core_rated_frequency_hertz=_RATED_HERTZ,
        hbm_used_bytes=_HBM_USED_BYTES,
        hbm_total_bytes=_HBM_BYTES,
        hbm_bandwidth_usage_ratio=round(0.6 * usage, 2),
        hbm_ecc_single_bit_errors=0,
        hbm_ecc_double_bit_errors=0,
        process_ids=(),
        foreign_process_ids=(),
        link_up=True,
        network_health="Success",
        link_up_count=1,
        link_speed_bytes_per_second=_LINK_BYTES_PER_SECOND,
        roce_receive_errors=0,
        roce_transmit_errors=0,
        roce_retries=0,
    )
