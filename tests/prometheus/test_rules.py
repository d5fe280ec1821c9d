"""Rules by Prometheus' own tools: every alert fires when it must and is silent when it must."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from bench.series import ALL_SERIES
from tests.prometheus.alert_cases import ALERT_CASES

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docker" / "prometheus"
RULE_FILES = sorted((FOLDER / "rules").glob("*.yaml"))
SEVERITIES = ("critical", "warning", "info")
FOREIGN = ("up", "npu_chip_info_utilization", "npu_chip_info_health_status")
"""Series of others: Prometheus itself, and Huawei's npu-exporter."""


def _list_rules(kind):
    rules = []
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            rules += [rule for rule in group["rules"] if kind in rule]
    return rules


def _promtool(*arguments):
    done = subprocess.run(
        ["promtool", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout.decode()


def _build_test(alert, series, at, count):
    ours = f'ALERTS{{alertname="{alert}",alertstate="firing"}}'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": value} for name, value in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count({ours})",
                "eval_time": at,
                "exp_samples": [{"labels": "{}", "value": count}] if count else [],
            }
        ],
    }


def test_config_and_rules_are_sound(tmp_path):
    code, text = _promtool("check", "config", FOLDER / "prometheus.yml")
    assert code == 0, text
    code, text = _promtool("check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    assert code == 0, text


def test_alertmanager_takes_its_config():
    done = subprocess.run(
        ["amtool", "check-config", str(ROOT / "docker" / "alertmanager" / "alertmanager.yml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()


def test_every_alert_has_a_case_and_no_case_is_left_over():
    assert sorted(ALERT_CASES) == sorted(rule["alert"] for rule in _list_rules("alert"))


@pytest.mark.parametrize("rule", _list_rules("alert"), ids=lambda rule: rule["alert"])
def test_alerts_say_what_is_wrong_and_what_to_do(rule):
    assert rule["labels"]["severity"] in SEVERITIES
    for name in ("summary", "description", "runbook"):
        text = rule["annotations"][name]
        assert text.strip()
        assert text.count("{{") == text.count("}}")
    assert len(rule["annotations"]["runbook"]) > 40


def test_alerts_fire_and_are_silent(tmp_path):
    tests = []
    for name, case in ALERT_CASES.items():
        assert case.silent, name
        tests.append(_build_test(name, case.firing, case.at, case.count))
        tests += [_build_test(name, series, case.at, 0) for series in case.silent]
    path = tmp_path / "alerts.test.yaml"
    plain = {
        "rule_files": [str(file) for file in RULE_FILES],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    code, text = _promtool("test", "rules", path)
    assert code == 0, text


def test_the_tool_finds_what_is_wrong(tmp_path):
    """A harness that passed everything would prove nothing."""
    plain = {
        "rule_files": [str(file) for file in RULE_FILES],
        "evaluation_interval": "1m",
        "tests": [_build_test("NpuHot", ALERT_CASES["NpuHot"].firing, "30m", 0)],
    }
    path = tmp_path / "alerts.test.yaml"
    path.write_text(yaml.safe_dump(plain))
    assert _promtool("test", "rules", path)[0] != 0


def test_recorded_values(tmp_path):
    prefix = "ascend_bert_"
    series = {
        # Scraped and pushed: the same run twice.
        'train_sequences_total{run_id="r",job="ascend-bert"}': "0+1200x20",
        'train_sequences_total{run_id="r",job="pushgateway"}': "0+1190x20",
        'train_steps_total{run_id="r",rank="0"}': "0+60x20",
        'train_steps_total{run_id="r",rank="1"}': "0+60x20",
        'train_step_duration_seconds_sum{run_id="r"}': "0+30x20",
        'train_step_duration_seconds_count{run_id="r"}': "0+120x20",
        'train_global_step{run_id="r",rank="0"}': "0+60x20",
        'train_global_step{run_id="r",rank="1"}': "0+50x20",
        'train_interval_step_seconds{run_id="r",rank="0"}': "0.2x20",
        'train_interval_step_seconds{run_id="r",rank="1"}': "0.2x20",
        'train_interval_step_seconds{run_id="r",rank="2"}': "0.3x20",
        'run_target_steps{run_id="r"}': "1000x20",
        'npu_energy_joules_total{run_id="r",device="0"}': "0+6000x20",
        'result_sequences_per_second{case="c"}': "10 10 10 90 10x20",
        'result_end_timestamp_seconds{case="c"}': "60x20",
    }
    wanted = {
        "run_id:ascend_bert_train_sequences:rate5m": ('{run_id="r"}', 20),
        "run_id:ascend_bert_train_steps:rate5m": ('{run_id="r"}', 1),
        "run_id:ascend_bert_train_step_duration_seconds:mean5m": ('{run_id="r"}', 0.25),
        "run_id:ascend_bert_train_progress:ratio": ('{run_id="r"}', 0.5),
        "run_id:ascend_bert_train_step_lag:max": ('{run_id="r"}', 100),
        "run_id:ascend_bert_train_step_skew:ratio": ('{run_id="r"}', 1.5),
        "run_id:ascend_bert_sequences_per_joule:rate5m": ('{run_id="r"}', 0.2),
        "case:ascend_bert_result_sequences_per_second:median14d": ('{case="c"}', 10),
        "case:ascend_bert_result_age_seconds:last": ('{case="c"}', 540),
    }
    tests = [
        {
            "interval": "1m",
            "input_series": [{"series": prefix + key, "values": v} for key, v in series.items()],
            "promql_expr_test": [
                {
                    # Rounded, as 0.3 / 0.2 is not 1.5 in binary.
                    "expr": f"round({name}, 0.001)",
                    "eval_time": "10m",
                    "exp_samples": [{"labels": labels, "value": value}],
                }
                for name, (labels, value) in wanted.items()
            ],
        }
    ]
    plain = {
        "rule_files": [str(file) for file in RULE_FILES],
        "evaluation_interval": "1m",
        "tests": tests,
    }
    path = tmp_path / "recorded.test.yaml"
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    code, text = _promtool("test", "rules", path)
    assert code == 0, text


def test_rules_use_only_series_that_exist():
    recorded = {rule["record"] for rule in _list_rules("record")}
    known = {series.name for series in ALL_SERIES} | recorded | set(FOREIGN)
    for series in ALL_SERIES:
        if series.type == "histogram":
            known |= {f"{series.name}_{part}" for part in ("bucket", "sum", "count")}
    for rule in _list_rules("expr"):
        bare = re.sub(r'"[^"]*"', "", rule["expr"])
        names = set(re.findall(r"[a-z_]*:?ascend_bert_[a-z0-9_]+(?::\w+)?|npu_chip_\w+", bare))
        assert names <= known, (rule, names - known)
