"""``ascend-bert bench``: train, measure and show one table over card counts."""

from __future__ import annotations

import argparse
import contextlib
import os
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

from bench.commands.host import join_session
from bench.commands.metrics import add_metrics_arguments, open_metrics
from bench.errors import EXIT_OK, KINDS, BenchError, NoVerdictError, UsageError
from bench.launch.launchers import find_own_place
from bench.results.model import RunResult
from bench.session.plan_file import read_plan
from bench.session.resume import find_last_unfinished, open_resumed
from bench.session.signals import SignalCatcher
from bench.session.sweep import Sweep, open_sweep
from bench.spec import Layer, RunSpec, build_spec, list_settings, parse_assignment, read_spec_file
from bench.views.tables import FORMATS, render_report

NAME = "bench"
SUMMARY = "train with each card count, measure, and print a comparable table"

PRESETS = Path(__file__).resolve().parent.parent / "specs"

_FLAGS: Tuple[Tuple[str, str, str], ...] = (
    ("--cards", "cards", "N[,N…]"),
    ("--backend", "backend", "NAME"),
    ("--task", "task", "NAME"),
    ("--launcher", "launcher", "NAME"),
    ("--model", "model", "NAME|FILE"),
    ("--batch-size", "batch_size", "N"),
    ("--seq-length", "seq_length", "N"),
    ("--steps", "steps", "N"),
    ("--data", "data", "DIR"),
    ("--trainer-command", "trainer_command", "CMD"),
    ("--repeats", "session.repeats", "N"),
    ("--until-precision", "session.until_precision", "SHARE"),
    ("--retries", "limits.retries", "N"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the flags; defaults stay out so that layers can tell what was said."""
    settings = list_settings()
    for flag, key, metavar in _FLAGS:
        text = _describe(settings[key]).replace("%", "%%")
        parser.add_argument(flag, dest=key, metavar=metavar, help=text)
    parser.add_argument(
        "--ab",
        nargs=2,
        metavar=("A.yaml", "B.yaml"),
        help="compare two builds: files of settings that go over all others, launched in turns",
    )
    parser.add_argument("--spec", metavar="FILE", help="YAML file of settings, or a preset's name")
    parser.add_argument(
        "--set",
        dest="assignments",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set any other setting; may be repeated; --list-settings names them",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="SESSION",
        help="go on with a session that was cut off, as its plan says; the last one if not named",
    )
    parser.add_argument(
        "--list-settings", action="store_true", help="print every setting and its default"
    )
    parser.add_argument(
        "--output", metavar="DIR", default="results", help="results directory (default: results)"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="form of the table")
    parser.add_argument("--quiet", action="store_true", help="no progress on standard error")
    add_metrics_arguments(parser)
    # Not a flag: 'nightly' sets who says what to launch again.
    parser.set_defaults(judge=None)


def run(arguments: argparse.Namespace) -> int:
    """Runs the verb.

    Raises:
        BenchError: see ``bench.errors`` for the classes and exit codes.
    """
    if arguments.list_settings:
        print(render_settings())
        return EXIT_OK
    if not arguments.output:
        raise UsageError("--output needs a directory")
    specs = build_asked_specs(arguments)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(SignalCatcher())
        place = find_own_place(specs[0], os.environ)
        if place is not None and place.index > 0:
            return join_session(specs[0], Path(arguments.output), place, signals)
        sweep = stack.enter_context(_open_session(arguments, specs))
        sweep.judge = arguments.judge
        with open_metrics(arguments, sweep) as metrics:
            results = sweep.run(signals)
            print(render_report(results, arguments.format), flush=True)
            sweep.note("results: {}".format(", ".join(str(path) for path in sweep.run_directories)))
            # A signal from here on only ends the wait: the work is done.
            interrupted = signals.received is not None
            if not interrupted:
                metrics.linger(lambda: signals.received is not None)
    _raise_worst(results)
    if interrupted:
        signals.check()
    return EXIT_OK


def build_asked_specs(arguments: argparse.Namespace) -> List[RunSpec]:
    """What the flags ask for: one spec, or two to be compared.

    Raises:
        UsageError: a setting is wrong.
    """
    layers = list(_list_layers(arguments))
    if arguments.resume is not None:
        said = [key for _, layer in layers for key in layer]
        said += [name for name in ("ab", "spec") if getattr(arguments, name)]
        if said:
            raise UsageError(
                f"--resume takes every setting from the session's plan; drop {said[0]}"
            )
        output = Path(arguments.output)
        session_id = arguments.resume or find_last_unfinished(output)
        arguments.resume = session_id
        return [spec for _, spec, _ in read_plan(output, session_id).builds]
    return [build_spec([*layers, *build]) for build in _list_builds(arguments)]


@contextlib.contextmanager
def _open_session(arguments: argparse.Namespace, specs: List[RunSpec]) -> Iterator[Sweep]:
    """A new session, or the one that is to go on."""
    output = Path(arguments.output)
    if arguments.resume is None:
        yield open_sweep(specs, output, arguments.quiet)
        return
    with open_resumed(output, arguments.resume, arguments.quiet) as sweep:
        yield sweep


def render_settings() -> str:
    """Every setting with its default, its choices and its meaning."""
    lines = []
    for key, setting in list_settings().items():
        lines.append("{} = {}  # {}".format(key, _plain(setting["default"]), _describe(setting)))
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return "[{}]".format(", ".join(map(str, value)))
    return str(value)


def _describe(setting: Any) -> str:
    choices = setting["choices"]
    return setting["help"] + (": {}".format(", ".join(choices)) if choices else "")


def _list_layers(arguments: argparse.Namespace) -> Iterator[Layer]:
    if arguments.spec is not None:
        preset = PRESETS / (arguments.spec + ".yaml")
        # A bare name is a preset, unless a file of that name lies here.
        is_preset = preset.is_file() and not Path(arguments.spec).exists()
        yield read_spec_file(preset if is_preset else Path(arguments.spec))
    said: Dict[str, Any] = {}
    for flag, key, _ in _FLAGS:
        value = getattr(arguments, key)
        if value is not None:
            if value == "":
                raise UsageError(f"{flag} needs a value")
            if key == "batch_size" and "," in value:
                key = "batch_sizes"
            said[key] = value
    yield "command line", said
    yield "--set", dict(parse_assignment(text) for text in arguments.assignments)


def _list_builds(arguments: argparse.Namespace) -> List[List[Layer]]:
    """The layers that each build adds to those of all."""
    if arguments.ab is None:
        return [[]]
    builds = [[read_spec_file(Path(name))] for name in arguments.ab]
    for layer in (layer for build in builds for layer in build):
        session = [
            key
            for key in layer[1]
            if key.startswith(("session.", "hosts.")) or key in ("cards", "launcher")
        ]
        if session:
            raise UsageError(
                f"{layer[0]}: {session[0]} concerns both builds; say it on the command line"
            )
    return builds


def _raise_worst(results: List[RunResult]) -> None:
    """The exit code is that of the first failure; a run without a number is one too."""
    error: Optional[BenchError] = None
    for result in results:
        if result.failure is not None:
            kind = KINDS.get(result.failure.kind)
            if kind is not None:
                raise kind(result.failure.message)
        elif not result.valid and error is None:
            failed = [check.name for check in result.validity if check.fatal]
            error = NoVerdictError(
                "run with {} card(s) is not valid: {}".format(result.n_cards, ", ".join(failed))
            )
    if error is not None:
        raise error
