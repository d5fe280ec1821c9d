"""Panels and boards in the house's manner, on Grafana's official SDK (Python 3.11 or newer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    text,
    timeseries,
)
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import prometheus as prometheus_model
from grafana_foundation_sdk.models import text as text_model

TAG = "ascend-bert"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24

GREEN, YELLOW, RED = "green", "yellow", "red"
UP_DOWN = {"0": ("down", RED), "1": ("up", GREEN)}
YES_NO = {"0": ("no", RED), "1": ("yes", GREEN)}

Steps = Sequence[tuple[float | None, str]]


@dataclass(frozen=True)
class Query:
    """A PromQL query and the name of its lines."""

    expr: str
    legend: str = ""


def _target(query: Query, number: int, *, instant: bool = False) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .ref_id(chr(ord("A") + number))
        .datasource(SOURCE)
        .expr(query.expr)
        .editor_mode(prometheus_model.QueryEditorMode.CODE)
        .legend_format(query.legend or "__auto")
    )
    return target.instant() if instant else target.range()


def _dress(panel, title: str, help_text: str, width: int, height: int):
    return panel.title(title).description(help_text).datasource(SOURCE).span(width).height(height)


def _thresholds(steps: Steps):
    return (
        dashboard.ThresholdsConfig()
        .mode(model.ThresholdsMode.ABSOLUTE)
        .steps([model.Threshold(value=value, color=color) for value, color in steps])
    )


def _mappings(words: dict[str, tuple[str, str]]):
    return [
        model.ValueMap(
            options={
                value: model.ValueMappingResult(text=word, color=color, index=index)
                for index, (value, (word, color)) in enumerate(words.items())
            }
        )
    ]


def build_stat(
    title: str,
    help_text: str,
    query: Query | Sequence[Query],
    unit: str = "short",
    *,
    width: int = 3,
    height: int = 4,
    decimals: int | None = None,
    steps: Steps = ((None, "text"),),
    words: dict[str, tuple[str, str]] | None = None,
):
    """One figure, the last one in the range of time."""
    queries = [query] if isinstance(query, Query) else list(query)
    panel = _dress(stat.Panel(), title, help_text, width, height)
    for number, each in enumerate(queries):
        panel = panel.with_target(_target(each, number))
    several = len(queries) > 1
    panel = (
        panel.unit(unit)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .color_mode(common_model.BigValueColorMode.VALUE)
        .graph_mode(common_model.BigValueGraphMode.NONE)
        .text_mode(
            common_model.BigValueTextMode.VALUE_AND_NAME
            if several
            else common_model.BigValueTextMode.VALUE
        )
        .thresholds(_thresholds(steps))
        .no_value("–")
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    return panel.mappings(_mappings(words)) if words else panel


def build_lines(
    title: str,
    help_text: str,
    queries: Query | Sequence[Query],
    unit: str = "short",
    *,
    width: int = 12,
    height: int = 8,
    minimum: float | None = None,
    maximum: float | None = None,
    stacked: bool = False,
    points: bool = False,
    table_legend: bool = True,
):
    """Lines over time."""
    listed = [queries] if isinstance(queries, Query) else list(queries)
    panel = _dress(timeseries.Panel(), title, help_text, width, height)
    for number, query in enumerate(listed):
        panel = panel.with_target(_target(query, number))
    legend = (
        common.VizLegendOptions().show_legend(True).placement(common_model.LegendPlacement.BOTTOM)
    )
    if table_legend:
        legend = legend.display_mode(common_model.LegendDisplayMode.TABLE).calcs(
            ["lastNotNull", "min", "max"]
        )
    else:
        legend = legend.display_mode(common_model.LegendDisplayMode.LIST)
    panel = (
        panel.unit(unit)
        .line_width(1)
        .fill_opacity(30 if stacked else 0)
        .show_points(
            common_model.VisibilityMode.ALWAYS if points else common_model.VisibilityMode.AUTO
        )
        .legend(legend)
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
    )
    if stacked:
        panel = panel.stacking(
            common.StackingConfig().mode(common_model.StackingMode.NORMAL).group("A")
        )
    if minimum is not None:
        panel = panel.min(minimum)
    return panel if maximum is None else panel.max(maximum)


def build_states(
    title: str,
    help_text: str,
    query: Query,
    words: dict[str, tuple[str, str]],
    *,
    width: int = 12,
    height: int = 8,
):
    """States over time, one row per line of the query."""
    return (
        _dress(statetimeline.Panel(), title, help_text, width, height)
        .with_target(_target(query, 0))
        .mappings(_mappings(words))
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .thresholds(_thresholds([(None, "text")]))
        .show_value(common_model.VisibilityMode.AUTO)
        .merge_values(True)
        .fill_opacity(70)
        .line_width(0)
        .legend(
            common.VizLegendOptions()
            .show_legend(False)
            .display_mode(common_model.LegendDisplayMode.LIST)
            .placement(common_model.LegendPlacement.BOTTOM)
        )
    )


def build_heatmap(title: str, help_text: str, query: Query, *, width: int = 12, height: int = 8):
    """A histogram over time; the buckets are those of the series."""
    target = _target(query, 0).format(prometheus_model.PromQueryFormat.HEATMAP)
    return (
        _dress(heatmap.Panel(), title, help_text, width, height)
        .with_target(target)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_model.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .steps(64)
        )
        .cell_gap(1)
    )


def build_table(
    title: str,
    help_text: str,
    query: Query,
    *,
    hidden: Sequence[str] = (),
    width: int = 24,
    height: int = 6,
):
    """The labels of an instant query, with its value, as rows."""
    target = _target(query, 0, instant=True).format(prometheus_model.PromQueryFormat.TABLE)
    away = dict.fromkeys(("Time", "__name__", "job", *hidden), True)
    return (
        _dress(table.Panel(), title, help_text, width, height)
        .with_target(target)
        .with_transformation(
            model.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": away, "indexByName": {}, "renameByName": {}},
            )
        )
        .cell_height(common_model.TableCellHeight.SM)
    )


def build_text(content: str, *, width: int = 24, height: int = 3):
    """A line of explanation."""
    return (
        text.Panel()
        .title("")
        .mode(text_model.TextMode.MARKDOWN)
        .content(content)
        .span(width)
        .height(height)
        .transparent(True)
    )


def build_label_variable(
    name: str, label: str, query: str, *, multi: bool = False
) -> dashboard.QueryVariable:
    """A variable with the values of a label; the latest name first."""
    variable = (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name, "qryType": 1})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NUMERICAL_ASC if multi else model.VariableSort.ALPHABETICAL_DESC)
    )
    if not multi:
        return variable
    return (
        variable.multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def build_board(
    uid: str,
    title: str,
    help_text: str,
    *,
    since: str = "now-1h",
    refresh: str = "10s",
    window: bool = True,
) -> dashboard.Dashboard:
    """An empty board with what all boards have."""
    board = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(help_text)
        .tags([TAG])
        .readonly()
        .timezone("browser")
        .time(since, "now")
        .refresh(refresh)
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("ascend-bert")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .keep_time(True)
            .icon("external link")
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
    )
    if not window:
        return board
    chosen = model.VariableOption(selected=True, text="5m", value="5m")
    return board.with_variable(
        dashboard.CustomVariable("window")
        .label("Window of rates")
        .values("1m,5m,15m")
        .current(chosen)
        .options(
            [
                model.VariableOption(selected=each == "5m", text=each, value=each)
                for each in ("1m", "5m", "15m")
            ]
        )
    )


def build_marks(name: str, expr: str, color: str) -> dashboard.AnnotationQuery:
    """Marks in time; the query gives Unix times in milliseconds, see ``build.MARKS``."""
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(color)
        .expr(expr)
    )


def add_row(board: dashboard.Dashboard, title: str, *panels) -> dashboard.Dashboard:
    """A headed row of panels, flowing from left to right."""
    board = board.with_row(dashboard.Row(title))
    for panel in panels:
        board = board.with_panel(panel)
    return board
