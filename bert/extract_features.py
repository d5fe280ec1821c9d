"""Writes what a pre-trained encoder computes for lines of text, as JSON lines.

    python -m bert.extract_features --input_file=lines.txt --output_file=features.jsonl \\
        --bert_config_file=bert-base --init_checkpoint=model.ckpt --vocab_file=vocab.txt

A line is a text, or two with ` ||| ` between them. For each line there is one object
`{"linex_index": n, "features": [{"token": …, "layers": [{"index": -1, "values": […]}, …]}, …]}`;
padding is left out. Failures end as those of `bert.pretrain` do.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any, List, Mapping, Optional, Tuple

from bert.command import exit_process, run_command
from bert.config import check_sequence_length, check_vocabulary, read_bert_config
from bert.data.atomic import atomic_file
from bert.data.text_files import TextReader
from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import CLASSIFY, SEPARATE, check_special_tokens, read_vocabulary
from bert.errors import UsageError
from bert.flags import FlagSpec, parse_flags, render_help, wants_help

_REQUIRED = ("input_file", "output_file", "bert_config_file", "init_checkpoint", "vocab_file")

FLAGS = (
    FlagSpec("input_file", str, None, "text, one example per line"),
    FlagSpec("output_file", str, None, "JSON lines, one object per line of the input"),
    FlagSpec("bert_config_file", str, None, "model configuration JSON, or the name of a preset"),
    FlagSpec("init_checkpoint", str, None, "checkpoint, or a directory for its newest one"),
    FlagSpec("vocab_file", str, None, "vocabulary that the model was trained with"),
    FlagSpec("layers", str, "-1,-2,-3,-4", "layers, comma separated; -1 is the last one"),
    FlagSpec("max_seq_length", int, 128, "longer sequences are cut"),
    FlagSpec("do_lower_case", bool, True, "lower-case the text and strip accents"),
    FlagSpec("batch_size", int, 32, "sequences computed at once"),
    FlagSpec("use_one_hot_embeddings", bool, False, "look words up by a product"),
    FlagSpec("use_tpu", bool, False, "refused: there is no TPU backend"),
    FlagSpec("master", str, None, "refused: the session is of this process"),
    FlagSpec("num_tpu_cores", int, 8, "accepted, without meaning"),
)


def parse_layers(text: str, n_layers: int) -> Tuple[int, ...]:
    """Returns the layers of a comma-separated list.

    Raises:
        UsageError: if a word is no number, or the model has no such layer.
    """
    try:
        layers = tuple(int(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(f"--layers={text} is not a comma-separated list of numbers") from error
    for layer in layers:
        if not -n_layers <= layer < n_layers:
            raise UsageError(
                f"--layers={text}: the model has no layer {layer}; its layers are {-n_layers} to "
                f"-1, or 0 to {n_layers - 1}"
            )
    return layers


def check_flags(flags: Mapping[str, Any]) -> None:
    """Raises UsageError if a value is missing, refused or out of range."""
    for name in _REQUIRED:
        if not flags[name]:
            raise UsageError(f"--{name} is missing; --help tells what it is")
    for name in ("use_tpu", "master"):
        if flags[name]:
            raise UsageError(f"--{name}={flags[name]} is refused: features are computed on the CPU")
    if flags["batch_size"] < 1:
        raise UsageError(f"--batch_size={flags['batch_size']} must be at least 1")
    if flags["max_seq_length"] < 3:
        raise UsageError(
            f"--max_seq_length={flags['max_seq_length']} has no room for [CLS], [SEP] and a token"
        )


def run(arguments: List[str]) -> None:
    """Parses flags, then reads, computes and writes.

    Raises:
        TrainerError: if anything fails.
    """
    flags = parse_flags(arguments, FLAGS)
    check_flags(flags)
    config = read_bert_config(flags["bert_config_file"])
    check_sequence_length(config, flags["max_seq_length"])
    layers = parse_layers(flags["layers"], config.num_hidden_layers)
    vocabulary = read_vocabulary(flags["vocab_file"])
    check_special_tokens(vocabulary, (CLASSIFY, SEPARATE))
    check_vocabulary(config, vocabulary.size, flags["vocab_file"])
    tokenizer = Tokenizer(vocabulary, TokenizerOptions(do_lower_case=flags["do_lower_case"]))
    # Only now: importing TensorFlow takes seconds, and a wrong flag should take none.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow 1.15 warns about numpy in its own sources
        from bert.downstream.contextual_features import build_encoder, write_features
        from bert.downstream.text_examples import iterate_batches
        from bert.training.log_setup import set_up_logging
    import tensorflow.compat.v1 as tf

    set_up_logging()
    encoder = build_encoder(
        config,
        flags["init_checkpoint"],
        layers,
        flags["batch_size"],
        flags["max_seq_length"],
        flags["use_one_hot_embeddings"],
    )
    batches = iterate_batches(
        TextReader([flags["input_file"]]).iterate_lines(),
        tokenizer,
        flags["batch_size"],
        flags["max_seq_length"],
    )
    with encoder.session, atomic_file(flags["output_file"], "w", encoding="utf-8") as stream:
        n_lines = write_features(stream, encoder, batches, layers)
    tf.logging.info("features of %d lines: %s", n_lines, flags["output_file"])


def main(arguments: Optional[List[str]] = None) -> int:
    """Runs the command and returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if wants_help(words):
        needed = " ".join(f"--{name}=…" for name in _REQUIRED)
        print(render_help(f"python -m bert.extract_features {needed} [FLAGS]", FLAGS))
        return 0
    return run_command(lambda: run(words))


if __name__ == "__main__":
    exit_process(main())
