"""Rules of a gate: margins, levels, waivers; a YAML file held to a schema, nothing is evaluated."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

import jsonschema
import yaml

from bench.catalogue import METRICS, RESULT_METRICS
from bench.errors import UsageError
from bench.judge.launches import Launch
from bench.judge.model import NightSpread, Plan
from bench.results.fingerprint import RULES as COMPARABILITY_RULES
from bench.results.fingerprint import WARNS
from bench.spec import suggest

DEFAULT_MARGIN_RATIO = 0.03

_SCHEMA = Path(__file__).resolve().parent / "schema" / "rules-v1.json"


@dataclass(frozen=True)
class Override:
    """What is different in some cells.

    Attributes:
        when: facts that the case must have, all of them.
        metric: only for this metric; None for all.
        margin_ratio: None to leave it.
        night_spread: None to leave it.
    """

    when: Mapping[str, Any]
    metric: Optional[str] = None
    margin_ratio: Optional[float] = None
    night_spread: Optional[NightSpread] = None


@dataclass(frozen=True)
class Waiver:
    """A regression that is known and does not count for a while.

    Attributes:
        metric: of which.
        when: facts that the case must have.
        owner: who looks after it.
        reason: in words.
        expires: last day on which it holds.
    """

    metric: str
    when: Mapping[str, Any]
    owner: str
    reason: str
    expires: datetime.date


@dataclass(frozen=True)
class KnownBreak:
    """A change of the machine that starts a new series.

    Attributes:
        date: first day after it.
        reason: in words.
    """

    date: datetime.date
    reason: str


@dataclass(frozen=True)
class Rules:
    """All that a gate is told.

    Attributes:
        metrics: keys of the judged metrics.
        named: they were asked for by name, so that a case without one is not decided; else those
            that neither side of a case has are passed over.
        margins: metric key → margin; ``default`` for the rest.
        plan: levels and looks.
        overrides: later ones win.
        waivers: known regressions.
        refuse: facts whose difference is only a warning otherwise, but forbids here.
        allow_missing: cases of the baseline that were not measured do not matter.
        breaks: known changes of the machine, for the history.
    """

    metrics: Tuple[str, ...] = tuple(metric.key for metric in RESULT_METRICS if metric.gated)
    named: bool = False
    margins: Mapping[str, float] = field(default_factory=dict)
    plan: Plan = Plan()
    overrides: Tuple[Override, ...] = ()
    waivers: Tuple[Waiver, ...] = ()
    refuse: Tuple[str, ...] = ()
    allow_missing: bool = False
    breaks: Tuple[KnownBreak, ...] = ()


def read_rules(path: Path) -> Rules:
    """Reads a rules file.

    Raises:
        UsageError: absent, not YAML, breaks the schema, or names a metric or fact that is unknown.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read rules {path}: {error}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        raise UsageError(f"rules {path}{line}: not valid YAML") from error
    return parse_rules({} if plain is None else plain, str(path))


def parse_rules(plain: Any, source: str) -> Rules:
    """Checks plain values and makes rules of them; see :func:`read_rules`."""
    plain = _dates_to_text(plain)
    schema: Dict[str, Any] = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    errors = sorted(
        jsonschema.Draft7Validator(schema).iter_errors(plain),
        key=lambda error: [str(part) for part in error.absolute_path],
    )
    if errors:
        raise UsageError(f"rules {source}: {_describe_error(errors[0])}")
    rules = Rules(
        margins=plain.get("margins", {}),
        plan=_build_plan(plain),
        overrides=tuple(_build_override(item) for item in plain.get("overrides", [])),
        waivers=tuple(_build_waiver(item, source) for item in plain.get("waivers", [])),
        refuse=tuple(plain.get("refuse", [])),
        allow_missing=plain.get("allow_missing", False),
        breaks=tuple(
            KnownBreak(_parse_date(item["date"], source), item["reason"])
            for item in plain.get("breaks", [])
        ),
    )
    if "metrics" in plain:
        rules = replace(rules, metrics=tuple(plain["metrics"]), named=True)
    _check_names(rules, source)
    return rules


