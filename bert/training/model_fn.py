"""The model function: features → losses, training step, evaluation metrics, hooks."""

from __future__ import annotations

import os
from typing import Any, Callable, Dict, List, Tuple

import tensorflow.compat.v1 as tf

from bert.backends.base import Backend
from bert.backends.ops import Ops
from bert.backends.vocabulary_loss import plain_vocabulary_loss
from bert.model.encoder import build_bert
from bert.model.heads import MlmOutputs, NspOutputs, build_mlm_head, build_nsp_head
from bert.optimization.train_op import TrainStep, build_accumulating_train_step, build_train_step
from bert.train_config import TrainConfig
from bert.training.batch_counter import StartBatchHook, build_batch_counter, count_after
from bert.training.checkpoints import initialize_from_checkpoint
from bert.training.hooks import LossLineHook, LossScaleHook, StepRateHook, StopAtStep
from bert.training.profiling import ProfileHook
from bert.training.skipped_steps import SkippedStepHook

Features = Dict[str, tf.Tensor]


def build_model_fn(
    config: TrainConfig, backend: Backend, start_batch: int = 0
) -> Callable[..., Any]:
    """Returns the model function of pre-training for an Estimator.

    Args:
        config: the run.
        backend: of this rank.
        start_batch: batch behind which this rank's training data start.
    """

    def model_fn(features: Features, labels: Any, mode: str) -> Any:
        if mode != tf.estimator.ModeKeys.TRAIN:
            # Metrics need the logits, so the form that makes them is the cheaper one.
            ops = backend.build_ops()._replace(vocabulary_loss=plain_vocabulary_loss)
            mlm, nsp = build_heads(features, config, ops, False)
            total_loss = _name_losses(mlm.loss, nsp.loss)[2]
            metrics = build_eval_metrics(features, mlm, nsp)
            return tf.estimator.EstimatorSpec(mode, loss=total_loss, eval_metric_ops=metrics)

        counter = build_batch_counter()
        n_micro_batches = config.input.n_micro_batches
        numbers = counter * n_micro_batches + tf.range(n_micro_batches, dtype=tf.int64)
        features = dict(features, batch_number=numbers)

        def build_losses(batch: Features) -> List[tf.Tensor]:
            ops = backend.build_ops(tf.reshape(batch["batch_number"], []))
            mlm, nsp = build_heads(batch, config, ops, True)
            return [mlm.loss, nsp.loss]

        if n_micro_batches > 1:
            step, losses = build_accumulating_train_step(
                build_losses,
                features,
                n_micro_batches,
                config.optimizer,
                config.loss_scale,
                backend,
            )
            mlm_loss, nsp_loss, total_loss = _name_losses(*losses)
        else:
            mlm_loss, nsp_loss, total_loss = _name_losses(*build_losses(features))
            step = build_train_step(
                total_loss,
                tf.trainable_variables(),
                config.optimizer,
                config.loss_scale,
                backend,
            )
        variables = tf.trainable_variables()
        if config.verbose_logging:
            for variable in variables:
                tf.logging.info("  name = %s, shape = %s", variable.name, variable.shape)
        if config.init_checkpoint and backend.saves:
            # Other ranks get these values from this one, with all the rest.
            initialize_from_checkpoint(config.init_checkpoint, variables, config.output_dir)
        tf.identity(step.learning_rate, name="learning_rate")
        hooks = backend.build_hooks()
        # Behind the broadcast: every hook after it may read variables when the session stands.
        hooks.append(StartBatchHook(start_batch, backend.rank.rank_id, config.deterministic))
        hooks += _build_hooks(config, backend, step, mlm_loss, nsp_loss, total_loss)
        _add_summaries(config, step, mlm_loss, nsp_loss)
        return tf.estimator.EstimatorSpec(
            mode,
            loss=total_loss,
            train_op=count_after(step.train_op, counter),
            training_hooks=hooks,
        )

    return model_fn


