"""What is asked of the cards: questions to ``npu-smi`` and ``hccn_tool`` and their answers.

``npu-smi info`` tells of all cards at once and is asked each second. What takes a call per card is
asked less often: frequencies each 5 s, the rest each 15 s or more.
"""

from __future__ import annotations

import os
import threading
from dataclasses import asdict
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from bench.devices import hccn_tool, npu_smi, npu_smi_fields
from bench.devices.ascend import list_device_ids
from bench.devices.command import CommandAnswer, run_command
from bench.devices.vendor_tools import HCCN_TOOL_PATHS, NPU_SMI_PATHS, find_tool
from bench.telemetry.model import HEALTH_STATES
from bench.telemetry.polling import Answer, PolledSource, Question

COMMAND_TIMEOUT_SECONDS = 5.0

_DETAIL_PERIODS = {"common": 5.0, "ecc": 30.0, "health": 30.0, "usages": 30.0, "memory": 60.0}
_BOARD_PERIOD_SECONDS = 600.0
_HCCN_PERIODS = {"link": 15.0, "net_health": 30.0, "link_stat": 30.0, "stat": 30.0, "speed": 300.0}
# The tool of one card at a time runs for a fifth of the time at the most.
_REST_RATIO = 4.0

_DETAIL_FIELDS = (
    "core_frequency_hertz",
    "core_rated_frequency_hertz",
    "hbm_temperature_celsius",
    "hbm_bandwidth_usage_ratio",
    "hbm_ecc_single_bit_errors",
    "hbm_ecc_double_bit_errors",
    "error_codes",
    "firmware_version",
)

Run = Callable[[Sequence[str], float, Optional[threading.Event]], CommandAnswer]


class CardDirectory:
    """Which chip of which card is which device, as the overview last told it.

    ``npu-smi -i`` wants the number of a card, everybody else speaks of devices; on cards with two
    chips these differ.
    """

    def __init__(self) -> None:
        self._devices: Dict[Tuple[int, int], int] = {}

    def learn(self, chips: Sequence[npu_smi.Chip]) -> None:
        """Takes over an overview."""
        self._devices = {(chip.npu, chip.chip): chip.device for chip in chips}

    def has_card(self, card: int) -> bool:
        """Whether there is such a card; true as long as nothing is known."""
        return not self._devices or any(npu == card for npu, _ in self._devices)

    def find_device(self, card: int, chip: int) -> Optional[int]:
        """The device of a chip; before the first overview that of a card with one chip."""
        if not self._devices:
            return card if chip == 0 else None
        return self._devices.get((card, chip))


def run_tool(
    argv: Sequence[str], timeout_seconds: float, cancel: Optional[threading.Event]
) -> CommandAnswer:
    """Runs a vendor's tool; see :func:`bench.devices.command.run_command`."""
    return run_command(argv, timeout_seconds, None, cancel)


def build_npu_sources(
    root: str = "/", interval_seconds: float = 1.0, run: Run = run_tool
) -> List[PolledSource]:
    """The sources of a host with cards, not yet started.

    Args:
        root: folder that stands for ``/``.
        interval_seconds: how often the overview is asked for.
        run: runs a command.
    """
    devices = list_device_ids(os.path.join(root, "dev"))
    directory = CardDirectory()
    smi = find_tool(NPU_SMI_PATHS, root)
    hccn = find_tool(HCCN_TOOL_PATHS, root)
    no_smi = "npu-smi is not installed; mount it into the container" if smi is None else None
    no_hccn = "hccn_tool is not installed; mount it into the container" if hccn is None else None
    return [
        PolledSource(
            "npu_smi",
            [] if smi is None else [_ask_overview(smi, interval_seconds, run, directory)],
            absent_reason=no_smi,
        ),
        PolledSource(
            "npu_details",
            [] if smi is None else _list_detail_questions(smi, devices, run, directory),
            _REST_RATIO,
            no_smi,
        ),
        PolledSource(
            "hccn",
            [] if hccn is None else _list_hccn_questions(hccn, devices, run),
            _REST_RATIO,
            no_hccn,
        ),
    ]


def read_overview(answer: CommandAnswer, directory: CardDirectory) -> Answer:
    """Values of the overview, of every card that it shows."""
    overview = npu_smi.parse_overview(answer.output)
    directory.learn(overview.chips)
    if not overview.chips:
        said = npu_smi.find_failure(answer.output + "\n" + answer.errors) or answer.reason
        return Answer(
            reason=said or "its output shows no card",
            cpu_seconds=answer.cpu_seconds,
            understood=said is not None,
        )
    values: Dict[int, Dict[str, Any]] = {}
    for chip in overview.chips:
        found: Dict[str, Any] = {
            "name": chip.name or None,
            "bus_id": chip.bus_id,
            "health": normalise_health(chip.health),
            "power_watts": chip.power_watts,
            "temperature_celsius": chip.temperature_celsius,
            "core_usage_ratio": chip.core_usage_ratio,
            "hbm_used_bytes": chip.hbm_used_bytes,
            "hbm_total_bytes": chip.hbm_total_bytes,
        }
        if overview.has_process_table:
            found["process_ids"] = tuple(
                sorted(
                    {
                        process.process_id
                        for process in overview.processes
                        if (process.npu, process.chip) == (chip.npu, chip.chip)
                    }
                )
            )
        values[chip.device] = found
    return Answer(values, cpu_seconds=answer.cpu_seconds)


