"""Draws every panel of the boards from a real Prometheus, to be looked at.

::

    VIRTUAL_ENV=.venv-dev .venv-dev/bin/uv run --active --no-sync --with matplotlib==3.10.7 \\
        python -m tests.prometheus.preview FOLDER

Starts a simulated sweep, the exporter over its results and Prometheus, waits for the end and
writes one PNG per board. It is no Grafana: it shows which panels have data, whether names and units
read well, and whether a board tells what it should.
"""

from __future__ import annotations

import argparse
import importlib
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from tests.prometheus.boards import NAMES, ROOT, fill_in, read_board
from tests.prometheus.services import Prometheus, find_free_port, run_prometheus, wait_for

ROW_PIXELS = 34
COLUMN_PIXELS = 62
DOTS_PER_INCH = 100
COLORS = ("#3871dc", "#56a64b", "#f2495c", "#ff9830", "#8f3bb8", "#37872d", "#e0b400", "#6e9fff")
STATE_COLORS = {"green": "#56a64b", "red": "#f2495c", "yellow": "#e0b400", "blue": "#3871dc"}


def format_value(value: float, unit: str, decimals: Optional[int]) -> str:
    """A figure about as Grafana writes it."""
    if not math.isfinite(value):
        return str(value)
    if unit == "percentunit":
        return f"{100 * value:.{1 if decimals is None else decimals}f}%"
    if unit == "s":
        if value >= 120:
            return f"{value / 60:.1f} min"
        return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2f} s"
    if unit in ("bytes", "Bps", "hertz", "joule", "watt", "celsius"):
        base, words = (
            (1024, ["B", "KiB", "MiB", "GiB", "TiB"])
            if unit == "bytes"
            else (
                1000,
                {
                    "Bps": ["B/s", "kB/s", "MB/s", "GB/s"],
                    "hertz": ["Hz", "kHz", "MHz", "GHz"],
                    "joule": ["J", "kJ", "MJ"],
                    "watt": ["W", "kW"],
                    "celsius": ["°C"],
                }[unit],
            )
        )
        place = 0
        while abs(value) >= base and place < len(words) - 1:
            value, place = value / base, place + 1
        return f"{value:.3g} {words[place]}"
    if unit == "dateTimeFromNow":
        return f"{(time.time() - value / 1000) / 60:.0f} min ago"
    return f"{value:.{decimals}f}" if decimals is not None else f"{value:.4g}"


def build_legend(form: str, labels: Dict[str, str]) -> str:
    """The name of a line."""
    if form in ("", "__auto"):
        rest = {key: value for key, value in labels.items() if key != "__name__"}
        return ", ".join(f"{key}={value}" for key, value in rest.items()) or "value"
    for key in [part.split("}}")[0].strip() for part in form.split("{{")[1:]]:
        form = form.replace("{{" + key + "}}", labels.get(key, ""))
    return form