def build_heads(
    features: Features, config: TrainConfig, ops: Ops, is_training: bool
) -> Tuple[MlmOutputs, NspOutputs]:
    """Builds the whole model, from ids to both losses."""
    outputs = build_bert(
        features["input_ids"],
        features["input_mask"],
        features["segment_ids"],
        config.bert,
        is_training,
        ops,
        encoder_dtype=config.precision.encoder,
        pooler_dtype=config.precision.heads,
    )
    mlm = build_mlm_head(
        outputs.sequence,
        outputs.word_table,
        features["masked_lm_positions"],
        features["masked_lm_ids"],
        features["masked_lm_weights"],
        config.bert,
        ops,
        dtype=config.precision.heads,
    )
    nsp = build_nsp_head(
        outputs.pooled,
        features["next_sentence_labels"],
        config.bert,
        dtype=config.precision.heads,
    )
    return mlm, nsp


def _name_losses(mlm: tf.Tensor, nsp: tf.Tensor) -> Tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns both losses and their sum under the names that the field fetches them by."""
    mlm_loss = tf.identity(mlm, name="mlm_loss")
    nsp_loss = tf.identity(nsp, name="nsp_loss")
    return mlm_loss, nsp_loss, tf.add(mlm_loss, nsp_loss, name="total_loss")


def _build_hooks(
    config: TrainConfig,
    backend: Backend,
    step: TrainStep,
    mlm_loss: tf.Tensor,
    nsp_loss: tf.Tensor,
    total_loss: tf.Tensor,
) -> List[tf.train.SessionRunHook]:
    """Returns the hooks that end training and that write lines, summaries and traces."""
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
    if config.report_loss:
        hooks.append(
            LossLineHook(
                {
                    "global_step": reached,
                    "masked_lm_loss": mlm_loss,
                    "next_sentence_loss": nsp_loss,
                    "total_loss": total_loss,
                },
                config.n_steps_per_loss_line,
                backend.n_steps_per_run,
            )
        )
    if step.loss_scale is not None:
        hooks.append(
            LossScaleHook(step.loss_scale, config.n_steps_per_loss_line, backend.n_steps_per_run)
        )
        hooks.append(
            SkippedStepHook(
                {
                    "global_step": reached,
                    "mlm_loss": mlm_loss,
                    "nsp_loss": nsp_loss,
                    "total_loss": total_loss,
                    "learning_rate": step.learning_rate,
                    "loss_scale": step.loss_scale,
                },
                backend.n_steps_per_run,
                config.input.n_sequences_per_step * backend.rank.rank_size,
            )
        )
    return hooks


def _add_summaries(
    config: TrainConfig, step: TrainStep, mlm_loss: tf.Tensor, nsp_loss: tf.Tensor
) -> None:
    if not config.save_summary_steps:
        return
    values = {
        "masked_lm_loss": mlm_loss,
        "next_sentence_loss": nsp_loss,
        "learning_rate": step.learning_rate,
        "gradient_norm": step.gradient_norm,
        "loss_scale": step.loss_scale,
    }
    for tag, value in values.items():
        if value is not None:
            # tf.summary.scalar would number a tag whose name a tensor of the graph has already.
            summary = tf.raw_ops.ScalarSummary(tags=tag, values=value)
            tf.add_to_collection(tf.GraphKeys.SUMMARIES, summary)


def build_eval_metrics(features: Features, mlm: MlmOutputs, nsp: NspOutputs) -> Dict[str, Any]:
    """Returns masked_lm_accuracy, masked_lm_loss, next_sentence_accuracy, next_sentence_loss.

    Masked-word metrics are weighted means over all predictions of the set, so that a batch with
    few predictions does not count as much as a full one. Rows without any token fill up the last
    batch and count nowhere.
    """
    is_example = tf.cast(tf.slice(features["input_mask"], [0, 0], [-1, 1]), tf.float32)
    is_example = tf.reshape(is_example, [-1])  # [B]
    weights = tf.reshape(features["masked_lm_weights"], [-1])
    sentence_labels = tf.reshape(features["next_sentence_labels"], [-1])
    return {
        "masked_lm_accuracy": tf.metrics.accuracy(
            tf.reshape(features["masked_lm_ids"], [-1]),
            tf.argmax(mlm.logits, axis=-1, output_type=tf.int32),
            weights=weights,
        ),
        "masked_lm_loss": tf.metrics.mean(mlm.per_token_loss, weights=weights),
        "next_sentence_accuracy": tf.metrics.accuracy(
            sentence_labels,
            tf.argmax(nsp.logits, axis=-1, output_type=tf.int32),
            weights=is_example,
        ),
        "next_sentence_loss": tf.metrics.mean(nsp.per_example_loss, weights=is_example),
    }
