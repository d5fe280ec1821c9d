"""`python -m bert.extract_features` against the NumPy twin, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.config import parse_bert_config
from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import SPECIAL_TOKENS, build_vocabulary
from bert.downstream import contextual_features
from bert.downstream.text_examples import iterate_batches
from bert.errors import DataError, UsageError
from bert.extract_features import FLAGS, check_flags, parse_layers, run
from bert.flags import parse_flags
from tests.reference import numpy_bert
from tests.reference.models import random_weights
from tests.tf.test_against_numpy import BERT, NEZHA

ROOT = Path(__file__).resolve().parents[2]
WORDS = [*SPECIAL_TOKENS, *(f"word{i}" for i in range(90)), "x", "##x"]
LINES = ["word3 Word7", "word1 word2 ||| word80", "", "xxx ||| word9 " + "word5 " * 20]


def write_model(directory, model):
    """Writes configuration, vocabulary and checkpoint; returns the flags that name them."""
    values = dataclasses.asdict(model)
    del values["layer_norm_epsilon"]
    if not model.use_relative_position:
        del values["use_relative_position"]
    (directory / "model.json").write_text(json.dumps(values), "utf-8")
    (directory / "vocab.txt").write_text("\n".join(WORDS) + "\n", "utf-8")
    (directory / "lines.txt").write_text("\n".join(LINES) + "\n", "utf-8")
    weights = random_weights(model, seed=4)
    with tf.Graph().as_default(), tf.Session() as session:
        for name, value in weights.items():
            # A checkpoint of the encoder alone is enough.
            if name.startswith("bert/e"):
                tf.get_variable(name, initializer=value.astype(np.float32))
        session.run(tf.global_variables_initializer())
        tf.train.Saver().save(session, str(directory / "model.ckpt"))
    return [
        f"--input_file={directory / 'lines.txt'}",
        f"--output_file={directory / 'features.jsonl'}",
        f"--bert_config_file={directory / 'model.json'}",
        f"--init_checkpoint={directory / 'model.ckpt'}",
        f"--vocab_file={directory / 'vocab.txt'}",
        "--max_seq_length=11",
    ]


def expected_layer(model, n_layers, examples):
    """The output of layer n in float64: that of a model which ends there."""
    shorter = dataclasses.replace(model, num_hidden_layers=n_layers)
    batch = {
        "input_ids": examples.input_ids,
        "input_mask": examples.input_mask,
        "segment_ids": examples.segment_ids,
        "masked_lm_positions": np.zeros((len(LINES), 1), int),
        "masked_lm_ids": np.zeros((len(LINES), 1), int),
        "masked_lm_weights": np.ones((len(LINES), 1)),
        "next_sentence_labels": np.zeros((len(LINES), 1), int),
    }
    weights = random_weights(model, seed=4)
    return numpy_bert.forward(shorter, weights, batch).sequence_output


def make_examples():
    tokenizer = Tokenizer(build_vocabulary(WORDS), TokenizerOptions())
    return next(iterate_batches(LINES, tokenizer, len(LINES), 11))


def test_the_command_writes_the_layers_of_every_token(tmp_path):
    flags = write_model(tmp_path, BERT)
    completed = subprocess.run(
        [sys.executable, "-m", "bert.extract_features", *flags, "--layers=-1,0", "--batch_size=3"],
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr.decode()[-3000:]
    assert completed.stdout == b""
    assert b"features of 4 lines" in completed.stderr
    found = [json.loads(line) for line in (tmp_path / "features.jsonl").open(encoding="utf-8")]
    assert [list(line) for line in found] == [["linex_index", "features"]] * 4
    assert [line["linex_index"] for line in found] == [0, 1, 2, 3]
    examples = make_examples()
    layers = {-1: expected_layer(BERT, 2, examples), 0: expected_layer(BERT, 1, examples)}
    for row, (line, example) in enumerate(zip(found, examples.examples)):
        assert [feature["token"] for feature in line["features"]] == example.tokens
        for place, feature in enumerate(line["features"]):
            assert list(feature) == ["token", "layers"]
            assert [layer["index"] for layer in feature["layers"]] == [-1, 0]
            for layer in feature["layers"]:
                np.testing.assert_allclose(
                    layer["values"], layers[layer["index"]][row, place], atol=2e-5
                )
                assert all(value == round(value, 6) for value in layer["values"])


@pytest.mark.parametrize("one_hot", [False, True])
def test_nezha_and_one_hot_lookup(tmp_path, one_hot):
    write_model(tmp_path, NEZHA)
    config = parse_bert_config(json.loads((tmp_path / "model.json").read_text("utf-8")), "test")
    checkpoint = str(tmp_path)  # a directory stands for its newest checkpoint
    encoder = contextual_features.build_encoder(config, checkpoint, [-1], 4, 11, one_hot)
    examples = make_examples()
    with encoder.session:
        (found,) = contextual_features.compute_layers(encoder, examples)
    np.testing.assert_allclose(found, expected_layer(NEZHA, 2, examples), atol=2e-5)


def test_a_checkpoint_of_a_smaller_model_is_refused(tmp_path):
    flags = write_model(tmp_path, BERT)
    values = json.loads((tmp_path / "model.json").read_text("utf-8"))
    (tmp_path / "model.json").write_text(json.dumps(dict(values, num_hidden_layers=3)), "utf-8")
    with pytest.raises(DataError, match=r"16 weights of the model are not in it, such as bert/"):
        run([*flags, "--layers=-1"])
    assert not (tmp_path / "features.jsonl").exists()


def test_layers_are_those_of_the_model():
    assert parse_layers("-1,-2,0", 2) == (-1, -2, 0)
    for text, reason in [("-3", "no layer -3"), ("2", "no layer 2"), ("-1,x", "list of numbers")]:
        with pytest.raises(UsageError, match=reason):
            parse_layers(text, 2)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("--input_file=", "--input_file is missing"),
        ("--vocab_file=", "--vocab_file is missing"),
        ("--use_tpu", "--use_tpu=True is refused"),
        ("--master=grpc://host", "refused"),
        ("--batch_size=0", "at least 1"),
        ("--max_seq_length=2", "no room"),
        ("--num_train_steps=3", "Unknown command line flag"),
    ],
)
def test_bad_flags_are_refused(word, reason):
    needed = ["input_file", "output_file", "bert_config_file", "init_checkpoint", "vocab_file"]
    with pytest.raises(UsageError, match=reason):
        check_flags(parse_flags([*(f"--{name}=x" for name in needed), word], FLAGS))


def test_a_vocabulary_larger_than_the_model_is_refused(tmp_path):
    flags = write_model(tmp_path, BERT)
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, *"abcdefghij"]) + "\n", "utf-8")
    with pytest.raises(DataError, match="vocab_size"):
        run([*flags, "--layers=-1"])