def read_details(answer: CommandAnswer, card: int, directory: CardDirectory) -> Answer:
    """Values of a sub-query about one card, for each of its chips."""
    found: Dict[int, Dict[str, Any]] = {}
    for chip, details in npu_smi_fields.parse_details(answer.output).items():
        device = directory.find_device(card, chip)
        known = asdict(details)
        values = {name: known[name] for name in _DETAIL_FIELDS if known[name] is not None}
        if device is not None and values:
            found[device] = values
    if found:
        return Answer(found, cpu_seconds=answer.cpu_seconds)
    said = npu_smi.find_failure(answer.output + "\n" + answer.errors) or answer.reason
    return Answer(
        reason=said or "its output has none of the keys that are known",
        cpu_seconds=answer.cpu_seconds,
        understood=said is not None,
    )


def read_port(answer: CommandAnswer, device: int, query: str) -> Answer:
    """Values of a query about the network port of one card."""
    values = {
        name: value
        for name, value in _parse_port(query, answer.output).items()
        if value is not None
    }
    if values:
        return Answer({device: values}, cpu_seconds=answer.cpu_seconds)
    said = npu_smi.find_failure(answer.output + "\n" + answer.errors) or answer.reason
    if said is None and not answer.output.strip():
        said = "it printed nothing; the port may have no address"
    return Answer(
        reason=said or "its output has none of the keys that are known",
        cpu_seconds=answer.cpu_seconds,
        understood=said is not None,
    )


def normalise_health(word: str) -> str:
    """The word of the tool as one of :data:`bench.telemetry.model.HEALTH_STATES`."""
    return word.lower() if word.lower() in HEALTH_STATES else "unknown"


def _parse_port(query: str, text: str) -> Mapping[str, Any]:
    if query == "link":
        return {"link_up": hccn_tool.parse_link(text)}
    if query == "net_health":
        return {"network_health": hccn_tool.parse_net_health(text)}
    if query == "link_stat":
        return {"link_up_count": hccn_tool.parse_link_history(text).up_count}
    if query == "speed":
        return {"link_speed_bytes_per_second": hccn_tool.parse_speed(text)}
    counts = hccn_tool.parse_statistics(text)
    return {
        "roce_receive_errors": counts.get("roce_rx_err_pkt_num"),
        "roce_transmit_errors": counts.get("roce_tx_err_pkt_num"),
        "roce_retries": counts.get("roce_new_pkt_rty_num"),
    }


def _ask_overview(tool: str, period_seconds: float, run: Run, directory: CardDirectory) -> Question:
    def ask(cancel: threading.Event) -> Answer:
        return read_overview(run([tool, "info"], COMMAND_TIMEOUT_SECONDS, cancel), directory)

    return Question("npu-smi info", period_seconds, ask)


def _list_detail_questions(
    tool: str, devices: Sequence[int], run: Run, directory: CardDirectory
) -> List[Question]:
    def build(query: str, card: int, period_seconds: float) -> Question:
        argv = [tool, "info", "-t", query, "-i", str(card)]

        def ask(cancel: threading.Event) -> Answer:
            if not directory.has_card(card):
                # There are more device nodes than cards where a card has two chips.
                return Answer()
            return read_details(run(argv, COMMAND_TIMEOUT_SECONDS, cancel), card, directory)

        return Question(f"-t {query} of card {card}", period_seconds, ask)

    questions = [
        build(query, card, period) for query, period in _DETAIL_PERIODS.items() for card in devices
    ]
    return questions + [build("board", card, _BOARD_PERIOD_SECONDS) for card in devices]


def _list_hccn_questions(tool: str, devices: Sequence[int], run: Run) -> List[Question]:
    def build(query: str, device: int, period_seconds: float) -> Question:
        argv = [tool, "-i", str(device), f"-{query}", "-g"]

        def ask(cancel: threading.Event) -> Answer:
            return read_port(run(argv, COMMAND_TIMEOUT_SECONDS, cancel), device, query)

        return Question(f"-{query} of card {device}", period_seconds, ask)

    return [
        build(query, device, period)
        for query, period in _HCCN_PERIODS.items()
        for device in devices
    ]
