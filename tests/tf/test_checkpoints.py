"""Starting from a checkpoint: real checkpoints, loaded, reported or refused."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.errors import DataError
from bert.training.checkpoints import (
    build_assignment,
    initialize_from_checkpoint,
    read_checkpoint_shapes,
    render_report,
)
from bert.training.model_fn import build_heads
from tests.tf.graphs import SMALL_MODEL, as_tensors, small_backend, small_batch, small_config


def build_model(tmp_path, **changes):
    """Builds the small model into the default graph; returns its variables."""
    path = tmp_path / "model_of_checkpoint.json"
    path.write_text(json.dumps(dict(SMALL_MODEL, num_hidden_layers=1, **changes)), "utf-8")
    config = small_config(tmp_path, bert_config_file=path)
    build_heads(as_tensors(small_batch(config)), config, small_backend(config).build_ops(), False)
    return tf.trainable_variables()


def write_checkpoint(path, values):
    """Writes name → array as a checkpoint of TensorFlow; returns its name."""
    with tf.Graph().as_default():
        for name, value in values.items():
            tf.get_variable(name, initializer=tf.constant(value))
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            return tf.train.Saver().save(session, str(path), write_meta_graph=False)


def random_values(variables, seed=4):
    random = np.random.RandomState(seed)
    return {v.op.name: random.randn(*v.shape.as_list()).astype(np.float32) for v in variables}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """A BERT and a NEZHA checkpoint with slots and counters, as trainers leave them."""
    directory = tmp_path_factory.mktemp("checkpoints")
    found = {}
    for kind in ("bert", "nezha"):
        with tf.Graph().as_default():
            values = random_values(build_model(directory, use_relative_position=kind == "nezha"))
        slot = "adam" if kind == "bert" else "lamb"
        for name in list(values)[:2]:
            values.update({f"{name}/{slot}_{m}": np.zeros_like(values[name]) for m in "mv"})
        values["global_step"] = np.int64(77)
        found[kind] = (write_checkpoint(directory / kind / "model.ckpt", values), values)
    return found


@pytest.mark.parametrize("kind", ["bert", "nezha"])
def test_a_checkpoint_of_its_own_kind_is_loaded(tmp_path, checkpoints, kind):
    path, values = checkpoints[kind]
    variables = build_model(tmp_path, use_relative_position=kind == "nezha")
    step = tf.train.create_global_step()
    assignment = initialize_from_checkpoint(path, variables)
    assert assignment.loaded == [v.op.name for v in variables]
    assert (assignment.fresh, assignment.unused, assignment.n_state) == ([], [], 5)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable, found in zip(variables, session.run(variables)):
            np.testing.assert_array_equal(found, values[variable.op.name])
        assert session.run(step) == 0


def test_a_nezha_checkpoint_does_not_go_into_a_bert(tmp_path, checkpoints):
    with pytest.raises(DataError, match="it is of a NEZHA, and the model is a BERT") as caught:
        initialize_from_checkpoint(checkpoints["nezha"][0], build_model(tmp_path))
    assert '"use_relative_position": true' in str(caught.value)


def test_a_bert_checkpoint_does_not_go_into_a_nezha(tmp_path, checkpoints):
    variables = build_model(tmp_path, use_relative_position=True)
    with pytest.raises(DataError, match="it is of a BERT, and the model is a NEZHA"):
        initialize_from_checkpoint(checkpoints["bert"][0], variables)


def test_other_numbers_are_refused(tmp_path, checkpoints):
    variables = build_model(tmp_path, vocab_size=98)
    with pytest.raises(DataError, match=r"word_embeddings has shape \[97, 24\], the model"):
        initialize_from_checkpoint(checkpoints["bert"][0], variables)


def test_names_are_matched_and_state_is_left_out():
    model = {"a": [2, 3], "b": [4]}
    stored = {"a": [2, 3], "c": [1], "batches_taken": [], "a/lamb_v": [2, 3], "a/adam_m_1": [2, 3]}
    assert build_assignment(model, stored, "x") == (["a"], ["b"], ["c"], 3)
    with pytest.raises(DataError, match=r"variable b has shape \[5\], the model"):
        build_assignment(model, {"a": [2, 3], "b": [5]}, "x")
    with pytest.raises(DataError, match="no variable has the name"):
        build_assignment(model, {"c": [1]}, "x")


def test_a_checkpoint_without_embeddings_fits_both_kinds():
    head = {"cls/seq_relationship/output_bias": [2]}
    words = {"bert/embeddings/word_embeddings": [7, 3], **head}
    assert build_assignment(words, head, "x").loaded == list(head)


def test_the_report_names_what_was_not_loaded():
    model = {f"layer_{i}": [1] for i in range(20)}
    stored = {"layer_19": [1], "classifier": [2], "layer_19/adam_m": [1]}
    assert render_report(build_assignment(model, stored, "x"), "x") == [
        "init_checkpoint x: 1 of 20 variables loaded",
        "  not in the checkpoint, keep their initial values: 19 ("
        + ", ".join(f"layer_{i}" for i in range(12))
        + ", and 7 more)",
        "  in the checkpoint, not used: 1 (classifier)",
        "  optimiser state and counters, left out: 1",
    ]


def test_a_training_that_goes_on_does_not_claim_to_have_loaded(tmp_path, checkpoints, caplog):
    write_checkpoint(tmp_path / "output" / "model.ckpt-5", {"a": np.float32(1.0)})
    variable = tf.get_variable("a", initializer=tf.constant(3.0))
    path = checkpoints["bert"][0]
    with caplog.at_level("INFO", logger="tensorflow"):
        assert initialize_from_checkpoint(path, [variable], str(tmp_path / "output")) is None
    (message,) = [m for m in caplog.messages if "init_checkpoint" in m]
    assert message.endswith(f"training goes on from {tmp_path}/output/model.ckpt-5")


def test_a_directory_means_its_newest_checkpoint(checkpoints):
    path, values = checkpoints["bert"]
    assert set(read_checkpoint_shapes(os.path.dirname(path))) == set(values)


def test_what_cannot_be_read_is_refused_before_training(tmp_path, checkpoints):
    with pytest.raises(DataError, match=r"name the checkpoint without '\.index'"):
        read_checkpoint_shapes(checkpoints["bert"][0] + ".index")
    with pytest.raises(DataError, match="--init_checkpoint=.*none: cannot be read"):
        read_checkpoint_shapes(str(tmp_path / "none"))
    with pytest.raises(DataError, match="cannot be read"):
        read_checkpoint_shapes(str(tmp_path))
    path = write_checkpoint(tmp_path / "cut" / "model.ckpt", {"a": np.float32(1.0)})
    os.remove(path + ".data-00000-of-00001")
    with pytest.raises(DataError, match="cannot be read"):
        read_checkpoint_shapes(path)


def test_weights_of_another_type_are_refused(tmp_path):
    path = write_checkpoint(tmp_path / "half.ckpt", {"bert/pooler/dense/bias": np.float16([1.0])})
    with pytest.raises(DataError, match="pooler/dense/bias is stored as float16"):
        read_checkpoint_shapes(path)