class Drawer:
    """Draws boards with matplotlib.

    Args:
        prometheus: where the data are.
        values: Grafana's variables.
        start: Unix time at the left.
        end: Unix time at the right.
    """

    def __init__(
        self, prometheus: Prometheus, values: Dict[str, str], start: float, end: float
    ) -> None:
        matplotlib = importlib.import_module("matplotlib")
        matplotlib.use("Agg")
        matplotlib.rcParams.update({"font.size": 6.5, "axes.linewidth": 0.4})
        self._pyplot = importlib.import_module("matplotlib.pyplot")
        self._prometheus = prometheus
        self._values = values
        self._start, self._end = start, end
        self.empty: List[str] = []

    def draw(self, name: str, path: Path) -> None:
        """Writes the picture of a board."""
        board = read_board(name)
        rows = max(p["gridPos"]["y"] + p["gridPos"]["h"] for p in board["panels"])
        width, height = 24 * COLUMN_PIXELS, (rows + 1) * ROW_PIXELS
        figure = self._pyplot.figure(
            figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH
        )
        figure.text(0.006, 1 - 0.6 / (rows + 1), board["title"], fontsize=11, weight="bold")
        for panel in board["panels"]:
            place = panel["gridPos"]
            left, top = place["x"] / 24, 1 - (place["y"] + 1) / (rows + 1)
            if panel["type"] == "row":
                middle = top - 0.6 / (rows + 1)
                figure.text(0.006, middle, "▾ " + panel["title"], fontsize=8, color="#444")
                continue
            tall = place["h"] / (rows + 1)
            box = (
                left + 0.006,
                top - tall + 6 / height,
                place["w"] / 24 - 0.012,
                tall - 12 / height,
            )
            frame = figure.add_axes(box)
            frame.set_xticks([])
            frame.set_yticks([])
            frame.patch.set_facecolor("#fbfbfb")
            for spine in frame.spines.values():
                spine.set_color("#cccccc")
            frame.text(
                0.01, 1 - 3 / (tall * height), panel["title"], va="top", fontsize=7,
                weight="bold", transform=frame.transAxes,
            )  # fmt: skip
            if not self._draw_panel(figure, panel, box, height):
                self.empty.append(f"{name}: {panel['title']}")
                frame.text(0.5, 0.4, "no data", ha="center", color="#b00", fontsize=9)
        figure.savefig(str(path))
        self._pyplot.close(figure)

    def _draw_panel(
        self, figure: Any, panel: Dict[str, Any], box: Sequence[float], height: float
    ) -> bool:
        inner = (
            box[0] + 0.028, box[1] + 24 / height, max(0.01, box[2] - 0.034),
            max(0.004, box[3] - 48 / height),
        )  # fmt: skip
        draw = {
            "timeseries": self._draw_lines,
            "stat": self._draw_stat,
            "state-timeline": self._draw_states,
            "heatmap": self._draw_heatmap,
            "table": self._draw_table,
        }[panel["type"]]
        return draw(figure, panel, inner)

    def _list_lines(self, panel: Dict[str, Any]) -> List[Any]:
        lines = []
        step = max(1.0, (self._end - self._start) / 240)
        for target in panel["targets"]:
            expr = fill_in(target["expr"], self._values)
            found = self._prometheus.query_range(expr, self._start, self._end, step)
            for line in found:
                points = [(float(t), float(v)) for t, v in line["values"]]
                name = build_legend(target.get("legendFormat", ""), line["metric"])
                lines.append((name, points, line["metric"]))
        return lines

    def _get_unit(self, panel: Dict[str, Any]) -> str:
        return str(panel.get("fieldConfig", {}).get("defaults", {}).get("unit", "short"))

    def _draw_lines(self, figure: Any, panel: Dict[str, Any], box: Sequence[float]) -> bool:
        lines = self._list_lines(panel)
        if not lines:
            return False
        axes = figure.add_axes(box)
        unit = self._get_unit(panel)
        defaults = panel["fieldConfig"]["defaults"]
        for number, (name, points, _) in enumerate(lines):
            axes.plot(
                [t for t, _ in points], [v for _, v in points], lw=0.8, label=name[:60],
                color=COLORS[number % len(COLORS)],
            )  # fmt: skip
        axes.set_xlim(self._start, self._end)
        if "min" in defaults:
            axes.set_ylim(bottom=defaults["min"])
        axes.yaxis.set_major_formatter(lambda value, _: format_value(value, unit, None))
        axes.set_xticks([])
        axes.grid(lw=0.2)
        axes.patch.set_alpha(0)
        shown = min(len(lines), 8)
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(
            handles[:shown], labels[:shown], loc="upper left", bbox_to_anchor=(0, -0.01),
            ncol=max(1, min(4, shown)), frameon=False, fontsize=5,
        )  # fmt: skip
        return True

    def _draw_stat(self, figure: Any, panel: Dict[str, Any], box: Sequence[float]) -> bool:
        lines = self._list_lines(panel)
        if not lines:
            return False
        axes = figure.add_axes(box)
        axes.axis("off")
        defaults = panel["fieldConfig"]["defaults"]
        words: Dict[str, Any] = {}
        for mapping in defaults.get("mappings", []):
            words.update(mapping["options"])
        for number, (name, points, _) in enumerate(lines):
            value = points[-1][1]
            color = "#222"
            for step in defaults["thresholds"]["steps"]:
                if step["value"] is None or value >= step["value"]:
                    color = STATE_COLORS.get(step["color"], "#222")
            text = format_value(value, self._get_unit(panel), defaults.get("decimals"))
            word = words.get(f"{value:g}")
            if word:
                text, color = word["text"], STATE_COLORS.get(word["color"], "#222")
            left = (number + 0.5) / len(lines)
            axes.text(left, 0.45, text, ha="center", va="center", fontsize=13, color=color)
            if len(lines) > 1:
                axes.text(left, 0.95, name, ha="center", fontsize=6)
        return True

    def _draw_states(self, figure: Any, panel: Dict[str, Any], box: Sequence[float]) -> bool:
        lines = self._list_lines(panel)
        if not lines:
            return False
        axes = figure.add_axes(box)
        words = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
        for row, (_, points, _) in enumerate(lines[:20]):
            step = points[1][0] - points[0][0] if len(points) > 1 else 1.0
            for when, value in points:
                color = STATE_COLORS.get(words.get(f"{value:g}", {}).get("color", ""), "#999")
                axes.barh(row, step, left=when, height=0.8, color=color, lw=0)
        axes.set_yticks(range(min(len(lines), 20)))
        axes.set_yticklabels([name[:28] for name, _, _ in lines[:20]], fontsize=4.5)
        axes.set_xlim(self._start, self._end)
        axes.set_xticks([])
        axes.patch.set_alpha(0)
        return True

    def _draw_heatmap(self, figure: Any, panel: Dict[str, Any], box: Sequence[float]) -> bool:
        lines = self._list_lines(panel)
        if not lines:
            return False
        axes = figure.add_axes(box)
        bounds = sorted(lines, key=lambda line: float(line[2]["le"].replace("+Inf", "inf")))
        below: Dict[float, float] = {}
        for row, (_, points, _) in enumerate(bounds):
            for when, value in points:
                count = max(0.0, value - below.get(when, 0.0))
                below[when] = value
                if count > 0:
                    axes.scatter([when], [row], c=[count], cmap="Oranges", vmin=0, s=14, marker="s")
        axes.set_yticks(range(len(bounds)))
        axes.set_yticklabels([line[2]["le"] for line in bounds], fontsize=4.5)
        axes.set_xlim(self._start, self._end)
        axes.set_xticks([])
        axes.patch.set_alpha(0)
        return True

    def _draw_table(self, figure: Any, panel: Dict[str, Any], box: Sequence[float]) -> bool:
        expr = fill_in(panel["targets"][0]["expr"], self._values)
        found = self._prometheus.query(expr, self._end)
        if not found:
            return False
        axes = figure.add_axes((box[0] - 0.02, box[1] - 0.002, box[2] + 0.02, box[3]))
        axes.axis("off")
        away = panel["transformations"][0]["options"]["excludeByName"]
        names = sorted({key for row in found for key in row["metric"]} - set(away))
        if (
            any("__name__" in row["metric"] for row in found)
            and len({row["metric"].get("__name__") for row in found}) > 1
        ):
            names = ["__name__", *names]
        lines = [[row["metric"].get(name, "")[:46] for name in names] for row in found[:12]]
        if "Value" not in away:
            names = [*names, "Value"]
            lines = [[*line, f"{float(row['value'][1]):.6g}"] for line, row in zip(lines, found)]
        grid = axes.table(cellText=lines, colLabels=names, loc="upper left", edges="horizontal")
        grid.auto_set_font_size(False)
        grid.set_fontsize(5)
        grid.auto_set_column_width(list(range(len(names))))
        return True


