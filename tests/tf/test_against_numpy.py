"""The model against its independent NumPy twin: outputs, losses and every gradient.

The twin (tests/reference) is float64 and was written from the published equations without a look
at the trainer. Both get the same random weights, by variable name, and the same batch.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Dict, NamedTuple

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.model.encoder import build_bert
from bert.model.heads import build_mlm_head, build_nsp_head
from bert.optimization.train_op import build_train_step
from tests.reference import numpy_bert
from tests.reference.models import Model, random_batch, random_weights, variable_shapes
from tests.reference.numpy_loss_scale import StaticLossScale
from tests.reference.numpy_optimizers import Hyperparameters, learning_rate
from tests.reference.numpy_training import Settings, State, step
from tests.tf.graphs import small_backend, small_config

# Of the largest element of each tensor. float32 comes within 2e-6 in one pass.
TOLERANCE = 1e-5
TOLERANCE_OF_TRAINING = 1e-4
BATCH, LENGTH, PREDICTIONS = 5, 13, 4
BERT = Model(
    vocab_size=101,
    hidden_size=24,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=37,
    max_position_embeddings=17,
)
NEZHA = dataclasses.replace(BERT, use_relative_position=True)
RESULTS = ("sequence", "pooled", "masked_lm_loss", "next_sentence_loss")


class Trainer(NamedTuple):
    """The trainer's graph of one model."""

    config: Any
    fed: Dict[str, tf.Tensor]
    sequence: tf.Tensor
    pooled: tf.Tensor
    masked_lm_loss: tf.Tensor
    next_sentence_loss: tf.Tensor
    total_loss: tf.Tensor


def build_trainer(directory, model: Model, batch, **changes: Any) -> Trainer:
    """Builds the pre-training graph with dropout off, in the default graph."""
    values = dataclasses.asdict(model)
    del values["layer_norm_epsilon"]
    if not model.use_relative_position:
        del values["use_relative_position"]
    values.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    path = directory / "twin.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    size, length = batch["input_ids"].shape
    config = small_config(
        directory,
        bert_config_file=path,
        train_batch_size=size,
        max_seq_length=length,
        max_predictions_per_seq=batch["masked_lm_ids"].shape[1],
        **changes,
    )
    fed = {
        name: tf.placeholder(tf.float32 if name == "masked_lm_weights" else tf.int32, value.shape)
        for name, value in batch.items()
    }
    ops = small_backend(config).build_ops()
    outputs = build_bert(
        fed["input_ids"], fed["input_mask"], fed["segment_ids"], config.bert, True, ops
    )
    mlm = build_mlm_head(
        outputs.sequence,
        outputs.word_table,
        fed["masked_lm_positions"],
        fed["masked_lm_ids"],
        fed["masked_lm_weights"],
        config.bert,
        ops,
    )
    nsp = build_nsp_head(outputs.pooled, fed["next_sentence_labels"], config.bert)
    return Trainer(
        config, fed, outputs.sequence, outputs.pooled, mlm.loss, nsp.loss, mlm.loss + nsp.loss
    )


def feed(trainer: Trainer, batch) -> Dict[tf.Tensor, np.ndarray]:
    return {trainer.fed[name]: value for name, value in batch.items()}


def load_weights(session, weights) -> None:
    """Initialises everything, then gives the model's variables the twin's weights by name."""
    session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    variables = {variable.op.name: variable for variable in tf.trainable_variables()}
    assert sorted(variables) == sorted(weights)
    for name, variable in variables.items():
        variable.load(weights[name].astype(np.float32), session)


def relative_error(found, wanted, scale=None) -> float:
    """Largest difference as a share of the largest element of `wanted`, or of `scale`."""
    assert np.shape(found) == np.shape(wanted)
    scale = np.abs(wanted).max() if scale is None else scale
    return float(np.abs(np.asarray(found, np.float64) - wanted).max() / scale)


def scale_of_gradient(name: str, gradients) -> float:
    """What an error of one gradient is measured by: its own largest element, but for key biases.

    A key bias adds the same to all scores of a query, which the softmax does not see, so its
    gradient is 0 but for rounding; the query bias has the size of the terms that cancel.
    """
    if name.endswith("key/bias"):
        assert np.abs(gradients[name]).max() < 1e-12
        name = name.replace("key/bias", "query/bias")
    return float(np.abs(gradients[name]).max())


