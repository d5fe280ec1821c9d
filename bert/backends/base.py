"""What a device backend does for the trainer. Model, optimiser and hooks know only this."""

from __future__ import annotations

import abc
import os
from typing import Any, Callable, List, Optional

import tensorflow.compat.v1 as tf

from bert.backends.ops import Ops
from bert.backends.rank import RankEnvironment
from bert.train_config import LossScaleConfig, TrainConfig


class Backend(abc.ABC):
    """One kind of device, seen by one rank.

    The life of a backend: `check` before any graph is built, `start`, then one training by the
    estimator that `build_train_estimator` returns, then `finish`; after it rank 0 may evaluate.
    `config` may be replaced between `check` and `start` by one that differs in numbers of steps.

    Attributes:
        name: the word of --backend.
        config: what the run was asked to do.
        rank: this process among the ranks.
    """

    name = ""

    def __init__(self, config: TrainConfig, rank: RankEnvironment) -> None:
        self.config = config
        self.rank = rank

    @property
    def saves(self) -> bool:
        """Whether this rank writes checkpoints and events; all others write nothing."""
        return self.rank.is_root

    @property
    def unused_directory(self) -> str:
        """A directory that never exists: an estimator wants a name, this rank writes nothing."""
        return os.path.join(self.config.output_dir, f".rank_{self.rank.rank_id}_writes_nothing")

    @property
    def n_steps_per_run(self) -> int:
        """Training steps that one Session.run takes."""
        return 1

    @abc.abstractmethod
    def check(self) -> None:
        """Raises UnavailableError or UsageError if the run cannot work here; costs no graph."""

    @abc.abstractmethod
    def start(self) -> None:
        """Connects this rank; raises UnavailableError if it cannot."""

    @abc.abstractmethod
    def finish(self) -> None:
        """Waits until no rank needs this one any longer."""

    def close(self) -> None:  # noqa: B027
        """Gives the device back, after the last use of this backend in the process."""

    @abc.abstractmethod
    def build_ops(self, batch_number: Optional[tf.Tensor] = None) -> Ops:
        """Returns the operators that one pass through the model is built from.

        Args:
            batch_number: scalar int64, another one for each micro-batch of a training. A backend
                whose dropout can be repeated makes it a function of this number.
        """

    @abc.abstractmethod
    def average_gradients(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        """Wraps an optimiser so that compute_gradients returns the average over ranks."""

    @abc.abstractmethod
    def build_loss_scale(self, config: LossScaleConfig) -> Any:
        """Returns the loss scale that `scale_loss` takes; its `value` is a float32 scalar."""

    @abc.abstractmethod
    def scale_loss(self, optimizer: tf.train.Optimizer, loss_scale: Any) -> tf.train.Optimizer:
        """Wraps an optimiser with loss scaling by what `build_loss_scale` returned."""

    @abc.abstractmethod
    def build_hooks(self) -> List[tf.train.SessionRunHook]:
        """Returns hooks that give every rank all variables of rank 0 before the first step."""

    @abc.abstractmethod
    def build_train_estimator(self, model_fn: Callable[..., Any]) -> tf.estimator.Estimator:
        """Returns the estimator that trains."""

    @abc.abstractmethod
    def build_eval_estimator(self, model_fn: Callable[..., Any]) -> tf.estimator.Estimator:
        """Returns the estimator that evaluates, on this rank alone."""


def build_backend(config: TrainConfig, rank: RankEnvironment) -> Backend:
    """Returns the backend named by `config.backend`; there is no fall-back.

    Raises:
        UnavailableError: if that backend cannot be loaded here.
    """
    from bert.backends import registry

    return registry.load_backend(config.backend)(config, rank)