def main() -> int:
    """Makes a scene, waits for its end and draws it; 1 if a panel has no data."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--speed", type=float, default=1.0, help="simulated seconds per second (default: 1)"
    )
    known = parser.parse_args()
    folder, speed = known.folder, known.speed
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "results"
        output.mkdir()
        address = f"127.0.0.1:{find_free_port()}"
        harness = [sys.executable, "-m", "bench"]
        words = "--backend simulated --model bert-base --batch-size 128 --cards 1,8 --steps 300"
        noise = ["simulated.noise_ratio=0.04", "simulated.compile_seconds=15"]
        noise += ["save_checkpoints_steps=100", "simulated.checkpoint_seconds=4"]
        noise += [f"simulated.speed={speed:g}"]
        sets = [word for each in noise for word in ("--set", each)]
        serving = ["--metrics-port", "0", "--linger", "600", "--output", str(output)]
        exporter = subprocess.Popen(
            [*harness, "exporter", str(output), "--listen", address], cwd=str(ROOT)
        )
        run = subprocess.Popen([*harness, "bench", *words.split(), *sets, *serving], cwd=str(ROOT))
        try:
            pattern = str(output / "prometheus" / "*.json")
            jobs = {"ascend-bert-results": address}
            started = time.time()
            with run_prometheus(Path(scratch) / "prometheus", pattern, jobs) as prometheus:
                done = 'ascend_bert_run_state{state="finished",run_id=~".*-8p-.*"} == 1'
                (sample,) = wait_for(lambda: prometheus.query(done), 900.0, "it does not end")
                time.sleep(6.0)
                values = {
                    "run_id": sample["metric"]["run_id"], "rank": ".*", "device": ".*",
                    "case": ".*", "instance": ".*", "job": "ascend-bert-results", "window": "1m",
                    "__rate_interval": "10s",
                }  # fmt: skip
                drawer = Drawer(prometheus, values, started, time.time())
                for name in NAMES:
                    drawer.draw(name, folder / f"{name}.png")
        finally:
            for process in (run, exporter):
                process.terminate()
                process.wait(20)
    print("panels without data: " + (", ".join(drawer.empty) or "none"))
    return int(bool(drawer.empty))


if __name__ == "__main__":
    sys.exit(main())
