"""The gate as a command: every exit code, through the shell, a pipe and make; rules and waivers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bench.cli import main
from bench.errors import UsageError
from bench.judge.rules import parse_rules
from bench.results.model import Failure
from tests.stored_nights import STEADY, at_look, build_night, scale, store

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(name="output")
def _output(tmp_path, monkeypatch):
    """A results folder with a baseline of three nights; the test works beside it."""
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "results"
    for night in range(3):
        store(output, build_night(night, STEADY))
    assert main(["promote", "results", "--by", "ann", "--why", "first nights"]) == 0
    return output


BASELINE = ("--baseline", "results/baselines/nightly.json")


def _gate(capsys, *more):
    capsys.readouterr()
    code = main(["gate", *BASELINE, *more])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


NOISY = (100.0, 112.0, 90.0, 106.0, 95.0)

NIGHTS = {
    "pass": (0, build_night(9, scale(STEADY, 1.001))),
    "regression": (1, build_night(9, scale(STEADY, 0.95))),
    "no verdict": (3, build_night(9, NOISY)),
    "few launches": (3, build_night(9, STEADY[:2])),
    "invalid launch": (3, build_night(9, STEADY) + build_night(10, [100.0], flaw="losses finite")),
    "other case": (3, build_night(9, STEADY, cards=8)),
    "missing value": (3, build_night(9, [*STEADY[:4], None])),
    "trainer failed": (4, build_night(9, STEADY, failure=Failure("trainer", "rank 1 was killed"))),
    "hang": (5, build_night(9, STEADY, failure=Failure("stalled", "took longer than 60 s"))),
    "infrastructure": (6, build_night(9, STEADY, failure=Failure("infrastructure", "no device"))),
    "data": (7, build_night(9, STEADY, failure=Failure("data", "no records"))),
    "other machine": (8, build_night(9, STEADY, facts={"cpu_model": "Another CPU"})),
    "interrupted": (3, build_night(9, STEADY, failure=Failure("interrupted", "SIGTERM"))),
}


def _store_last(output, results):
    """Several launches of one night, whatever night they were built as."""
    last = [
        item.__class__(**{**vars(item), "session": {**item.session, "id": "last"}})
        for item in results
    ]
    store(output, last)


@pytest.mark.parametrize("what", sorted(NIGHTS))
def test_exit_codes(output, capsys, what):
    code, results = NIGHTS[what]
    _store_last(output, results)
    found, out, err = _gate(capsys, "--format", "json")
    assert found == code
    verdict = json.loads(out)
    assert verdict["exit_code"] == code
    assert verdict["verdict"] == {0: "pass", 1: "regression"}.get(code, "no verdict")
    assert err.count("\n") == (1 if verdict["error"] else 0)
    assert bool(verdict["error"]) == (code >= 4 or what == "interrupted")


WRAPPERS = {
    "shell": "{command} > out.txt; echo code $?",
    "pipe": "set -o pipefail; {command} | cat > out.txt; echo code $?",
    # make turns every failure into its own 2, so the recipe keeps the code in a file.
    "make": "make -s gate > out.txt; made=$?; code=$(cat code); echo code $code; "
    "[ $made = $(( code ? 2 : 0 )) ]",
}


@pytest.mark.parametrize("wrapper", sorted(WRAPPERS))
def test_exit_codes_through_wrappers(output, tmp_path, wrapper):
    """Each night in a results folder of its own; a wrong flag for the code of usage."""
    chosen = ("pass", "regression", "no verdict", "trainer failed", "hang", "other machine")
    lines = []
    for index, what in enumerate(chosen):
        code, results = NIGHTS[what]
        store(tmp_path / f"night{index}", results)
        lines.append((f"night{index} --output night{index}", code))
    lines.append(("--no-such-flag", 2))
    for arguments, code in lines:
        command = f"'{sys.executable}' -m bench gate {arguments} {' '.join(BASELINE)}"
        recipe = f"{command}; code=$$?; echo $$code > code; exit $$code"
        (tmp_path / "Makefile").write_text(f"gate:\n\t{recipe}\n", encoding="utf-8")
        done = subprocess.run(
            ["bash", "-c", WRAPPERS[wrapper].replace("{command}", command)],
            cwd=str(tmp_path),
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )
        assert (done.stdout.decode(), done.returncode) == (f"code {code}\n", 0)
    assert sorted({code for _, code in lines}) == [0, 1, 2, 3, 4, 5, 8]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["nothing-like-this"], "no run folder"),
        (["--rules", "absent.yaml"], "cannot read rules"),
        (["--today", "tomorrow"], "not a date"),
    ],
)
def test_wrong_usage_is_2(output, capsys, more, words):
    code, _, err = _gate(capsys, *more)
    assert (code, err.count("\n")) == (2, 1)
    assert words in err


def test_an_absent_baseline_is_never_a_pass(output, capsys):
    store(output, build_night(9, STEADY))
    assert main(["gate", "--baseline", "results/baselines/other.json"]) == 2


def test_the_verdict_is_explained_with_every_number(output, capsys):
    _store_last(output, NIGHTS["regression"][1])
    code, out, _ = _gate(capsys, "--explain")
    assert code == 1
    assert out.startswith("REGRESSION: slower: sequences/s, 1 card")
    for words in (
        "95, 95.57, 94.525",
        "look 1",
        "degrees of freedom",
        "nothing lost: p",
        "3 % lost: p",
        "with a chance of 95%",
    ):
        assert words in out


def test_markdown_escapes_what_names_may_hold(output, capsys):
    hostile = {"model": "a|b<script>"}
    store(output, build_night(5, STEADY, asked=hostile))
    store(output, build_night(6, STEADY, asked={"model": "c"}))
    code, out, _ = _gate(capsys, "20260306T", "20260307T", "--format", "markdown")
    assert code == 3
    assert "<script>" not in out
    assert "a\\|b&lt;script>" in out


def test_a_case_that_was_not_measured_is_no_pass(output, tmp_path, capsys):
    store(output, build_night(4, STEADY, cards=8))
    assert main(["promote", "20260305", "--add", "--by", "ann", "--why", "8 cards"]) == 0
    store(output, build_night(9, STEADY))
    code, out, _ = _gate(capsys)
    assert code == 3
    assert "in the baseline, but not measured" in out
    rules = tmp_path / "rules.yaml"
    rules.write_text("allow_missing: true", encoding="utf-8")
    assert _gate(capsys, "--rules", str(rules))[0] == 0


def test_later_looks_count_sessions_and_what_the_session_says(output, capsys):
    first = build_night(9, NOISY)
    again = at_look(build_night(9, NOISY), 2)
    again = [item.__class__(**{**vars(item), "run_id": item.run_id + "x"}) for item in again]
    _store_last(output, [*first, *again])
    _, out, _ = _gate(capsys, "--format", "json")
    assert json.loads(out)["cells"][0]["cell"]["look"] == 2


WAIVER = {
    "metric": "sequences_per_second",
    "when": {"cards": 1},
    "owner": "ann",
    "reason": "new tokenizer, issue 12",
    "expires": "2026-04-01",
}


@pytest.mark.parametrize(
    ("today", "code", "words"),
    [
        ("2026-03-31", 3, "waived by ann until 2026-04-01: new tokenizer, issue 12"),
        ("2026-04-01", 3, "waived by ann"),
        ("2026-04-02", 1, "expired on 2026-04-01"),
    ],
)
def test_waivers_hold_until_they_expire(output, tmp_path, capsys, today, code, words):
    _store_last(output, NIGHTS["regression"][1])
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"waivers": [WAIVER]}), encoding="utf-8")
    found, out, _ = _gate(capsys, "--rules", str(rules), "--today", today)
    assert found == code
    assert words in out


def test_a_waived_regression_leaves_the_others_to_decide(output, tmp_path, capsys):
    store(output, build_night(4, STEADY, cards=8))
    assert main(["promote", "20260305", "--add", "--by", "ann", "--why", "8 cards"]) == 0
    _store_last(output, [*NIGHTS["regression"][1], *build_night(9, STEADY, cards=8)])
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"waivers": [WAIVER]}), encoding="utf-8")
    code, out, _ = _gate(capsys, "--rules", str(rules), "--today", "2026-03-15")
    assert code == 0
    assert "1 of 2 shown to be within their margins, 1 waived" in out


def test_differences_that_only_warn_are_told_and_may_be_refused(output, tmp_path, capsys):
    _store_last(output, build_night(9, STEADY, facts={"kernel": "6.1.0"}))
    code, out, _ = _gate(capsys)
    assert code == 0
    assert 'kernel "5.4.0" / "6.1.0"' in out
    rules = tmp_path / "rules.yaml"
    rules.write_text("refuse: [kernel]", encoding="utf-8")
    assert _gate(capsys, "--rules", str(rules))[0] == 8


def test_margins_by_case_and_metric():
    rules = parse_rules(
        {
            "margins": {"default": 0.05, "sequences_per_second": 0.02},
            "overrides": [{"when": {"cards": 8}, "margin": 0.04}],
        },
        "r",
    )
    from bench.judge.rules import get_margin

    assert get_margin(rules, "sequences_per_second", {"cards": 1}) == 0.02
    assert get_margin(rules, "sequences_per_second", {"cards": 8}) == 0.04
    assert get_margin(rules, "steps_per_second", {"cards": 1}) == 0.05


@pytest.mark.parametrize(
    ("plain", "words"),
    [
        ({"margin": {}}, "unknown key 'margin'; did you mean 'margins'?"),
        ({"margins": {"sequences_per_secnd": 0.1}}, "did you mean 'sequences_per_second'?"),
        ({"margins": {"default": 3}}, "margins/default"),
        ({"metrics": []}, "metrics"),
        ({"waivers": [{"metric": "tokens_per_second"}]}, "'owner' is a required property"),
        ({"waivers": [{**WAIVER, "expires": "soon"}]}, "not a date"),
        ({"refuse": ["kernl"]}, "did you mean 'kernel'?"),
        ({"look_shares": [0.6, 0.6]}, "more than 1"),
        ({"overrides": [{"when": {"card": 8}, "margin": 0.1}]}, "did you mean 'cards'?"),
        ([1], "not of type 'object'"),
    ],
)
def test_wrong_rules_are_refused_in_one_line(plain, words):
    with pytest.raises(UsageError) as error:
        parse_rules(plain, "rules.yaml")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_rules_hold_no_code(tmp_path, capsys):
    rules = tmp_path / "rules.yaml"
    rules.write_text("!!python/object/apply:os.system ['true']", encoding="utf-8")
    assert main(["gate", "--baseline", "x", "--rules", str(rules)]) == 2


def test_promotion_is_on_record_and_refuses_unsound_launches(output, tmp_path, capsys):
    path = output / "baselines" / "nightly.json"
    store(output, build_night(5, scale(STEADY, 1.1)))
    assert main(["promote", "--by", "bob", "--why", "faster kernels"]) == 0
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert [(item["by"], item["why"], item["replaced"]) for item in plain["promotions"]] == [
        ("ann", "first nights", True),
        ("bob", "faster kernels", True),
    ]
    assert len(plain["launches"]) == 5
    assert len(plain["fingerprints"]) == 1
    before = path.read_bytes()
    store(output, build_night(6, STEADY, flaw="losses finite"))
    assert main(["promote", "--by", "bob", "--why", "oops"]) == 3
    assert main(["promote", "--by", " ", "--why", "oops"]) == 2
    assert main(["promote", "--name", "../x", "--by", "b", "--why", "oops"]) == 2
    assert path.read_bytes() == before


def test_a_damaged_baseline_is_a_data_error(output, capsys):
    path = output / "baselines" / "nightly.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    plain["launches"][0]["fingerprint"] = 7
    path.write_text(json.dumps(plain), encoding="utf-8")
    store(output, build_night(9, STEADY))
    code, _, err = _gate(capsys)
    assert code == 7
    assert "names fingerprint 7" in err
    path.write_text("{", encoding="utf-8")
    assert _gate(capsys)[0] == 7


def test_calibrated_margins_come_from_the_noise(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for night in range(4):
        store(tmp_path / "results", build_night(night, scale(STEADY, 1.0 + 0.002 * night)))
    assert main(["calibrate", "results", "--write", "rules.yaml", "--format", "json"]) == 0
    (noise,) = json.loads(capsys.readouterr().out)
    assert (noise["n_launches"], noise["n_nights"]) == (20, 4)
    assert noise["launch_sd_ratio"] == pytest.approx(0.00415, rel=0.05)
    assert noise["night_sd_ratio"] == pytest.approx(0.0018, rel=0.2)
    assert 0.01 < noise["margin_ratio"] < 0.05
    store(tmp_path / "results", build_night(9, STEADY))
    arguments = ["gate", "--rules", "rules.yaml", "--format", "json"]
    for night in range(1, 5):
        arguments += ["--baseline", f"2026030{night}T"]
    assert main(arguments) == 0
    (cell,) = json.loads(capsys.readouterr().out)["cells"]
    assert cell["cell"]["margin_ratio"] == noise["margin_ratio"]
    assert main(["calibrate", "20260301T"]) == 3
