"""The command line: one parser, one dispatch, one place that prints an error and its exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from typing import List, NoReturn, Optional

import bench
from bench.errors import EXIT_OK, BenchError

DEBUG_VARIABLE = "ASCEND_BERT_DEBUG"

_VERBS = {
    "bench": "bench.commands.bench",
    "parse": "bench.commands.parse",
    "show": "bench.commands.show",
    "compare": "bench.commands.compare",
    "gate": "bench.commands.gate",
    "promote": "bench.commands.promote",
    "calibrate": "bench.commands.calibrate",
    "history": "bench.commands.history",
    "report": "bench.commands.report",
    "nightly": "bench.commands.nightly",
    "export": "bench.commands.export",
    "exporter": "bench.commands.exporter",
    "import": "bench.commands.import_",
    "data": "bench.commands.data",
    "doctor": "bench.commands.doctor",
    "docker-args": "bench.commands.docker_args",
    "ranktable": "bench.commands.ranktable",
    "recover": "bench.commands.recover",
    "job": "bench.commands.job",
    "host": "bench.commands.host",
}
"""Verb → module, which is imported when the verb is used: a rank's host agent starts in no time."""


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage as the harness's own error, in one line."""

    def error(self, message: str) -> NoReturn:
        raise _ArgumentError(f"{message} (see {self.prog} --help)")


class _ArgumentError(BenchError):
    exit_code = 2
    kind = "usage"


def build_parser(verb: Optional[str] = None) -> argparse.ArgumentParser:
    """The parser of one verb, or of all."""
    parser = _Parser(
        prog="ascend-bert",
        description="Benchmark harness for BERT training on Ascend NPUs, and on CPU.",
        epilog="Exit codes: 0 ok, 1 regression, 2 usage, 3 no verdict, 4 trainer failed, "
        "5 stalled, 6 infrastructure, 7 data, 8 mismatch, 70 internal, 128+N ended by signal N.",
    )
    parser.add_argument("--version", action="version", version=bench.__version__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    for name in [verb] if verb in _VERBS else _VERBS:
        module = importlib.import_module(_VERBS[name])
        sub = verbs.add_parser(module.NAME, help=module.SUMMARY, description=module.SUMMARY)
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(argv: Optional[List[str]] = None) -> int:
    """Runs a verb and returns the exit code; never lets a traceback through for known errors."""
    words = sys.argv[1:] if argv is None else argv
    try:
        parser = build_parser(words[0] if words else None)
        arguments = parser.parse_args(words)
        if arguments.verb is None:
            parser.print_help()
            return EXIT_OK
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except BenchError as error:
        _print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        _print_error("interrupted")
        return 130
    except RecursionError:
        _print_error("the input lies in itself too deep")
        return 2
    except BrokenPipeError:
        # The reader of our output went away, as in "| head"; keep the last flush quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _print_error(
            f"internal error, please report it: {type(error).__name__}: {error} "
            f"({DEBUG_VARIABLE}=1 shows where)"
        )
        return BenchError.exit_code


def _print_error(message: str) -> None:
    print("ascend-bert: error: {}".format(" ".join(message.split())), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
