"""The command line: one parser, one dispatch, one place that prints an error and its exit code."""

from __future__ import annotations

import argparse
import os
import sys
from typing import List, NoReturn, Optional

import bench
import bench.commands.bench as bench_command
import bench.commands.calibrate as calibrate_command
import bench.commands.compare as compare_command
import bench.commands.data as data_command
import bench.commands.docker_args as docker_args_command
import bench.commands.doctor as doctor_command
import bench.commands.export as export_command
import bench.commands.exporter as exporter_command
import bench.commands.gate as gate_command
import bench.commands.history as history_command
import bench.commands.host as host_command
import bench.commands.import_ as import_command
import bench.commands.job as job_command
import bench.commands.parse as parse_command
import bench.commands.promote as promote_command
import bench.commands.ranktable as ranktable_command
import bench.commands.recover as recover_command
import bench.commands.show as show_command
from bench.errors import EXIT_OK, BenchError

DEBUG_VARIABLE = "ASCEND_BERT_DEBUG"

_VERBS = (
    bench_command,
    parse_command,
    show_command,
    compare_command,
    gate_command,
    promote_command,
    calibrate_command,
    history_command,
    export_command,
    exporter_command,
    import_command,
    data_command,
    doctor_command,
    docker_args_command,
    ranktable_command,
    recover_command,
    job_command,
    host_command,
)


class _Parser(argparse.ArgumentParser):
    """Reports wrong usage as the harness's own error, in one line."""

    def error(self, message: str) -> NoReturn:
        raise _ArgumentError(f"{message} (see {self.prog} --help)")


class _ArgumentError(BenchError):
    exit_code = 2
    kind = "usage"


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs."""
    parser = _Parser(
        prog="ascend-bert",
        description="Benchmark harness for BERT training on Ascend NPUs, and on CPU.",
        epilog="Exit codes: 0 ok, 1 regression, 2 usage, 3 no verdict, 4 trainer failed, "
        "5 stalled, 6 infrastructure, 7 data, 8 mismatch, 70 internal, 128+N ended by signal N.",
    )
    parser.add_argument("--version", action="version", version=bench.__version__)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=_Parser)
    for verb in _VERBS:
        sub = verbs.add_parser(verb.NAME, help=verb.SUMMARY, description=verb.SUMMARY)
        verb.add_arguments(sub)
        sub.set_defaults(run=verb.run)
    return parser


def main(argv: Optional[List[str]] = None) -> int:
    """Runs a verb and returns the exit code; never lets a traceback through for known errors."""
    parser = build_parser()
    try:
        arguments = parser.parse_args(argv)
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
