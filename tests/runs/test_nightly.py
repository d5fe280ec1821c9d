"""The night: a rehearsal of fourteen, its files, its exit codes, and the CI files that call it."""

import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import yaml

import bench.commands.nightly as nightly_command
from bench.cli import build_parser, main
from bench.errors import TrainerError
from bench.judge.baselines import promote_launches, write_baseline
from bench.judge.verdicts import list_verdicts, read_verdict
from bench.results.model import Failure
from bench.results.store import list_run_directories, read_result
from bench.session.judged import Wish
from tests.junit_rules import check_junit, list_problems
from tests.report_pages import HOSTILE, check_harmless, get_text
from tests.stored_nights import STEADY, build_night, build_run, scale, store, to_launches

ROOT = Path(__file__).resolve().parent.parent.parent
CI = ROOT / "scripts" / "ci"
DROP_NIGHT = 10
FILES = ["junit.xml", "report.html", "summary.md", "verdict.json"]


def _check_markdown(text):
    """Tables are whole, and nothing in the text is markup of HTML."""
    widths = []
    for line in text.splitlines():
        if line.startswith("|"):
            widths.append(len(re.findall(r"(?<!\\)\|", line)))
        else:
            assert len(set(widths)) <= 1, line
            widths = []
    assert "<" not in text
    return text


def _draw_rates(rng, rate):
    """Launches that differ by 0.5 %."""
    return (rate * np.exp(0.005 * rng.standard_normal(5))).tolist()


def _make_baseline(output, rng, nights=3, cards=(1, 2)):
    runs = [
        run
        for night in range(nights)
        for count in cards
        for run in build_night(night, _draw_rates(rng, 100.0 * count), cards=count)
    ]
    store(output, runs)
    (output / "baselines").mkdir()
    chosen = promote_launches([], to_launches(runs), "2026-03-04T00:00:00Z", "me", "first", False)
    write_baseline(output / "baselines" / "nightly.json", chosen)


def test_fourteen_nights_with_a_drop_on_the_tenth(tmp_path, capsys):
    """Green nine times, red from the tenth on; history names that night once it is sure."""
    rng = np.random.RandomState(6)
    _make_baseline(tmp_path, rng)
    folder = tmp_path / "nightly"
    codes, found = [], []
    for night in range(1, 15):
        loss = 0.96 if night >= DROP_NIGHT else 1.0
        for cards in (1, 2):
            rates = _draw_rates(rng, 100.0 * cards * (loss if cards == 2 else 1.0))
            store(tmp_path, build_night(2 + night, rates, cards=cards))
        codes.append(main(["nightly", "--output", str(tmp_path), "--measured"]))
        assert sorted(path.name for path in folder.iterdir()) == FILES
        markdown = _check_markdown((folder / "summary.md").read_text(encoding="utf-8"))
        junit = check_junit((folder / "junit.xml").read_text(encoding="utf-8"))
        page = get_text(check_harmless((folder / "report.html").read_text(encoding="utf-8")))
        verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
        assert verdict["exit_code"] == codes[-1]
        if night < DROP_NIGHT:
            assert markdown.startswith("## Benchmark: PASS (exit code 0)\n")
            assert list_problems(junit) == []
            assert "✓ PASS" in page
            assert "No changes" in markdown
        else:
            assert markdown.startswith("## Benchmark: REGRESSION (exit code 1)\n")
            assert "**REGRESSION**: slower: sequences/s, 2 cards\n" in markdown
            (problem,) = list_problems(junit)
            assert problem[:2] == ("failure", "ascend-bert.gate.2 cards: sequences/s")
            assert "worse, and a loss of 3 % is not ruled out" in problem[2]
            assert "✗ REGRESSION slower: sequences/s, 2 cards" in page
        # Three days of March went into the baseline.
        if re.search(r"2 cards: changed by -\d\.\d % \(worse\) from 2026-03-13 on", markdown):
            found.append(night)
            assert "from 2026-03-13 on (session 20260313T220000Z-000c)" in page
    assert codes == [0] * (DROP_NIGHT - 1) + [1] * (15 - DROP_NIGHT)
    assert found == list(range(found[0], 15))
    assert DROP_NIGHT < found[0] <= DROP_NIGHT + 3
    assert "REGRESSION" in capsys.readouterr().out


