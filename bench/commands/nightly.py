"""``ascend-bert nightly``: bench, gate, history and report in one go, with one exit code."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path
from typing import List, Mapping, NoReturn, Optional, Sequence, Set, Tuple

import bench.commands.bench as bench_command
from bench.commands.gate import SIDE_HELP, parse_date, read_rules_or_default, store_verdict
from bench.errors import (
    EXIT_OK,
    EXIT_REGRESSION,
    BenchError,
    InterruptedRunError,
    NoVerdictError,
    OutputError,
    UsageError,
)
from bench.judge.evaluate import Outcome, judge_launches
from bench.judge.gate import decide_more_launches, list_open_cells
from bench.judge.rules import Rules
from bench.judge.sources import read_side
from bench.report.gather import Report, find_runs, read_case_telemetry, read_runs, read_series
from bench.report.page import render_page
from bench.results.store import list_run_directories, write_text_atomically
from bench.session.judged import Judge, Wish
from bench.views.history import render_history
from bench.views.night import Night, list_fresh_changes, render_junit, render_markdown
from bench.views.verdicts import render_outcome

NAME = "nightly"
SUMMARY = "bench, gate, history and report, with one exit code, JUnit XML and a markdown summary"

_FILES = (
    ("report.html", "the page"),
    ("verdict.json", "every number behind the verdict"),
    ("junit.xml", "for the CI server"),
    ("summary.md", "for a pull request or job page"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags."""
    parser.add_argument(
        "--baseline",
        action="append",
        metavar="WHAT",
        help=f"{SIDE_HELP}; may be repeated (default: DIR/baselines/nightly.json)",
    )
    parser.add_argument("--rules", metavar="FILE", help="YAML file of margins, levels and waivers")
    parser.add_argument(
        "--artifacts",
        metavar="DIR",
        help="where report.html, verdict.json, junit.xml and summary.md go (default: DIR/nightly)",
    )
    parser.add_argument(
        "--looks",
        type=int,
        metavar="N",
        help="look at most so often: while there is no verdict, more launches are made "
        "(default: as often as the rules allow)",
    )
    parser.add_argument(
        "--measured",
        nargs="*",
        metavar="RUN",
        help="launch nothing, judge these runs; the last session if none is named",
    )
    parser.add_argument(
        "--fail-on-change",
        action="store_true",
        help="exit with 1 also when the history finds a change for the worse this night",
    )
    parser.add_argument("--today", type=parse_date, metavar="DATE", help="day that waivers go by")
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )
    parser.add_argument(
        "bench_arguments",
        nargs=argparse.REMAINDER,
        metavar="-- BENCH FLAGS",
        help="flags of 'bench', behind --; --repeats is as the rules ask if not said",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        UsageError: a flag, the rules or the baseline is wrong; nothing was launched then.
        OutputError: a file cannot be written.
        InterruptedRunError: a signal came while runs were going on.
    """
    rules = read_rules_or_default(arguments.rules)
    output = Path(arguments.output)
    folder = Path(arguments.artifacts) if arguments.artifacts else output / "nightly"
    if arguments.looks is not None and arguments.looks < 1:
        raise UsageError("--looks must be at least 1")
    baseline = _find_baseline(arguments.baseline, output)
    flags = _parse_bench_flags(arguments, rules.plan.first_launches)
    _clear(folder)
    night, places, remarks = _spend_night(arguments, rules, output, baseline, flags)
    _write_files(night, folder, places, ", ".join(baseline), remarks)
    print(f"\n{render_markdown(night).splitlines()[0].lstrip('# ')}")
    print("\n".join(f"{folder / name}: {what}" for name, what in night.files))
    if night.problem is not None:
        print(f"ascend-bert: error: {' '.join(night.problem.split())}", file=sys.stderr)
    return night.exit_code


def _clear(folder: Path) -> None:
    """Makes the folder; what an earlier night left must not pass for this one's."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, _ in _FILES:
            if (folder / name).exists():
                (folder / name).unlink()
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror}") from error


def _find_baseline(words: Optional[List[str]], output: Path) -> List[str]:
    """What to hold the night against; nothing where no baseline has been made yet."""
    words = words or [str(output / "baselines" / "nightly.json")]
    # A baseline file is made from a first night, which must be able to come before it.
    words = [word for word in words if Path(word).exists() or not word.endswith(".json")]
    read_side(words, output)
    return words


def _parse_bench_flags(
    arguments: argparse.Namespace, launches: int
) -> Optional[argparse.Namespace]:
    """Flags of ``bench`` for the first look; None when nothing is to be launched."""
    words = list(arguments.bench_arguments)
    if words[:1] == ["--"]:
        words = words[1:]
    if arguments.measured is not None:
        if words:
            raise UsageError(f"--measured launches nothing; drop {words[0]}")
        return None
    parser = _Parser(prog="ascend-bert nightly --", add_help=False)
    bench_command.add_arguments(parser)
    flags = parser.parse_args([*words, "--output", arguments.output])
    for name in ("list_settings", "resume", "ab"):
        if getattr(flags, name) not in (None, False):
            raise UsageError(f"nightly cannot do bench --{name.replace('_', '-')}")
    said = getattr(flags, "session.repeats") or getattr(flags, "session.until_precision")
    if not said and not any(text.startswith("session.") for text in flags.assignments):
        setattr(flags, "session.repeats", str(launches))
    bench_command.build_asked_specs(flags)
    return flags


