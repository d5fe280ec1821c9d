"""Heads against numpy, what training starts from, and one step of each kind of training."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops, plain_dropout, plain_gather, plain_gelu
from bert.backends.rank import RankEnvironment
from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import read_vocabulary
from bert.downstream.classifier import ClassifierTask
from bert.downstream.command import read_examples
from bert.downstream.finetune_config import build_finetune_config
from bert.downstream.flags import build_flag_specs
from bert.downstream.heads import (
    build_classification_head,
    build_model,
    build_span_head,
    build_token_head,
)
from bert.downstream.loop import run_task
from bert.downstream.ner import NerTask
from bert.downstream.reading import ReadingTask
from bert.downstream.task import CLASSIFICATION, SPAN, TOKEN, Head
from bert.errors import DataError
from bert.flags import parse_flags
from tests.tf.downstream_runs import build_command_line, sample_flags
from tests.tf.graphs import SMALL_MODEL, small_config

OPS = Ops(plain_gelu, plain_dropout, plain_gather)
TASKS = {
    "classifier": (ClassifierTask, "chnsenti"),
    "ner": (NerTask, "ner"),
    "reading": (ReadingTask, "cmrc"),
}


def run_small(kind, directory, model=None, **changes):
    """Fine-tunes a narrow model in this process; returns the directory of the output."""
    directory.mkdir(exist_ok=True)
    tf.reset_default_graph()
    task_class, name = TASKS[kind]
    values = dict(SMALL_MODEL, vocab_size=1000, num_hidden_layers=1, max_position_embeddings=48)
    values.update(model or {})
    path = directory / "model.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    flags = {
        **sample_flags(name, bert_config_file=str(path), train_batch_size=4, max_steps=2),
        "output_dir": str(directory / "output"),
        "do_eval": False,
        "do_predict": False,
        **changes,
    }
    parsed = parse_flags(build_command_line(flags), build_flag_specs(kind))
    config = build_finetune_config(kind, parsed, RankEnvironment())
    vocabulary = read_vocabulary(config.vocab_file)
    task = task_class(config, Tokenizer(vocabulary, TokenizerOptions(config.do_lower_case)))
    examples = read_examples(task)
    task.prepare(examples)
    run_task(task, examples, RankEnvironment())
    return directory / "output"


def read_variables(checkpoint):
    reader = tf.train.load_checkpoint(str(checkpoint))
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}


def evaluate_head(build, encoded, features, head, config):
    tensors = {name: tf.constant(value, tf.int32) for name, value in features.items()}
    outputs = build(tf.constant(encoded), tensors, head, config)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        weights = session.run(tf.trainable_variables())
        return session.run([outputs.loss, outputs.predictions]), weights


def cross_entropy(logits, labels):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=-1))
    return log_sum - np.take_along_axis(shifted, labels[..., None], -1)[..., 0]


def test_classification_head(tmp_path):
    random = np.random.RandomState(0)
    x = random.normal(size=[5, 24]).astype(np.float32)
    labels = random.randint(0, 3, size=[5, 1])
    head = Head(CLASSIFICATION, "classifier", 3)
    (loss, predictions), (weights, bias) = evaluate_head(
        build_classification_head, x, {"label_ids": labels}, head, small_config(tmp_path)
    )
    logits = x @ weights.T + bias
    wanted = cross_entropy(logits, labels[:, 0])
    np.testing.assert_allclose(predictions["logits"], logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(predictions["loss"], wanted, rtol=1e-5)
    np.testing.assert_allclose(loss, wanted.mean(), rtol=1e-5)


def test_token_head_counts_first_pieces_alone(tmp_path):
    """Item 24: the loss was a sum over all places, padding included."""
    random = np.random.RandomState(1)
    x = random.normal(size=[3, 7, 24]).astype(np.float32)
    labels = random.randint(0, 5, size=[3, 7])
    mask = np.array([[0, 1, 1, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0, 0], [0] * 7])
    head = Head(TOKEN, "ner_classifier", 5)
    (loss, predictions), (weights, bias) = evaluate_head(
        build_token_head, x, {"label_ids": labels, "label_mask": mask}, head, small_config(tmp_path)
    )
    logits = x @ weights.T + bias
    losses = cross_entropy(logits, labels) * mask
    np.testing.assert_array_equal(predictions["predicted_ids"], logits.argmax(-1))
    np.testing.assert_allclose(loss, losses.sum() / 4, rtol=1e-5)
    np.testing.assert_array_equal(predictions["weight"], [3, 1, 0])
    total = (predictions["loss"] * predictions["weight"]).sum() / predictions["weight"].sum()
    np.testing.assert_allclose(total, loss, rtol=1e-5)


def test_span_head(tmp_path):
    random = np.random.RandomState(2)
    x = random.normal(size=[3, 7, 24]).astype(np.float32)
    mask = np.array([[1, 0, 0, 1, 1, 1, 0]] * 3)
    starts, ends = np.array([[3], [0], [4]]), np.array([[5], [0], [4]])
    features = {"input_span_mask": mask, "start_positions": starts, "end_positions": ends}
    (loss, predictions), (weights, bias) = evaluate_head(
        build_span_head, x, features, Head(SPAN, "span", 2), small_config(tmp_path)
    )
    logits = x @ weights.T + bias + (1 - mask[..., None]) * -10000.0
    np.testing.assert_allclose(predictions["start_logits"], logits[..., 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(predictions["end_logits"], logits[..., 1], rtol=1e-5, atol=1e-5)
    wanted = cross_entropy(logits[..., 0], starts[:, 0]) + cross_entropy(logits[..., 1], ends[:, 0])
    np.testing.assert_allclose(loss, wanted.mean() / 2, rtol=1e-5)


@pytest.mark.parametrize("kind", [CLASSIFICATION, TOKEN, SPAN])
def test_precision_is_that_of_pre_training(tmp_path, kind):
    """Items 18 and 28: fine-tuning had another compute type and another layer normalisation."""
    config = small_config(tmp_path, manual_fp16=True)
    features = {
        name: tf.zeros([2, 7], tf.int32)
        for name in (
            *("input_ids", "input_mask", "segment_ids", "input_span_mask", "label_mask"),
            *(("label_ids",) if kind == TOKEN else ()),
        )
    }
    for name in ("start_positions", "end_positions", "label_ids"):
        features.setdefault(name, tf.zeros([2, 1], tf.int32))
    outputs = build_model(features, Head(kind, "head", 2), config, OPS, True)
    graph = tf.get_default_graph()
    products = {op.outputs[0].dtype for op in graph.get_operations() if op.type == "MatMul"}
    assert tf.float16 in products
    assert outputs.loss.dtype == tf.float32
    assert {v.dtype.base_dtype for v in tf.trainable_variables()} == {tf.float32}
    has_pooler = any("pooler" in v.op.name for v in tf.trainable_variables())
    assert has_pooler == (kind == CLASSIFICATION)


@pytest.mark.parametrize("kind", TASKS)
def test_two_steps_of_a_nezha_change_every_variable(tmp_path, kind):
    """Item 19: a NEZHA has relative positions here too, and no position table."""
    output = run_small(
        kind, tmp_path, model={"use_relative_position": True}, num_accumulation_steps=2
    )
    before, after = (read_variables(output / f"model.ckpt-{step}") for step in (0, 2))
    assert "bert/embeddings/position_embeddings" not in after
    trained = [name[: -len("/adam_m")] for name in after if name.endswith("/adam_m")]
    assert len(trained) == 4 + 16 + 2 + 2 * (kind == "classifier")
    same = [name for name in trained if np.array_equal(before[name], after[name])]
    # A bias on all keys alike leaves the softmax alone.
    assert [name for name in same if not name.endswith("key/bias")] == []


def test_what_training_starts_from(tmp_path):
    first = run_small("ner", tmp_path / "first")
    start = str(first / "model.ckpt-2")
    second = run_small("reading", tmp_path / "second", init_checkpoint=start)
    given, taken = read_variables(start), read_variables(second / "model.ckpt-0")
    for name, value in taken.items():
        if name.startswith("bert/") and "adam" not in name:
            np.testing.assert_array_equal(value, given[name], err_msg=name)
    assert taken["global_step"] == 0
    with pytest.raises(DataError, match="has no position_embeddings|it is of a BERT"):
        run_small(
            "ner", tmp_path / "third", init_checkpoint=start, model={"use_relative_position": True}
        )
    with pytest.raises(DataError, match="use the model configuration that belongs"):
        run_small("ner", tmp_path / "fourth", init_checkpoint=start, model={"intermediate_size": 9})


def test_a_checkpoint_of_another_task_is_not_used(tmp_path):
    output = run_small("ner", tmp_path / "ner")
    with pytest.raises(DataError, match="has no squad_classifier/.*not fine-tuned for this task"):
        run_small(
            "reading",
            tmp_path / "reading",
            do_train=False,
            do_eval=True,
            init_checkpoint=str(output / "model.ckpt-2"),
        )
    left = tmp_path / "reading" / "output"
    assert not list(left.iterdir())


def test_a_bert_is_not_scored_as_a_nezha(tmp_path):
    """Item 19: all that a NEZHA needs is in a BERT's checkpoint, which learned other positions."""
    run_small("ner", tmp_path)
    with pytest.raises(DataError, match="it is of a BERT"):
        nezha = {"use_relative_position": True}
        run_small("ner", tmp_path, model=nezha, do_train=False, do_predict=True)
    assert not (tmp_path / "output" / "ner_predictions.txt").exists()