def test_a_night_of_the_simulated_backend_from_start_to_end(tmp_path, capsys):
    """First night: no baseline, no verdict. It is promoted, and the second night passes."""
    flags = ["--backend", "simulated", "--cards", "1", "--steps", "150", "--repeats", "3"]
    argv = ["nightly", "--output", str(tmp_path), "--", *flags, "--quiet"]
    assert main(argv) == 3
    told = capsys.readouterr()
    assert "there is no baseline yet; make one with 'ascend-bert promote'" in told.err
    assert "NO VERDICT (exit code 3)" in told.out
    junit = check_junit((tmp_path / "nightly" / "junit.xml").read_text("utf-8"))
    assert {problem[0] for problem in list_problems(junit)} == {"error"}
    assert not (tmp_path / "nightly" / "verdict.json").exists()
    first = list_run_directories(tmp_path)
    assert len(first) == 3
    promote = ["promote", "--output", str(tmp_path), "--by", "me", "--why", "first night"]
    assert main(promote) == 0
    assert main(argv) == 0
    assert len(list_run_directories(tmp_path)) == 6
    assert "PASS (exit code 0)" in capsys.readouterr().out
    text = get_text(check_harmless((tmp_path / "nightly" / "report.html").read_text("utf-8")))
    assert "SIMULATED: no device was measured." in text


def _noisy(rng):
    return (100.0 * np.exp(0.03 * rng.standard_normal(5))).tolist()


def test_without_a_verdict_more_is_asked_for(tmp_path, capsys, monkeypatch):
    """Launches that differ by 3 % do not decide at the first look, nor at the second."""
    rng = np.random.RandomState(1)
    store(tmp_path, build_night(0, _noisy(rng)))
    asked = []
    nights = iter(range(1, 9))

    def launch(flags):
        asked.append(getattr(flags, "session.repeats"))
        night, look = next(nights), 1
        folders = store(tmp_path, build_night(night, _noisy(rng)))
        wish = flags.judge(folders, look)
        while wish.launches:
            asked.append(wish)
            look += 1
            rates = enumerate(_noisy(rng), start=len(folders) + 1)
            more = [build_run(night, n, rate, session={"look": look}) for n, rate in rates]
            folders = [*folders, *store(tmp_path, more)]
            wish = flags.judge(folders, look)
        return 0

    monkeypatch.setattr(nightly_command.bench_command, "run", launch)
    baseline = ["--baseline", "20260301T220000Z"]
    argv = ["nightly", "--output", str(tmp_path), *baseline]
    assert main([*argv, "--looks", "2"]) == 3
    assert asked == ["5", Wish(5, ((1, 16),))]
    told = capsys.readouterr().out
    assert "no verdict yet on sequences/s, 1 card; look 2: 5 more launches" in told
    assert "look 3" not in told
    cell = json.loads((tmp_path / "nightly" / "verdict.json").read_text())["cells"][0]["cell"]
    assert (len(cell["candidate"]), cell["look"]) == (10, 2)
    (stored,) = map(read_verdict, list_verdicts(tmp_path))
    assert (stored.verdict, stored.cells[0].look) == ("no verdict", 2)
    asked.clear()
    assert main([*argv, "--looks", "1", "--", "--repeats", "4"]) == 3
    assert asked == ["4"]