def check_against_twin(directory, model: Model, batch, **changes: Any) -> None:
    """Raises AssertionError if any output, loss or gradient is further off than TOLERANCE."""
    weights = random_weights(model, seed=11)
    wanted = numpy_bert.forward(model, weights, batch)
    wanted_gradients = numpy_bert.gradients(model, weights, batch, wanted)

    trainer = build_trainer(directory, model, batch, **changes)
    variables = tf.trainable_variables()
    assert [v.op.name for v in variables] == list(variable_shapes(model))
    with tf.Session() as session:
        load_weights(session, weights)
        found, gradients = session.run(
            [
                {name: getattr(trainer, name) for name in RESULTS},
                [
                    tf.convert_to_tensor(gradient)
                    for gradient in tf.gradients(trainer.total_loss, variables)
                ],
            ],
            feed(trainer, batch),
        )
    errors = {
        "sequence output": relative_error(found["sequence"], wanted.sequence_output),
        "pooled output": relative_error(found["pooled"], wanted.pooled_output),
        "masked_lm_loss": relative_error(found["masked_lm_loss"], wanted.masked_lm_loss),
        "next_sentence_loss": relative_error(
            found["next_sentence_loss"], wanted.next_sentence_loss
        ),
    }
    for variable, gradient in zip(variables, gradients):
        name = variable.op.name
        scale = scale_of_gradient(name, wanted_gradients)
        errors[name] = relative_error(gradient, wanted_gradients[name], scale)
    assert {name: error for name, error in errors.items() if not error < TOLERANCE} == {}


CASES = {
    "as by default": {},
    "plain operators": {"npu_bert_fused_gelu": False, "npu_gather": False},
}
BOTH = pytest.mark.parametrize("model", [BERT, NEZHA], ids=["bert", "nezha"])


@BOTH
@pytest.mark.parametrize("changes", CASES.values(), ids=CASES)
def test_outputs_losses_and_gradients(tmp_path, model, changes):
    batch = random_batch(model, BATCH, LENGTH, PREDICTIONS, seed=12)
    assert (batch["input_mask"] == 0).any() and (batch["masked_lm_weights"] == 0).any()
    check_against_twin(tmp_path, model, batch, **changes)


@BOTH
@pytest.mark.parametrize("activation", ["relu", "tanh", "linear"])
def test_other_activations(tmp_path, model, activation):
    model = dataclasses.replace(model, hidden_act=activation, num_hidden_layers=1)
    check_against_twin(tmp_path, model, random_batch(model, 3, 7, 2, seed=13))


def test_distances_beyond_the_clipping_of_nezha(tmp_path):
    """Sequences of 71 tokens have distances from -70 to 70, the table ends at 64."""
    model = dataclasses.replace(NEZHA, num_hidden_layers=1)
    check_against_twin(tmp_path, model, random_batch(model, 3, 71, 5, seed=14))


@BOTH
def test_a_batch_without_predictions(tmp_path, model):
    """All weights 0: the loss of the words is 0, and so is what it sends back."""
    model = dataclasses.replace(model, num_hidden_layers=1)
    batch = random_batch(model, 3, 7, 2, seed=15)
    batch["masked_lm_weights"] = np.zeros_like(batch["masked_lm_weights"])
    weights = random_weights(model, seed=11)
    trainer = build_trainer(tmp_path, model, batch)
    gradients = tf.gradients(trainer.masked_lm_loss, tf.trainable_variables())
    gradients = [tf.convert_to_tensor(g) for g in gradients if g is not None]
    with tf.Session() as session:
        load_weights(session, weights)
        loss, gradients = session.run([trainer.masked_lm_loss, gradients], feed(trainer, batch))
    assert loss == numpy_bert.forward(model, weights, batch).masked_lm_loss == 0.0
    assert not any(gradient.any() for gradient in gradients)


@BOTH
def test_fifty_steps_of_adam_on_the_model(tmp_path, model):
    """Model, schedule, clipping, loss scale and optimiser in one: losses and weights stay alike."""
    model = dataclasses.replace(model, num_hidden_layers=1)
    batches = [random_batch(model, BATCH, LENGTH, PREDICTIONS, seed=seed) for seed in range(5)]
    weights = random_weights(model, seed=16)
    trainer = build_trainer(
        tmp_path,
        model,
        batches[0],
        num_train_steps=60,
        num_warmup_steps=10,
        learning_rate=3e-3,
        npu_bert_loss_scale=128,
    )
    config = trainer.config
    train_step = build_train_step(
        trainer.total_loss,
        tf.trainable_variables(),
        config.optimizer,
        config.loss_scale,
        small_backend(config),
    )
    settings = Settings(
        "adam", Hyperparameters(), rate=lambda done: learning_rate(done, 3e-3, 60, 10)
    )
    state = State(weights, loss_scale=StaticLossScale(128.0))
    first_loss = last_loss = 0.0
    with tf.Session() as session:
        load_weights(session, weights)
        for index in range(50):
            batch = batches[index % len(batches)]
            outputs = numpy_bert.forward(model, state.weights, batch)
            gradients = numpy_bert.gradients(model, state.weights, batch, outputs)
            state = step(
                settings, state, [{name: 128.0 * value for name, value in gradients.items()}]
            )
            loss, _ = session.run([trainer.total_loss, train_step.train_op], feed(trainer, batch))
            assert loss == pytest.approx(outputs.total_loss, rel=TOLERANCE_OF_TRAINING), index
            first_loss, last_loss = first_loss or loss, loss
        variables = session.run({v.op.name: v for v in tf.trainable_variables()})
    errors = {name: relative_error(variables[name], state.weights[name]) for name in variables}
    assert {
        name: error for name, error in errors.items() if not error < TOLERANCE_OF_TRAINING
    } == {}
    # Training it was, so that agreement says something.
    assert last_loss < 0.5 * first_loss