def test_step_0_is_never_used(tmp_path):
    """What a training leaves that fails before its first save has learned nothing."""
    output = run_small("ner", tmp_path)
    (output / "checkpoint").write_text(f'model_checkpoint_path: "{output / "model.ckpt-0"}"\n')
    for path in output.glob("model.ckpt-2.*"):
        path.unlink()
    with pytest.raises(DataError, match="holds no trained checkpoint; train first"):
        run_small("ner", tmp_path, do_train=False, do_predict=True)
    assert not (output / "ner_predictions.txt").exists()


def test_scores_of_other_data_do_not_stay_beside_new_predictions(tmp_path):
    output = run_small("ner", tmp_path, do_predict=True)
    assert (output / "test_results.json").exists() and (output / "test_results.txt").exists()
    run_small("ner", tmp_path, do_train=False, do_predict=True, predict_has_labels=False)
    assert (output / "ner_predictions.txt").exists() and not list(output.glob("test_results.*"))


def test_training_goes_on_where_it_stopped(tmp_path):
    output = run_small("ner", tmp_path, max_steps=4, save_checkpoints_steps=2)
    whole = read_variables(output / "model.ckpt-4")
    (output / "checkpoint").write_text(f'model_checkpoint_path: "{output / "model.ckpt-2"}"\n')
    for path in output.glob("model.ckpt-4.*"):
        path.unlink()
    run_small("ner", tmp_path, max_steps=4, save_checkpoints_steps=2)
    resumed = read_variables(output / "model.ckpt-4")
    assert set(whole) == set(resumed)
    for name in whole:
        np.testing.assert_allclose(resumed[name], whole[name], rtol=1e-5, atol=1e-7, err_msg=name)
