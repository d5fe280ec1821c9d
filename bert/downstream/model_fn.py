"""The model function of fine-tuning: the same training step and lines as in pre-training."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List

import tensorflow.compat.v1 as tf

from bert.backends.base import Backend
from bert.downstream.heads import Features, build_model
from bert.downstream.task import Head
from bert.optimization.train_op import TrainStep, build_accumulating_train_step, build_train_step
from bert.train_config import TrainConfig
from bert.training.batch_counter import StartBatchHook, build_batch_counter, count_after
from bert.training.checkpoints import initialize_from_checkpoint
from bert.training.hooks import LossLineHook, LossScaleHook, StepRateHook, StopAtStep
from bert.training.profiling import ProfileHook
from bert.training.skipped_steps import SkippedStepHook


def build_model_fn(
    head: Head, config: TrainConfig, backend: Backend, start_batch: int = 0
) -> Callable[..., Any]:
    """Returns the model function for an Estimator that trains or predicts.

    Args:
        head: of the task.
        config: the run.
        backend: of this rank.
        start_batch: batch behind which this rank's training data start.
    """

    def model_fn(features: Features, labels: Any, mode: str) -> Any:
        if mode != tf.estimator.ModeKeys.TRAIN:
            outputs = build_model(features, head, config, backend.build_ops(), False)
            return tf.estimator.EstimatorSpec(mode, predictions=outputs.predictions)

        counter = build_batch_counter()
        n_micro_batches = config.input.n_micro_batches
        numbers = counter * n_micro_batches + tf.range(n_micro_batches, dtype=tf.int64)
        features = dict(features, batch_number=numbers)

        def build_losses(batch: Features) -> List[tf.Tensor]:
            ops = backend.build_ops(tf.reshape(batch["batch_number"], []))
            return [build_model(batch, head, config, ops, True).loss]

        step, loss = _build_step(build_losses, features, config, backend)
        variables = tf.trainable_variables()
        if config.verbose_logging:
            for variable in variables:
                tf.logging.info("  name = %s, shape = %s", variable.name, variable.shape)
        if config.init_checkpoint and backend.saves:
            # Other ranks get these values from this one, with all the rest.
            initialize_from_checkpoint(config.init_checkpoint, variables, config.output_dir)
        hooks = backend.build_hooks()
        # Behind the broadcast: every hook after it may read variables when the session stands.
        hooks.append(StartBatchHook(start_batch, backend.rank.rank_id, config.deterministic))
        hooks += _build_hooks(config, backend, step, loss)
        _add_summaries(config, step, loss)
        return tf.estimator.EstimatorSpec(
            mode,
            loss=loss,
            train_op=count_after(step.train_op, counter),
            training_hooks=hooks,
        )

    return model_fn


def _build_step(
    build_losses: Callable[[Features], List[tf.Tensor]],
    features: Features,
    config: TrainConfig,
    backend: Backend,
) -> Any:
    """Returns the training step and the loss under the name that the field fetches it by."""
    if config.input.n_micro_batches > 1:
        step, losses = build_accumulating_train_step(
            build_losses,
            features,
            config.input.n_micro_batches,
            config.optimizer,
            config.loss_scale,
            backend,
        )
        loss = tf.identity(losses[0], name="total_loss")
    else:
        loss = tf.identity(build_losses(features)[0], name="total_loss")
        step = build_train_step(
            loss, tf.trainable_variables(), config.optimizer, config.loss_scale, backend
        )
    tf.identity(step.learning_rate, name="learning_rate")
    return step, loss


def _build_hooks(
    config: TrainConfig, backend: Backend, step: TrainStep, loss: tf.Tensor
) -> List[tf.train.SessionRunHook]:
    """Returns the hooks that end training and that write lines and traces."""
    hooks: List[tf.train.SessionRunHook] = [
        StopAtStep(config.optimizer.schedule.n_train_steps),
        StepRateHook(config.n_steps_per_loop, config.output_dir if backend.saves else None),
    ]
    # Read after the update, or lines would show the step before or after by chance.
    with tf.control_dependencies([step.train_op]):
        reached = tf.identity(tf.train.get_global_step().read_value(), name="step_reached")
    if config.profile_steps and backend.saves:
        directory = os.path.join(config.output_dir, "profile")
        hooks.append(ProfileHook(config.profile_steps, directory, reached))
    every, per_run = config.n_steps_per_loss_line, backend.n_steps_per_run
    if config.report_loss:
        hooks.append(LossLineHook({"loss": loss, "step": reached}, every, per_run))
    if step.loss_scale is not None:
        hooks.append(LossScaleHook(step.loss_scale, every, per_run))
        values: Dict[str, tf.Tensor] = {
            "global_step": reached,
            "total_loss": loss,
            "learning_rate": step.learning_rate,
            "loss_scale": step.loss_scale,
        }
        n_sequences = config.input.n_sequences_per_step * backend.rank.rank_size
        hooks.append(SkippedStepHook(values, per_run, n_sequences))
    return hooks


def _add_summaries(config: TrainConfig, step: TrainStep, loss: tf.Tensor) -> None:
    if not config.save_summary_steps:
        return
    values = {
        "loss": loss,
        "learning_rate": step.learning_rate,
        "gradient_norm": step.gradient_norm,
        "loss_scale": step.loss_scale,
    }
    for tag, value in values.items():
        if value is not None:
            # tf.summary.scalar would number a tag whose name a tensor of the graph has already.
            summary = tf.raw_ops.ScalarSummary(tags=tag, values=value)
            tf.add_to_collection(tf.GraphKeys.SUMMARIES, summary)
