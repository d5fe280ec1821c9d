"""BERT pre-training, the entry point: `python -m bert.pretrain FLAGS`.

Every failure ends with one line `ERROR: <class>: <what, where, remedy>` on stderr and the exit
code of its class (`bert.errors`). An unforeseen one leaves its traceback above that line.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import List, Mapping, Optional

from bert.backends.rank import parse_rank_environment
from bert.command import dump_stacks_on_request, exit_process, run_command
from bert.flags import parse_flags, render_flag_lines, render_help, wants_help
from bert.train_config import build_train_config, render_resolved_line


def run(arguments: List[str], environ: Mapping[str, str]) -> None:
    """Parses flags and environment, then trains and evaluates.

    Raises:
        TrainerError: if anything fails.
    """
    rank = parse_rank_environment(environ)
    flags = parse_flags(arguments)
    config = build_train_config(flags, rank)
    # Only now: importing TensorFlow takes seconds, and a wrong flag should take none.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow 1.15 warns about numpy in its own sources
        from bert.training.log_setup import set_up_logging
        from bert.training.run import train_and_evaluate
    import tensorflow.compat.v1 as tf

    set_up_logging()
    for line in (*render_flag_lines(flags), render_resolved_line(config)):
        tf.logging.info("%s", line)
    train_and_evaluate(config, rank)


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs the trainer and returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if wants_help(words):
        print(render_help())
        return 0
    # A collective that waits for a dead peer never returns to Python, so an interrupt must not
    # wait for it; checkpoints are written under temporary names and survive this.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    dump_stacks_on_request()
    return run_command(lambda: run(words, os.environ))


if __name__ == "__main__":
    exit_process(main())
