"""The report: what is on the page, that nothing on it can do harm, and that it stays small."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest

import bench.report.page as page_module
from bench.cli import main
from bench.judge.baselines import promote_launches, write_baseline
from bench.measure.figures import Check, Measurement
from bench.report.gather import Report, find_runs
from bench.report.page import build_policy, render_page
from bench.results.model import Failure, RankRecord
from tests.report_pages import (
    HOSTILE,
    check_harmless,
    compute_contrast,
    get_text,
    list_figures,
    read_colours,
)
from tests.stored_nights import STEADY, build_night, build_run, scale, store, to_launches


def _build_rank(rank, n, seed=0, slow=1.0):
    """A rank with every kind of interval."""
    rng = np.random.RandomState(seed + rank)
    seconds = slow * 2.0 * np.exp(0.01 * rng.standard_normal(n))
    seconds[0] *= 9.0
    reasons = ["graph compile", "warm-up", *["steady"] * (n - 3), "tail"]
    reasons[n // 2], reasons[n // 2 + 1], reasons[n // 2 + 2] = (
        "checkpoint",
        "outlier",
        "overflow-skipped",
    )
    steps = 5 * np.arange(1, n + 1)
    return RankRecord(
        rank=rank,
        label=f"train_{rank}.log",
        device=rank,
        exit_code=0,
        last_step=int(steps[-1]),
        intervals={
            "end_step": steps.tolist(),
            "steps": [5] * n,
            "seconds": seconds.tolist(),
            "steps_per_second": (5.0 / seconds).tolist(),
            "told": reasons,
            "reason": reasons,
            "wall_seconds": np.cumsum(seconds).tolist(),
        },
        losses={
            "step": steps.tolist(),
            "mlm": np.linspace(9.0, 2.0, n).tolist(),
            "nsp": [0.7] * n,
            "total": np.linspace(9.7, 2.7, n).tolist(),
        },
        loss_scales=[65536.0] * (n // 2) + [32768.0] * (n - n // 2),
        problems={"counts": {}, "first": []},
    )


def _build_measured(cards=2, n=60, repeat=1, night=0, **options):
    run = build_run(night, repeat, 100.0 * cards, cards=cards, **options)
    figures = {
        key: Measurement(value, "s", n, "steady")
        for key, value in (("step_time_p50_seconds", 0.4), ("step_time_p95_seconds", 0.41))
    }
    figures["steps_per_second"] = Measurement(2.5, "1/s", n, "steady")
    ranks = tuple(_build_rank(rank, n, 100 * repeat) for rank in range(cards))
    return replace(run, ranks=ranks, summary={**run.summary, **figures})


def test_all_is_there_and_the_verdict_comes_first():
    runs = [_build_measured(cards, repeat=repeat) for repeat in (1, 2) for cards in (1, 2)]
    root = check_harmless(render_page(Report(tuple(runs))))
    text = get_text(root)
    assert text.index("✓ VALID") < text.index("Results") < text.index("Environment")
    assert [item.get("id") for item in root.iter("section")] == [
        *("results", "throughput", "scaling", "step-times", "training"),
        *("checks", "problems", "environment", "runs"),
    ]
    titles = [title for title, _ in list_figures(root)]
    assert titles == [
        *("Throughput, 1 card(s), launch 1 of 2", "Throughput, 2 card(s), launch 1 of 2"),
        *("Throughput, 1 card(s), launch 2 of 2", "Throughput, 2 card(s), launch 2 of 2"),
        *("Throughput by card count", "Scaling efficiency"),
        *("Step time, 1 card(s)", "Step time, 2 card(s)"),
        *("Masked-LM loss", "Next-sentence loss", "Total loss", "Loss scale"),
    ]
    assert all(description for _, description in list_figures(root))
    for word in ("graph compile", "warm-up", "checkpoint", "overflow-skipped", "outlier", "tail"):
        assert f"{word}" in [item.text for item in root.iter("span")], word
    assert "SIMULATED" not in text


def test_the_figures_of_the_table_are_in_the_plot_of_step_times():
    root = check_harmless(render_page(Report((_build_measured(1),))))
    (found,) = [told for title, told in list_figures(root) if title.startswith("Step time")]
    assert "p50 400 ms" in found and "p95 410 ms" in found


def test_hostile_text_stays_text_wherever_it_comes_from():
    rank = replace(
        _build_rank(0, 20),
        label=HOSTILE,
        problems={
            "counts": {HOSTILE: 3},
            "first": [{"line_number": 1, "kind": HOSTILE, "text": HOSTILE}, HOSTILE],
        },
    )
    run = replace(
        _build_measured(1, facts={HOSTILE: {HOSTILE: [HOSTILE]}}),
        run_id=HOSTILE,
        ranks=(rank,),
        state="failed",
        failure=Failure("trainer", HOSTILE, 0, 1),
        validity=(Check(HOSTILE, False, HOSTILE, HOSTILE), Check(HOSTILE, None, HOSTILE, "")),
        tool={"name": HOSTILE, "version": HOSTILE},
    )
    run = replace(
        run,
        asked={**run.asked, "model": HOSTILE},
        session={**run.session, "build": HOSTILE, "id": HOSTILE},
        found={**run.found, "backend": HOSTILE, "data": {"masked_token_entropy_nats": HOSTILE}},
    )
    root = check_harmless(render_page(Report((run,), baseline=HOSTILE, remarks=(HOSTILE,))))
    text = get_text(root)
    assert text.count("<script>alert(1)</script>") > 12
    assert not set("\x00\x1b\u202e") & set(text)
    assert "✗ FAILED" in text


def test_the_policy_lets_in_the_style_sheet_alone():
    root = check_harmless(render_page(Report((_build_measured(1),))))
    style = "".join(root.find("head/style").itertext())
    (policy,) = [
        item.get("content")
        for item in root.iter("meta")
        if item.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == build_policy(style)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy
    # An XML parser and an HTML parser must see the same sheet, whose hash is in the policy.
    assert not set("<>&") & set(style)


@pytest.mark.parametrize("scheme", ["light", "dark", "print"])
def test_colours_can_be_told_from_their_ground(scheme):
    colours = read_colours(page_module._STYLE.read_text(encoding="utf-8"))[scheme]
    for ground in ("page", "card"):
        for ink in ("ink", "soft", "link", "good", "bad", "open"):
            assert compute_contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
        for line in range(8):
            assert compute_contrast(colours[f"c{line}"], colours[ground]) >= 4.5, line


def test_many_ranks_and_intervals_make_a_small_page():
    ranks = tuple(_build_rank(rank, 2000, slow=1.2 if rank == 7 else 1.0) for rank in range(64))
    run = replace(
        _build_measured(1), ranks=ranks, asked={**_build_measured(1).asked, "cards": [64]}
    )
    start = time.process_time()
    page = render_page(Report((run,)))
    assert time.process_time() - start < 12.0
    assert len(page) < 300_000
    root = check_harmless(page)
    assert "slowest, rank 7" in get_text(root)
    assert "range of 64 ranks" in get_text(root)


def test_many_launches_are_not_all_drawn_but_all_cases_are():
    runs = [_build_measured(c, 20, r) for r in range(1, 21) for c in (1, 2)]
    titles = [
        title
        for title, _ in list_figures(check_harmless(render_page(Report(tuple(runs)))))
        if title.startswith("Throughput,")
    ]
    assert len(titles) == page_module.MOST_LAUNCHES
    assert {title.split(",")[1] for title in titles} == {" 1 card(s)", " 2 card(s)"}


def test_what_is_nan_is_said_and_drawn_around():
    run = _build_measured(1)
    rank = run.ranks[0]
    broken = replace(
        rank, losses={**rank.losses, "mlm": [math.nan, math.inf, *rank.losses["mlm"][2:]]}
    )
    text = get_text(check_harmless(render_page(Report((replace(run, ranks=(broken,)),)))))
    assert "1 card(s) has 2 reports that are NaN or infinite" in text


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"state": "running", "ended_at": None}, "? UNFINISHED"),
        ({"validity": (Check("loss", False, "NaN", "finite"),)}, "✗ NOT VALID"),
        ({"state": "failed", "failure": Failure("trainer", "rank 0 died")}, "✗ FAILED"),
        ({"state": "failed", "failure": Failure("trainer", "died")}, "check. 1 card(s): died Held"),
        ({"simulated": True}, "SIMULATED: no device was measured."),
    ],
)
def test_words_of_the_verdict_without_a_baseline(change, word):
    text = get_text(check_harmless(render_page(Report((replace(build_run(0, 1, 1.0), **change),)))))
    assert word in text
    assert "Held against no baseline" in text


@pytest.fixture()
def nights(tmp_path):
    """A baseline of three nights, nine good ones and one that lost 4 %."""
    for night in range(12):
        store(tmp_path, build_night(night, scale(STEADY, 1.0 + 0.001 * (night % 3))))
    store(tmp_path, build_night(12, scale(STEADY, 0.96)))
    first = to_launches([run for n in range(3) for run in build_night(n, STEADY)])
    (tmp_path / "baselines").mkdir()
    baseline = promote_launches([], first, "2026-03-04T00:00:00Z", "me", "first", False)
    write_baseline(tmp_path / "baselines" / "nightly.json", baseline)
    return tmp_path


def test_the_command_judges_and_shows_history(nights, capsys):
    page = nights / "page.html"
    argv = ["report", "--output", str(nights), "-o", str(page)]
    assert main([*argv, "--baseline", str(nights / "baselines" / "nightly.json")]) == 0
    assert "5 run(s)" in capsys.readouterr().out
    root = check_harmless(page.read_text(encoding="utf-8"))
    text = get_text(root)
    assert "✗ REGRESSION slower: sequences/s, 1 card Held against" in text
    assert "exit code of the gate 1" in text
    assert [item.get("id") for item in root.iter("section")][:2] == ["results", "gate"]
    assert "sequences/s, 1 card" in [title for title, _ in list_figures(root)]
    assert main([*argv, "--no-history"]) == 0
    assert "history" not in [
        item.get("id") for item in check_harmless(page.read_text("utf-8")).iter("section")
    ]


def test_a_session_a_folder_and_a_file_name_the_same_runs(nights):
    folders = find_runs([], nights)
    session = "-".join(folders[0].name.split("-")[:2])
    assert len(folders) == 5
    assert find_runs([session], nights) == folders
    assert find_runs([str(folder / "result.json") for folder in folders], nights) == folders
    assert find_runs([str(folders[0]), str(folders[0])], nights) == folders[:1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["no-such-run"], 2, "no-such-run is no run folder"),
        (["--baseline", "nothing"], 2, "nothing is no run folder"),
        (["-o", "/dev/null/page.html"], 6, "cannot write"),
    ],
)
def test_bad_words_end_in_one_line(nights, capsys, words, code, message):
    assert main(["report", "--output", str(nights), *words]) == code
    assert message in capsys.readouterr().err


def test_no_results(tmp_path, capsys):
    assert main(["report", "--output", str(tmp_path)]) == 7
    assert "no results under" in capsys.readouterr().err


def test_a_damaged_result_is_left_out_and_said(nights, capsys):
    folder = find_runs([], nights)[0]
    (folder / "result.json").write_text("{")
    (folder.parent / (folder.name[:-1] + "2") / "telemetry.jsonl").write_text("nonsense\n")
    page = nights / "page.html"
    assert main(["report", "--output", str(nights), "-o", str(page)]) == 0
    text = get_text(check_harmless(page.read_text("utf-8")))
    assert "left out:" in text and "is not JSON" in text
    assert "is not a file of telemetry" in text
