"""The training step against its independent NumPy twin, over fifty updates.

Every combination of optimiser, clipping, loss scale and accumulation gets the same gradients as
the twin (tests/reference): small and large ones, and some that are not finite. The loss is linear
in the weights, so that its gradient is whatever is fed.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.optimization.schedule import build_learning_rate
from bert.optimization.train_op import build_accumulating_train_step, build_train_step
from bert.train_config import ScheduleConfig
from tests.reference.numpy_loss_scale import DynamicLossScale, StaticLossScale
from tests.reference.numpy_optimizers import Hyperparameters, learning_rate
from tests.reference.numpy_training import Settings, State, step
from tests.tf.graphs import small_backend, small_config

UPDATES = 50
# Of the largest element of each tensor. 1 - 0.999 in float32 is already off by 1.3e-5.
TOLERANCE = 5e-5
SHAPES = {
    "bert/embeddings/word_embeddings": (11, 3),
    "bert/encoder/layer_0/output/LayerNorm/beta": (3,),
    "bert/encoder/layer_0/output/LayerNorm/gamma": (3,),
    "bert/pooler/dense/kernel": (3, 5),
    "bert/pooler/dense/bias": (5,),
    "cls/seq_relationship/output_weights": (2, 5),
    "cls/seq_relationship/output_bias": (2,),
}
RATE, WARMUP, TOTAL, CLIP, DECAY = 0.05, 7, 60, 1.5, 0.3
# Attempts of an update whose gradients are not finite somewhere: two in a row, two apart.
OVERFLOWS = {5: np.inf, 6: np.nan, 20: -np.inf, 31: np.inf}
LOSS_SCALES = {"off": -1, "static": 512, "dynamic": 0}
# Flag -> value of what all runs share; epsilon and power differ by optimiser unless given.
FLAGS = {
    "learning_rate": RATE,
    "num_warmup_steps": WARMUP,
    "num_train_steps": TOTAL,
    "lr_power": 1.0,
    "adam_epsilon": 1e-4,
    "clip_norm": CLIP,
    "weight_decay": DECAY,
    "init_loss_scale_value": 1024,
}


def start_weights():
    """Random weights; one bias starts at zero, where LAMB has no trust ratio."""
    random = np.random.RandomState(21)
    weights = {
        name: random.standard_normal(shape).astype(np.float32).astype(np.float64)
        for name, shape in SHAPES.items()
    }
    weights["cls/seq_relationship/output_bias"][:] = 0.0
    return weights


def random_gradients(random, bad=None):
    """Gradients of a size between 0.01 and 10, so that clipping is at work in some updates."""
    size = 10.0 ** random.uniform(-2, 1)
    gradients = {
        name: (size * random.standard_normal(shape)).astype(np.float32)
        for name, shape in SHAPES.items()
    }
    if bad is not None:
        gradients["bert/pooler/dense/kernel"][1, 2] = bad
    return gradients


def build_config(directory, optimizer, clip_globally, scaling, accumulation):
    config = small_config(
        directory,
        optimizer_type=optimizer,
        num_accumulation_steps=accumulation,
        npu_bert_clip_by_global_norm=clip_globally,
        npu_bert_loss_scale=LOSS_SCALES[scaling],
        **FLAGS,
    )
    # 1000 by default, which fifty updates do not reach.
    return dataclasses.replace(
        config, loss_scale=dataclasses.replace(config.loss_scale, grow_every_n_steps=6)
    )


def linear_loss(gradients):
    """Returns the scalar loss whose gradients these are, and makes the variables."""
    terms = [
        tf.reduce_sum(gradients[name] * tf.get_variable(name, shape))
        for name, shape in SHAPES.items()
    ]
    return tf.add_n(terms)


def build_graph(config):
    """Returns what to feed, the gradients of all micro-batches in one array, and the step."""
    backend = small_backend(config)
    n_micro = config.input.n_micro_batches
    fed = {
        name: tf.placeholder(tf.float32, (n_micro * shape[0],) + shape[1:])
        for name, shape in SHAPES.items()
    }
    tf.train.get_or_create_global_step()
    if n_micro == 1:
        loss = linear_loss(fed)
        train_step = build_train_step(
            loss, tf.trainable_variables(), config.optimizer, config.loss_scale, backend
        )
    else:
        train_step, _ = build_accumulating_train_step(
            lambda micro: [linear_loss(micro)],
            fed,
            n_micro,
            config.optimizer,
            config.loss_scale,
            backend,
        )
    return fed, train_step


def build_twin(optimizer, clip_globally, scaling):
    settings = Settings(
        optimizer,
        Hyperparameters(epsilon=1e-4, weight_decay_rate=DECAY),
        rate=lambda done: learning_rate(done, RATE, TOTAL, WARMUP),
        clip_norm=CLIP,
        clip_globally=clip_globally,
    )
    loss_scale = {
        "off": StaticLossScale(1.0),
        "static": StaticLossScale(512.0),
        "dynamic": DynamicLossScale(scale=1024.0, growth_interval=6),
    }[scaling]
    return settings, State(start_weights(), loss_scale=loss_scale)


def check_close(found, wanted, what):
    """Raises AssertionError unless all elements differ by less than TOLERANCE of the largest."""
    scale = max(np.abs(wanted).max(), 1e-6)
    error = np.abs(found - wanted).max() / scale
    assert error < TOLERANCE, what


@pytest.mark.parametrize("accumulation", [1, 3])
@pytest.mark.parametrize(
    ("optimizer", "clip_globally", "scaling"),
    itertools.product(["adam", "lamb"], [True, False], LOSS_SCALES),
    ids=lambda value: {True: "together", False: "each"}.get(value, value),
)
def test_fifty_updates(tmp_path, optimizer, clip_globally, scaling, accumulation):
    settings, state = build_twin(optimizer, clip_globally, scaling)
    config = build_config(tmp_path, optimizer, clip_globally, scaling, accumulation)
    fed, train_step = build_graph(config)
    global_step = tf.train.get_global_step()
    everything = {variable.op.name: variable for variable in tf.global_variables()}
    random = np.random.RandomState(22)
    attempt = 0
    with tf.Session() as session:
        session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        for name, weight in state.weights.items():
            everything[name].load(weight.astype(np.float32), session)
        while state.global_step < UPDATES:
            bad = None if scaling == "off" else OVERFLOWS.get(attempt)
            micro_batches = [random_gradients(random) for _ in range(accumulation)]
            if bad is not None:
                # In any of the micro-batches, the first and the last included.
                micro_batches[attempt % accumulation] = random_gradients(random, bad)
            feed = {
                fed[name]: np.concatenate([micro[name] for micro in micro_batches])
                for name in SHAPES
            }
            session.run(train_step.train_op, feed)
            scale = state.loss_scale.scale
            state = step(
                settings,
                state,
                [
                    {name: scale * value.astype(np.float64) for name, value in micro.items()}
                    for micro in micro_batches
                ],
            )
            attempt += 1
            assert session.run(global_step) == state.global_step, attempt
            values = session.run(everything)
            for name, weight in state.weights.items():
                check_close(values[name], weight, (attempt, name))
            if scaling == "dynamic":
                twin = state.loss_scale
                assert (values["loss_scale"], values["good_steps"], values["bad_steps"]) == (
                    twin.scale,
                    twin.good_steps,
                    twin.bad_steps,
                ), attempt
        for name in SHAPES:
            check_close(values[name + "/adam_m"], state.moments.first[name], name)
            check_close(values[name + "/adam_v"], state.moments.second[name], name)
    assert state.skipped_steps == (0 if scaling == "off" else len(OVERFLOWS))


@pytest.mark.parametrize("crossover", ["continuous", "jump"])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("warmup_steps", [0, 13])
def test_every_rate_of_a_schedule(crossover, power, warmup_steps):
    schedule = ScheduleConfig(
        3e-4, warmup_steps, 50, power=power, continuous=crossover == "continuous"
    )
    done = tf.placeholder(tf.int64, [])
    rate = build_learning_rate(schedule, done)
    with tf.Session() as session:
        found = [session.run(rate, {done: value}) for value in range(53)]
    wanted = [learning_rate(value, 3e-4, 50, warmup_steps, power, crossover) for value in range(53)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-10)