def test_only_undecided_cases_are_launched_again_in_the_same_session(tmp_path, capsys):
    """Noise that leaves 3 % open after three launches, not after six; 30 % are clear at once."""
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        "look_shares: [0.1, 0.9]\nfirst_launches: 3\nmore_launches: 3\n"
        "overrides:\n- {when: {cards: 2}, margin: 0.3}\n"
    )
    flags = ["--backend", "simulated", "--cards", "1,2", "--steps", "60", "--quiet"]
    flags += ["--set", "simulated.noise_ratio=0.15", "--output", str(tmp_path)]
    assert main(["bench", *flags, "--repeats", "4"]) == 0
    assert main(["promote", "--output", str(tmp_path), "--by", "me", "--why", "first night"]) == 0
    first = set(list_run_directories(tmp_path))
    argv = ["nightly", "--output", str(tmp_path), "--rules", str(rules), "--", *flags]
    capsys.readouterr()
    assert main(argv) == 0
    told = capsys.readouterr().out
    assert "no verdict yet on sequences/s, 1 card; look 2: 3 more launches\n" in told
    runs = [read_result(run) for run in list_run_directories(tmp_path) if run not in first]
    assert len({run.session["id"] for run in runs}) == 1
    looks = sorted((run.n_cards, run.session["look"], run.session["repeat"]) for run in runs)
    wanted = [(1, 1, n) for n in (1, 2, 3)] + [(1, 2, n) for n in (4, 5, 6)]
    assert looks == [*wanted, *((2, 1, n) for n in (1, 2, 3))]
    assert sorted(run.session["index"] for run in runs) == list(range(9))
    (stored,) = map(read_verdict, list_verdicts(tmp_path))
    assert {(cell.look, len(cell.run_ids)) for cell in stored.cells} == {(2, 6), (1, 3)}


@pytest.mark.parametrize("n_stored", [0, 5])
def test_a_failed_trainer_gives_its_code_whether_it_left_runs_or_not(
    tmp_path, capsys, monkeypatch, n_stored
):
    _make_baseline(tmp_path, np.random.RandomState(2), cards=(1,))

    def launch(flags):
        runs = build_night(5, STEADY)[: max(0, n_stored - 1)]
        if n_stored:
            failure = Failure("trainer", f"rank 0 died: {HOSTILE}", 0, 1)
            runs.append(build_run(5, 9, None, failure=failure))
        store(tmp_path, runs)
        raise TrainerError("rank 0 died")

    monkeypatch.setattr(nightly_command.bench_command, "run", launch)
    assert main(["nightly", "--output", str(tmp_path)]) == 4
    assert "rank 0 died" in capsys.readouterr().err
    folder = tmp_path / "nightly"
    assert list_problems(check_junit((folder / "junit.xml").read_text("utf-8")))
    text = _check_markdown((folder / "summary.md").read_text("utf-8"))
    assert text.startswith("## Benchmark: NO VERDICT (exit code 4)")
    assert (folder / "report.html").exists() is bool(n_stored)


def test_a_pass_does_not_make_up_for_a_failed_bench(tmp_path, monkeypatch):
    """All that was judged passes, yet bench says that something is missing."""
    _make_baseline(tmp_path, np.random.RandomState(2), cards=(1,))

    def launch(flags):
        store(tmp_path, build_night(5, STEADY))
        raise TrainerError("the port of the metrics was lost")

    monkeypatch.setattr(nightly_command.bench_command, "run", launch)
    assert main(["nightly", "--output", str(tmp_path)]) == 4


def test_files_of_an_earlier_night_do_not_stay(tmp_path, monkeypatch):
    folder = tmp_path / "nightly"
    folder.mkdir()
    for name in FILES:
        (folder / name).write_text("old")
    monkeypatch.setattr(nightly_command.bench_command, "run", lambda flags: 0)
    assert main(["nightly", "--output", str(tmp_path)]) == 3
    assert sorted(path.name for path in folder.iterdir()) == ["junit.xml", "summary.md"]
    assert "old" not in (folder / "summary.md").read_text()