def list_metrics(rules: Rules, launches: Sequence[Launch]) -> Tuple[str, ...]:
    """The metrics to judge where all that is known are these launches, of both sides."""
    known = {key for launch in launches for key in launch.values}
    found = tuple(metric for metric in rules.metrics if metric in known)
    return rules.metrics if rules.named or not found else found


def get_margin(rules: Rules, metric: str, case: Mapping[str, Any]) -> float:
    """The margin of a cell."""
    margin = rules.margins.get(metric, rules.margins.get("default", DEFAULT_MARGIN_RATIO))
    for override in _select(rules.overrides, metric, case):
        if override.margin_ratio is not None:
            margin = override.margin_ratio
    return float(margin)


def get_night_spread(rules: Rules, metric: str, case: Mapping[str, Any]) -> Optional[NightSpread]:
    """The night spread of a cell where an override has one."""
    spread = None
    for override in _select(rules.overrides, metric, case):
        spread = override.night_spread or spread
    return spread


def find_waivers(rules: Rules, metric: str, case: Mapping[str, Any]) -> List[Waiver]:
    """The waivers that speak of a cell, expired ones included."""
    return [w for w in rules.waivers if w.metric == metric and _matches(w.when, case)]


def _select(overrides: Sequence[Override], metric: str, case: Mapping[str, Any]) -> List[Override]:
    return [o for o in overrides if o.metric in (None, metric) and _matches(o.when, case)]


def _matches(when: Mapping[str, Any], case: Mapping[str, Any]) -> bool:
    return all(case.get(key) == value for key, value in when.items())


def _build_plan(plain: Mapping[str, Any]) -> Plan:
    keys = ("alpha", "alpha_pass", "first_launches", "more_launches", "minimum_launches")
    plan = replace(Plan(), **{key: plain[key] for key in keys if key in plain})
    if "look_shares" in plain:
        shares = tuple(float(share) for share in plain["look_shares"])
        if sum(shares) > 1.0 + 1e-9:
            raise UsageError(f"rules: look_shares add up to {sum(shares):g}, more than 1")
        plan = replace(plan, look_shares=shares)
    if "night_spread" in plain:
        plan = replace(plan, night_spread=NightSpread(**plain["night_spread"]))
    return plan


def _build_override(item: Mapping[str, Any]) -> Override:
    spread = item.get("night_spread")
    return Override(
        item.get("when", {}),
        item.get("metric"),
        item.get("margin"),
        NightSpread(**spread) if spread else None,
    )


def _build_waiver(item: Mapping[str, Any], source: str) -> Waiver:
    return Waiver(
        item["metric"],
        item.get("when", {}),
        item["owner"],
        item["reason"],
        _parse_date(item["expires"], source),
    )


def _parse_date(text: str, source: str) -> datetime.date:
    try:
        return datetime.datetime.strptime(text, "%Y-%m-%d").date()
    except ValueError as error:
        raise UsageError(f"rules {source}: {text!r} is not a date like 2026-12-31") from error


def _dates_to_text(value: Any) -> Any:
    # YAML makes dates of what looks like one; JSON Schema knows text only.
    if isinstance(value, datetime.date):
        return value.isoformat()[:10]
    if isinstance(value, dict):
        return {key: _dates_to_text(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_dates_to_text(item) for item in value]
    return value


def _check_names(rules: Rules, source: str) -> None:
    named = [*rules.metrics, *(key for key in rules.margins if key != "default")]
    named += [o.metric for o in rules.overrides if o.metric] + [w.metric for w in rules.waivers]
    for metric in named:
        if metric not in METRICS:
            raise UsageError(f"rules {source}: unknown metric {metric!r}{suggest(metric, METRICS)}")
        if METRICS[metric].better is None:
            raise UsageError(f"rules {source}: neither way of {metric} is better")
    warned = [rule.field for rule in COMPARABILITY_RULES if rule.role == WARNS]
    for fact in rules.refuse:
        if fact not in warned:
            raise UsageError(f"rules {source}: unknown fact {fact!r}{suggest(fact, warned)}")


def _describe_error(error: Any) -> str:
    place = "/".join(str(part) for part in error.absolute_path)
    where = f"{place}: " if place else ""
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        wrong = [key for key in error.instance if key not in known]
        if wrong:
            return f"{where}unknown key {wrong[0]!r}{suggest(str(wrong[0]), known)}"
    return f"{where}{error.message[:160]}"
