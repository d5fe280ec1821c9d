"""A host with NPUs as a folder: device nodes, versions, and tools that print what they are told.

``npu-smi`` and ``hccn_tool`` are shell scripts that print prepared answers, so that the harness
really starts, times and kills them. Layouts follow the printf formats of several tool versions.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

_SCRIPT = """#!/bin/sh
dir='{answers}'
echo "$*" >> "$dir/calls"
[ -f "$dir/hang" ] && {{ sleep 60 & wait; }}
file="$dir/$(basename "$0") $*"
[ -f "$file.hang" ] && exec sleep 60
[ -f "$file" ] || file="$dir/$(basename "$0") else"
[ -f "$file" ] && cat "$file"
[ -f "$file.code" ] && exit "$(cat "$file.code")"
[ -f "$file" ] || exit 127
"""


@dataclass(frozen=True)
class Layout:
    """Widths of one generation of ``npu-smi info``.

    Attributes:
        tool: version of the tool.
        driver: version in the header.
        first: width of the first column of both tables.
        hugepages: has the column of huge pages.
        processes: has the table of processes.
        memory_unit: of that table.
        physical: chips have physical ids of their own.
    """

    tool: str
    driver: str
    first: int = 22
    hugepages: bool = True
    processes: bool = True
    memory_unit: str = "MB"
    physical: bool = False


LAYOUTS: Dict[str, Layout] = {
    "1.8.21": Layout("1.8.21", "20.2.2.spc001", hugepages=False, processes=False),
    "1.9.3": Layout("1.9.3", "21.0.rc1", hugepages=False, processes=False),
    "21.0.2": Layout("21.0.2", "21.0.2", hugepages=False),
    "21.0.4": Layout("21.0.4", "21.0.4"),
    "23.0.rc1": Layout("23.0.rc1", "23.0.rc1", memory_unit="B"),
    "24.1.0": Layout("24.1.0", "24.1.0", first=27),
    "25.0.rc1": Layout("25.0.rc1", "25.0.rc1", first=27, physical=True),
}


@dataclass(frozen=True)
class Card:
    """One chip and what the tools say of it; a word in place of a figure is printed as it is."""

    npu: int
    name: str = "910A"
    health: str = "OK"
    power: str = "68.6"
    temperature: str = "36"
    bus_id: str = "0000:C1:00.0"
    busy: str = "0"
    ddr: Tuple[str, str] = ("591", "14795")
    hbm: Tuple[str, str] = ("0", "32768")
    chip: int = 0
    physical: int = 0
    processes: Sequence[Tuple[int, str, int]] = ()
    frequency: int = 900
    rated: int = 1000
    ecc: Tuple[int, int] = (0, 0)
    error_codes: str = "NA"
    link: str = "UP"
    net_health: str = "Success"
    link_ups: int = 1
    roce_errors: Tuple[int, int] = (0, 0)


@dataclass
class FakeHost:
    """Builds and changes the folder.

    Args:
        root: stands for ``/``.
        cards: chips of the host.
        layout: of ``npu-smi info``.
        sbin: npu-smi lies in ``/usr/local/sbin``, as on servers that are not for training.
    """

    root: Path
    cards: List[Card]
    layout: Layout = LAYOUTS["24.1.0"]
    sbin: bool = False
    driver: str = "24.1.0"
    answers: Path = field(init=False)

    def __post_init__(self) -> None:
        """Lays files and tools."""
        self.answers = self.root / "answers"
        self.answers.mkdir(parents=True, exist_ok=True)
        folder = "usr/local/sbin" if self.sbin else "usr/local/bin"
        self._add_tool(f"{folder}/npu-smi")
        self._add_tool("usr/local/Ascend/driver/tools/hccn_tool")
        for name in [f"davinci{card.npu}" for card in self.cards] + [
            "davinci_manager",
            "devmm_svm",
            "hisi_hdc",
        ]:
            self.write(f"dev/{name}", "")
        self.write("usr/local/Ascend/driver/version.info", f"Version={self.driver}\n")
        self.update(self.cards)

    def write(self, path: str, text: str) -> None:
        """Writes a file below the root."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def update(self, cards: Sequence[Card]) -> None:
        """Makes all tools tell of these cards from now on."""
        self.cards = list(cards)
        self.answer("npu-smi info", render_info(cards, self.layout))
        self.answer("npu-smi else", "Error parameter of -t\nUsage: npu-smi info\n", 1)
        self.answer("hccn_tool else", "Cmd execute failed!\n", 1)
        for card in cards:
            for query, text in render_queries(card).items():
                self.answer(f"npu-smi info -t {query} -i {card.npu}", text)
            for query, text in render_hccn(card).items():
                self.answer(f"hccn_tool -i {card.npu} -{query} -g", text)

    def change(self, npu: int, **values: object) -> None:
        """Changes facts of one card."""
        self.update([replace(card, **values) if card.npu == npu else card for card in self.cards])

    def answer(self, call: str, text: str, code: int = 0) -> None:
        """What a call prints, and its exit code; written at once, as tools may be running."""
        for name, content in ((call, text), (f"{call}.code", str(code) if code else "")):
            file = self.answers / name
            if not content and name.endswith(".code"):
                if file.exists():
                    file.unlink()
                continue
            temporary = self.answers / f".{name}.new"
            temporary.write_text(content, encoding="utf-8")
            temporary.replace(file)

    def hang(self, call: Optional[str] = None) -> None:
        """Lets a call, or all, hang."""
        (self.answers / ("hang" if call is None else f"{call}.hang")).write_text("", "utf-8")

    def wake(self) -> None:
        """Nothing hangs any more."""
        for file in self.answers.glob("*hang"):
            file.unlink()

    def list_calls(self) -> List[str]:
        """Arguments of all calls so far."""
        file = self.answers / "calls"
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def _add_tool(self, path: str) -> None:
        self.write(path, _SCRIPT.format(answers=self.answers))
        file = self.root / path
        file.chmod(file.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def build_cards(count: int = 8, **values: object) -> List[Card]:
    """So many cards with addresses of their own."""
    return [
        replace(Card(npu, bus_id=f"0000:{0x41 + npu:02X}:00.0", physical=npu), **values)
        for npu in range(count)
    ]


def render_info(cards: Sequence[Card], layout: Layout) -> str:
    """``npu-smi info`` of these chips."""
    figures = 52 if layout.hugepages else 45
    ruler = f"+{'-' * layout.first}+{'-' * 15}+{'-' * figures}+"
    thick = ruler.replace("-", "=")
    width = layout.first + 15 + figures + 2
    title = f" npu-smi {layout.tool:<24} Version: {layout.driver}"
    lines = ["+" + "-" * width + "+", f"|{title:<{width}}|", ruler]
    row = f"|{{:<{layout.first}}}|{{:<15}}|{{:<{figures}}}|"
    huge = "Hugepages-Usage(page)" if layout.hugepages else ""
    lines.append(row.format(" NPU   Name", " Health", f" Power(W)    Temp(C)           {huge}"))
    identity = " Chip  Phy-ID" if layout.physical else " Chip"
    lines.append(row.format(identity, " Bus-Id", " AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)"))
    for card in cards:
        lines.append(thick)
        pages = "0    / 0" if layout.hugepages else ""
        lines.append(
            row.format(
                f" {card.npu:<5} {card.name}",
                f" {card.health}",
                f" {card.power:<11} {card.temperature:<17} {pages}",
            )
        )
        chip = f" {card.chip:<5} {card.physical}" if layout.physical else f" {card.chip}"
        memory = f"{card.ddr[0]:<5}/ {card.ddr[1]:<10} {card.hbm[0]:<5}/ {card.hbm[1]}"
        lines.append(row.format(chip, f" {card.bus_id}", f" {card.busy:<11} {memory}"))
    lines.append(thick)
    if layout.processes:
        lines += _render_processes(cards, layout, ruler, thick)
    return "\n".join(lines) + "\n"


def _render_processes(cards: Sequence[Card], layout: Layout, ruler: str, thick: str) -> List[str]:
    row = f"|{{:<{layout.first}}}|{{:<15}}|{{:<26}}|{{:<25}}|"
    memory = f" Process memory({layout.memory_unit})"
    lines = [ruler, row.format(" NPU     Chip", " Process id", " Process name", memory), thick]
    for card in cards:
        if not card.processes:
            text = f" No running processes found in NPU {card.npu}"
            lines.append(f"|{text:<{len(thick) - 2}}|")
        for process_id, name, size in card.processes:
            cells = (f" {card.npu:<7} {card.chip}", f" {process_id}", f" {name}", f" {size}")
            lines.append(row.format(*cells))
        lines.append(thick)
    return lines


def _render_keys(pairs: Sequence[Tuple[str, object]], width: int = 30) -> str:
    return "".join(f"\t{key:<{width}} : {value}\n" if key else "\n" for key, value in pairs)


def render_queries(card: Card) -> Dict[str, str]:
    """Answers to ``npu-smi info -t …`` by query; the chip's line opens a section or closes it."""
    head: List[Tuple[str, object]] = [("NPU ID", card.npu), ("Chip Count", 1), ("", "")]
    chip = [("Chip ID", card.chip)]
    controller = [("", ""), ("Chip Name", "mcu"), ("Temperature(C)", 48)]
    singles, doubles = card.ecc
    codes = card.error_codes.split() or ["NA"]
    return {
        "common": _render_keys(
            head
            + chip
            + [
                ("Memory Usage Rate(%)", 6),
                ("HBM Usage Rate(%)", 4),
                ("Aicore Usage Rate(%)", card.busy),
                ("Aicore Freq(MHZ)", card.rated),
                ("Aicore curFreq(MHZ)", card.frequency),
                ("Aicore Count", 30),
                ("Temperature(C)", card.temperature),
                ("NPU Real-time Power(W)", card.power),
            ]
            + controller
        ),
        "usages": _render_keys(
            head
            + [
                ("HBM Capacity(MB)", card.hbm[1]),
                ("HBM Usage Rate(%)", 4),
                ("Aicore Usage Rate(%)", card.busy),
                ("HBM Bandwidth Usage Rate(%)", 17),
            ]
            + chip
        ),
        "memory": _render_keys(
            head + [("HBM Capacity(MB)", card.hbm[1]), ("HBM Temperature(C)", 41)] + chip
        ),
        "ecc": _render_keys(
            head
            + [
                ("DDR Single Bit Error Count", 77),
                ("HBM Single Bit Error Count", singles),
                ("HBM Double Bit Error Count", doubles),
                ("HBM Single Bit Isolated Pages Count", 0),
                ("HBM Double Bit Isolated Pages Count", doubles),
            ]
            + chip,
            40,
        ),
        "health": _render_keys(head + [("Health Status", card.health), ("Error Code", codes[0])])
        + "".join(f"\t{'':<30} : {code}\n" for code in codes[1:]),
        "board": _render_keys(
            [
                ("NPU ID", card.npu),
                ("Software Version", "24.1.0"),
                ("Firmware Version", "7.5.0.1.129"),
                ("Compatibility", "OK"),
                ("Board ID", "0x02"),
                ("PCIe Bus Info", card.bus_id),
                ("Chip Count", 1),
            ]
        ),
    }


def render_hccn(card: Card) -> Dict[str, str]:
    """Answers to ``hccn_tool -i N -… -g`` by query."""
    mark = f"[devid {card.npu}]"
    received, sent = card.roce_errors
    return {
        "link": f"link status: {card.link}\n",
        "net_health": f"net health status: {card.net_health}\n",
        "link_stat": f"{mark}current time        : Wed Aug  2 03:09:26 2022\n"
        f"{mark}link up count       : {card.link_ups}\n"
        f"{mark}link change records :\n"
        f"{mark}    Tue Aug  1 14:43:40 2022    LINK UP\n",
        "stat": f"packet statistics:\nroce_rx_err_pkt_num:{received}\n"
        f"roce_tx_err_pkt_num:{sent}\nroce_new_pkt_rty_num:3\n",
        "speed": "Speed: 100000 Mb/s\n",
        "ip": f"ipaddr:192.168.100.{101 + card.npu}\nnetmask:255.255.255.0\n",
    }