def test_a_creep_can_be_made_to_fail(tmp_path, capsys):
    """0.25 % a night: every night is within 3 % of a baseline that moves, the history sees it."""
    for night in range(35):
        rate = 0.9975 ** max(0, night - 10)
        store(tmp_path, build_night(night, scale(STEADY, rate)))
        before = f"{build_run(night - 1, 1, 1.0).session['id']}" if night else None
        if night < 14 or before is None:
            continue
        argv = ["nightly", "--output", str(tmp_path), "--measured", "--baseline", before]
        code = main([*argv, "--fail-on-change"])
        if code:
            break
    assert code == 1
    text = (tmp_path / "nightly" / "summary.md").read_text("utf-8")
    assert text.startswith("## Benchmark: CHANGE FOR THE WORSE (exit code 1)")
    junit = check_junit((tmp_path / "nightly" / "junit.xml").read_text("utf-8"))
    (problem,) = list_problems(junit)
    assert problem[1] == "ascend-bert.history.1 card: sequences/s"
    assert main(argv) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--", "--cards", "none"], "cards"),
        (["--", "--no-such-flag"], "bench flags: unrecognized arguments: --no-such-flag"),
        (["--", "--resume"], "nightly cannot do bench --resume"),
        (["--measured", "--", "--cards", "1"], "--measured launches nothing; drop --cards"),
        (["--looks", "0"], "--looks must be at least 1"),
        (["--baseline", "nothing"], "nothing is no run folder"),
        (["--rules", "absent.yaml"], "absent.yaml"),
    ],
)
def test_wrong_usage_launches_nothing(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.setattr(nightly_command.bench_command, "run", lambda flags: pytest.fail("launched"))
    assert main(["nightly", "--output", str(tmp_path), *words]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def _read_commands():
    github = yaml.safe_load((CI / "github-actions.yml").read_text(encoding="utf-8"))
    gitlab = yaml.safe_load((CI / "gitlab-ci.yml").read_text(encoding="utf-8"))
    jenkins = (CI / "Jenkinsfile").read_text(encoding="utf-8")
    (job,) = github["jobs"].values()
    (steps,) = (gitlab[name]["script"] for name in gitlab)
    assert jenkins.count("{") == jenkins.count("}")
    return {
        "github": [s["run"] for s in job["steps"] if "scripts/nightly" in s.get("run", "")],
        "gitlab": steps,
        "jenkins": re.findall(r"\bsh '([^']*)'", jenkins),
    }


def test_the_ci_files_run_the_same_command():
    commands = _read_commands()
    assert all(len(found) == 1 for found in commands.values()), commands
    assert len({found[0] for found in commands.values()}) == 1


def test_the_command_of_the_ci_files_is_understood(tmp_path):
    words = shlex.split(_read_commands()["github"][0].replace("$HOME", str(tmp_path)))
    assert words[0] == "scripts/nightly"
    assert (ROOT / words[0]).stat().st_mode & 0o111
    arguments = build_parser().parse_args(["nightly", *words[1:]])
    flags = nightly_command._parse_bench_flags(arguments, 5)
    assert (flags.cards, getattr(flags, "session.repeats")) == ("1,8", "5")
    artifacts = arguments.artifacts
    for name in ("github-actions.yml", "gitlab-ci.yml", "Jenkinsfile"):
        assert artifacts in (CI / name).read_text(encoding="utf-8").split("scripts/nightly", 1)[1]


def test_junit_keeps_what_xml_cannot_hold_out(tmp_path):
    failure = Failure("trainer", HOSTILE, 0, 1)
    store(tmp_path, [build_run(0, 1, None, failure=failure)])
    assert main(["nightly", "--output", str(tmp_path), "--measured"]) == 3
    text = (tmp_path / "nightly" / "junit.xml").read_text("utf-8")
    check_junit(text)
    assert "<script" not in text
    ElementTree.fromstring(text.split("\n", 1)[1])
