"""What the three commands of fine-tuning share: from the command line to the loop."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from typing import Any, Dict, List, Mapping, Optional, Type

from bert.backends.rank import parse_rank_environment
from bert.command import run_command
from bert.config import check_vocabulary
from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import CLASSIFY, SEPARATE, check_special_tokens, read_vocabulary
from bert.downstream.finetune_config import (
    FineTuneConfig,
    build_finetune_config,
    find_file,
    list_splits,
)
from bert.downstream.flags import build_flag_specs
from bert.downstream.task import Task
from bert.errors import DataError
from bert.flags import parse_flags, render_flag_lines, render_help, wants_help


def run_task_command(kind: str, task_class: Type[Task], arguments: Optional[List[str]]) -> int:
    """Runs a command and returns its exit code; failures end as those of `bert.pretrain`."""
    words = sys.argv[1:] if arguments is None else arguments
    if wants_help(words):
        usage = f"python -m bert.downstream.{kind} --vocab_file=… --output_dir=… [FLAGS]"
        sys.stdout.write(render_help(usage, build_flag_specs(kind)) + "\n")
        return 0
    # As in pre-training: a collective that waits for a dead peer never returns to Python.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return run_command(lambda: run(kind, task_class, words, os.environ))


def run(
    kind: str, task_class: Type[Task], arguments: List[str], environ: Mapping[str, str]
) -> None:
    """Parses flags, reads the data, then trains, scores and predicts.

    Raises:
        TrainerError: if anything fails.
    """
    rank = parse_rank_environment(environ)
    flags = parse_flags(arguments, build_flag_specs(kind))
    config = build_finetune_config(kind, flags, rank)
    task = task_class(config, build_tokenizer(config))
    # Data before TensorFlow: what is wrong with them is told within a second. Every rank reads
    # all of them, so that all stop together and none waits.
    examples = read_examples(task)
    task.prepare(examples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow 1.15 warns about numpy in its own sources
        from bert.downstream.loop import run_task
        from bert.training.log_setup import set_up_logging
    import tensorflow.compat.v1 as tf

    set_up_logging()
    for line in render_flag_lines(flags):
        tf.logging.info("%s", line)
    run_task(task, examples, rank)


def build_tokenizer(config: FineTuneConfig) -> Tokenizer:
    """Returns the tokenizer of the vocabulary, which must fit the model.

    Raises:
        DataError: it does not, or the file is no vocabulary.
    """
    vocabulary = read_vocabulary(config.vocab_file)
    check_special_tokens(vocabulary, (CLASSIFY, SEPARATE))
    check_vocabulary(config.train.bert, vocabulary.size, config.vocab_file)
    return Tokenizer(vocabulary, TokenizerOptions(do_lower_case=config.do_lower_case))


def read_examples(task: Task) -> Dict[str, List[Any]]:
    """Reads the files of all splits that the run needs.

    Raises:
        DataError: if something in one of them is wrong.
    """
    return {split: _read_split(task, split) for split in list_splits(task.config)}


def _read_split(task: Task, split: str) -> List[Any]:
    path = find_file(task.config, split)
    if split != "test":
        return task.read(path, True)
    try:
        return task.read(path, task.config.predict_has_labels)
    except DataError as error:
        if not task.config.predict_has_labels:
            raise
        try:
            task.read(path, False)
        except DataError:
            raise error from None
        raise DataError(
            f"{error}; or set --predict_has_labels=false, if the data have none"
        ) from error