class _Parser(argparse.ArgumentParser):
    """Reports wrong flags as the harness's own error."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"bench flags: {message}")


def _spend_night(
    arguments: argparse.Namespace,
    rules: Rules,
    output: Path,
    baseline: List[str],
    flags: Optional[argparse.Namespace],
) -> Tuple[Night, Mapping[str, Path], List[str]]:
    """Launches, judges, and launches more while that may help.

    Returns:
        The night, where its runs lie, and what could not be read.
    """
    before: Set[Path] = set(list_run_directories(output))
    problem: Optional[BenchError] = None
    outcome: Optional[Outcome] = None
    folders: List[Path] = []
    if flags is not None:
        flags.judge = _build_judge(arguments, rules, output, baseline)
        problem = _launch(flags)
        folders = [run for run in list_run_directories(output) if run not in before]
    else:
        folders = find_runs(arguments.measured, output)
    if folders:
        outcome = _judge(folders, baseline, output, rules, arguments.today)
    results, places, remarks = read_runs(folders) if folders else ([], {}, [])
    series, complaints = read_series(results, output, rules) if results else ([], [])
    code, text = _conclude(outcome, problem, baseline)
    if code == EXIT_OK and arguments.fail_on_change and list_fresh_changes(series):
        code = EXIT_REGRESSION
    night = Night(
        exit_code=code,
        outcome=outcome,
        problem=text,
        results=tuple(results),
        series=tuple(series),
        fail_on_change=arguments.fail_on_change,
        files=tuple(
            (name, what)
            for name, what in _FILES
            if (results or name != "report.html") and (outcome or name != "verdict.json")
        ),
    )
    if outcome is not None:
        print(f"\n{render_outcome(outcome, 'table', False)}")
    if series:
        print(f"\n{render_history(series, 'table', False)}")
    return night, places, [*remarks, *complaints]


def _build_judge(
    arguments: argparse.Namespace, rules: Rules, output: Path, baseline: List[str]
) -> Judge:
    """Says after each look which cases are to be launched again."""

    def decide(folders: Sequence[Path], look: int) -> Wish:
        if arguments.looks is not None and look >= arguments.looks:
            return Wish()
        outcome = _judge(folders, baseline, output, rules, arguments.today)
        if outcome is None or outcome.error is not None:
            return Wish()
        more = decide_more_launches(outcome.gate)
        cells = [item.cell for item in list_open_cells(outcome.gate)]
        if more:
            names = "; ".join(cell.name for cell in cells)
            print(f"\nno verdict yet on {names}; look {look + 1}: {more} more launches\n")
        cases = {(int(cell.case["cards"]), int(cell.case["batch_size"])) for cell in cells}
        return Wish(more, tuple(sorted(cases)))

    return decide


def _launch(flags: argparse.Namespace) -> Optional[BenchError]:
    """Runs ``bench``; its failure is told later, by then other runs may have been judged."""
    try:
        bench_command.run(flags)
    except InterruptedRunError:
        raise
    except BenchError as error:
        print(f"ascend-bert: error: {' '.join(str(error).split())}", file=sys.stderr)
        return error
    return None


def _judge(
    folders: Sequence[Path],
    baseline: List[str],
    output: Path,
    rules: Rules,
    today: Optional[datetime.date],
) -> Optional[Outcome]:
    sides = read_side(baseline, output) if baseline else []
    if not sides:
        return None
    launches = read_side([str(folder) for folder in folders], output)
    day = today or datetime.datetime.now(datetime.timezone.utc).date()
    outcome = judge_launches(launches, sides, rules, day)
    store_verdict(output, outcome, launches)
    return outcome


def _conclude(
    outcome: Optional[Outcome], problem: Optional[BenchError], baseline: List[str]
) -> Tuple[int, Optional[str]]:
    """Exit code of the night and what stands in the way of a verdict."""
    if outcome is not None and outcome.exit_code != EXIT_OK:
        return outcome.exit_code, outcome.error
    if problem is not None:
        # A pass of what was measured does not make up for what was not.
        return problem.exit_code, str(problem)
    if outcome is None:
        told = f"{', '.join(baseline)} has no launches" if baseline else "there is no baseline yet"
        return NoVerdictError.exit_code, f"{told}; make one with 'ascend-bert promote'"
    return EXIT_OK, None


def _write_files(
    night: Night,
    folder: Path,
    places: Mapping[str, Path],
    baseline: str,
    remarks: Sequence[str],
) -> None:
    """All files of the night."""
    write_text_atomically(folder / "junit.xml", render_junit(night) + "\n")
    write_text_atomically(folder / "summary.md", render_markdown(night) + "\n")
    if night.outcome is not None:
        text = render_outcome(night.outcome, "json", True)
        write_text_atomically(folder / "verdict.json", text + "\n")
    if night.results:
        telemetry, problems = read_case_telemetry(night.results, places)
        report = Report(
            results=night.results,
            outcome=night.outcome,
            baseline=baseline,
            telemetry=telemetry,
            series=night.series,
            remarks=(*remarks, *problems),
        )
        write_text_atomically(folder / "report.html", render_page(report))
