"""What every data command shares: its arguments' manners, its error line, its exit code."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import traceback
from typing import Any, Callable, List, Optional, Sequence

from bert.errors import OutputError, TrainerError, UsageError, render_error_line, render_suggestion

EXIT_OK = 0
EXIT_INTERNAL = 70
EXIT_IO = 74
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143


class ArgumentParser(argparse.ArgumentParser):
    """argparse with the manners of the seed's flags: `--a_b` and `--a-b` are one, no abbreviations.

    Raises UsageError instead of exiting, so that a wrong flag gives one line and exit code 64.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.ArgumentDefaultsHelpFormatter)
        super().__init__(**kwargs)

    def add_boolean(self, name: str, default: bool, help: str) -> None:
        """Adds `--name`, `--name=true|false` and `--noname`, as the seed's flag library takes."""
        self.add_argument(
            f"--{name}", type=parse_boolean, nargs="?", const=True, default=default, help=help
        )
        self.add_argument(
            f"--no{name}", dest=name, action="store_false", default=default, help=argparse.SUPPRESS
        )

    def parse_args(  # type: ignore[override]
        self, args: Optional[Sequence[str]] = None, namespace: Any = None
    ) -> argparse.Namespace:
        """Parses; an unknown flag is an error that names the nearest known one."""
        words = [_underscore(word) for word in (sys.argv[1:] if args is None else args)]
        found, unknown = self.parse_known_args(words, namespace)
        if unknown:
            known = [flag for action in self._actions for flag in action.option_strings]
            hint = render_suggestion(unknown[0].split("=")[0], known)
            self.error(f"unknown argument {unknown[0]}{hint}; see --help")
        return found

    def error(self, message: str) -> Any:
        raise UsageError(message)


def parse_boolean(text: str) -> bool:
    """Returns the truth value of a flag's text.

    Raises:
        argparse.ArgumentTypeError: it is none of true, false, t, f, 1, 0, yes, no.
    """
    value = {"true": True, "t": True, "1": True, "yes": True}.get(text.lower())
    if value is None and text.lower() not in ("false", "f", "0", "no"):
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false")
    return bool(value)


def run_command(main: Callable[[List[str]], int], arguments: Optional[List[str]] = None) -> int:
    """Runs a command's `main` and returns its exit code; prints what went wrong to stderr.

    SIGTERM is turned into an exception for the time of the call, so that temporary files are
    removed; a broken pipe on stdout ends quietly.
    """
    previous = signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        status = main(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return status
    except TrainerError as error:
        return _report(error)
    except BrokenPipeError:
        # The reader (`| head`) has gone: nothing to report, and flushing at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    except OSError as error:
        return _report(OutputError(render_os_error(error)))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except Terminated:
        sys.stderr.write("terminated\n")
        return EXIT_TERMINATED
    except Exception as error:
        traceback.print_exc()
        return _report(TrainerError(f"{type(error).__name__}: {error}"))
    finally:
        signal.signal(signal.SIGTERM, previous)


def render_os_error(error: OSError) -> str:
    """Returns what, where and what to do of an error of the operating system."""
    what = error.strerror or str(error)
    where = f" ({error.filename})" if error.filename else ""
    remedy = "; free some space" if error.errno == errno.ENOSPC else ""
    return f"{what}{where}{remedy}"


class Terminated(BaseException):
    """SIGTERM came."""


def _raise_terminated(signum: int, frame: object) -> None:
    raise Terminated


def _report(error: TrainerError) -> int:
    sys.stderr.write(render_error_line(error) + "\n")
    return error.exit_code


def _underscore(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value
