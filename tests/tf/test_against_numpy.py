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

from bert.backends import vocabulary_loss
from bert.model.encoder import build_bert
from bert.model.heads import build_mlm_head, build_nsp_head
from bert.training.model_fn import build_model_fn
from tests.reference import numpy_bert
from tests.reference.models import Model, random_batch, random_weights, variable_shapes
from tests.reference.numpy_loss_scale import DynamicLossScale
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


def build_config(directory, model: Model, batch, **changes: Any):
    """Returns the trainer's configuration of a model and the shape of one micro-batch."""
    values = dataclasses.asdict(model)
    del values["layer_norm_epsilon"]
    if not model.use_relative_position:
        del values["use_relative_position"]
    values.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    path = directory / "twin.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    size, length = batch["input_ids"].shape
    return small_config(
        directory,
        bert_config_file=path,
        train_batch_size=size,
        max_seq_length=length,
        max_predictions_per_seq=batch["masked_lm_ids"].shape[1],
        **changes,
    )


def build_placeholders(batch, n_micro_batches: int = 1) -> Dict[str, tf.Tensor]:
    """Returns what the batches are fed to: name -> [n * B, ...]."""
    return {
        name: tf.placeholder(
            tf.float32 if name == "masked_lm_weights" else tf.int32,
            (n_micro_batches * value.shape[0],) + value.shape[1:],
        )
        for name, value in batch.items()
    }


def build_trainer(directory, model: Model, batch, **changes: Any) -> Trainer:
    """Builds the pre-training graph with dropout off, in the default graph."""
    config = build_config(directory, model, batch, **changes)
    fed = build_placeholders(batch)
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
def test_a_vocabulary_in_several_parts(tmp_path, monkeypatch, model):
    """A real vocabulary is larger than one part; so is this one, if parts are small."""
    monkeypatch.setattr(vocabulary_loss, "_PART_BYTES", 1 << 10)
    assert 1 < vocabulary_loss.count_parts(BATCH * PREDICTIONS, model.vocab_size) < 16
    model = dataclasses.replace(model, num_hidden_layers=1)
    check_against_twin(tmp_path, model, random_batch(model, BATCH, LENGTH, PREDICTIONS, seed=17))


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


@pytest.mark.parametrize(
    ("model", "optimizer", "n_micro"),
    [(BERT, "adam", 1), (BERT, "lamb", 2), (NEZHA, "adam", 2), (NEZHA, "lamb", 1)],
    ids=["bert-adam", "bert-lamb-accumulated", "nezha-adam-accumulated", "nezha-lamb"],
)
def test_fifty_steps_of_training(tmp_path, model, optimizer, n_micro):
    """The whole model function: forward, backward, accumulation, loss scale, clipping, update.

    One step overflows: a weight that is not finite in the last micro-batch makes its gradients so.
    """
    model = dataclasses.replace(model, num_hidden_layers=1)
    n_steps, rate, overflow_at = 50, 3e-3, 20
    batches = [random_batch(model, BATCH, LENGTH, PREDICTIONS, seed=seed) for seed in range(6)]
    config = build_config(
        tmp_path,
        model,
        batches[0],
        optimizer_type=optimizer,
        num_accumulation_steps=n_micro,
        learning_rate=rate,
        num_train_steps=60,
        num_warmup_steps=10,
        npu_bert_loss_scale=0,
        init_loss_scale_value=128,
    )
    epsilon, power = {"adam": (1e-4, 1.0), "lamb": (1e-6, 0.5)}[optimizer]
    settings = Settings(
        optimizer,
        Hyperparameters(epsilon=epsilon),
        rate=lambda done: learning_rate(done, rate, 60, 10, power),
    )
    state = State(random_weights(model, seed=16), loss_scale=DynamicLossScale(scale=128.0))

    fed = build_placeholders(batches[0], n_micro)
    global_step = tf.train.get_or_create_global_step()
    spec = build_model_fn(config, small_backend(config))(fed, None, tf.estimator.ModeKeys.TRAIN)
    losses = []
    with tf.Session() as session:
        load_weights(session, state.weights)
        for attempt in range(n_steps + 1):
            micro_batches = [dict(batches[(attempt * n_micro + i) % 6]) for i in range(n_micro)]
            if attempt == overflow_at:
                weights = micro_batches[-1]["masked_lm_weights"].copy()
                weights[0, 0] = np.inf
                micro_batches[-1]["masked_lm_weights"] = weights
            wanted, gradients = run_twin(model, state, micro_batches)
            found, _ = session.run(
                [spec.loss, spec.train_op],
                {
                    placeholder: np.concatenate([micro[name] for micro in micro_batches])
                    for name, placeholder in fed.items()
                },
            )
            assert np.isfinite(found) == np.isfinite(wanted) == (attempt != overflow_at)
            if attempt != overflow_at:
                assert found == pytest.approx(wanted, rel=TOLERANCE_OF_TRAINING), attempt
                losses.append(found)
            state = step(settings, state, gradients)
            assert session.run(global_step) == state.global_step
        variables = session.run({v.op.name: v for v in tf.trainable_variables()})
    errors = {
        name: relative_error(value, state.weights[name])
        for name, value in variables.items()
        # Its gradient is rounding alone, of which LAMB makes steps of full length; no output
        # depends on it.
        if not name.endswith("key/bias")
    }
    assert {
        name: error for name, error in errors.items() if not error < TOLERANCE_OF_TRAINING
    } == {}
    assert (state.global_step, state.skipped_steps) == (n_steps, 1)
    # Training it was, so that agreement says something.
    assert np.mean(losses[-6:]) < 0.8 * np.mean(losses[:6])


def run_twin(model: Model, state: State, micro_batches):
    """Returns the mean loss, and for each micro-batch the gradients of its scaled loss."""
    losses, gradients = [], []
    with np.errstate(invalid="ignore"):
        for batch in micro_batches:
            outputs = numpy_bert.forward(model, state.weights, batch)
            found = numpy_bert.gradients(model, state.weights, batch, outputs)
            losses.append(outputs.total_loss)
            gradients.append(
                {name: state.loss_scale.scale * value for name, value in found.items()}
            )
    return np.mean(losses), gradients
