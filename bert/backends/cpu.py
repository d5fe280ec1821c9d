"""The CPU backend: one rank is one process; several ranks meet in TensorFlow's servers."""

from __future__ import annotations

import os
from typing import Any, Callable, List, Optional

import tensorflow.compat.v1 as tf

from bert.backends.base import Backend
from bert.backends.collectives import BroadcastHook, CollectiveOptimizer, run_barrier
from bert.backends.cpu_memory import keep_freed_memory
from bert.backends.ops import (
    Ops,
    dense_gather,
    fused_gelu,
    host_product,
    plain_dropout,
    plain_gather,
    plain_gelu,
)
from bert.backends.peers import PeerWatch, find_gone_peer
from bert.backends.row_transpose import gather_transpose
from bert.backends.session_config import build_local_session_config
from bert.backends.step_dropout import StepDropout
from bert.backends.vocabulary_loss import fused_vocabulary_loss
from bert.errors import UnavailableError, UsageError
from bert.optimization.loss_scale import LossScale, LossScaleOptimizer
from bert.train_config import LossScaleConfig

_LEADER = "/job:worker/replica:0/task:0"


class RankRunConfig(tf.estimator.RunConfig):
    """A run configuration whose session runs on a given server.

    TensorFlow's own takes the master from TF_CONFIG, and then wants a chief and parameter
    servers; here every rank is the chief of its own variables.
    """

    def __init__(self, target: str, **kwargs: Any) -> None:
        self._target = target
        super().__init__(**kwargs)

    @property
    def master(self) -> str:
        """Session target, empty for a session inside this process."""
        return self._target


class CpuBackend(Backend):
    """TensorFlow's CPU device; ranks are averaged over loopback or network by gRPC."""

    name = "cpu"

    def __init__(self, config: Any, rank: Any) -> None:
        super().__init__(config, rank)
        self._server: Optional[tf.train.Server] = None
        self._watch = PeerWatch(self.rank.workers, self.rank.rank_id)

    def check(self) -> None:
        """Raises UsageError if several ranks have no addresses to meet at."""
        if self.rank.rank_size > 1 and not self.rank.workers:
            raise UsageError(
                f"environment RANK_SIZE={self.rank.rank_size} on the cpu backend needs TF_CONFIG "
                "with the host:port of every rank"
            )

    def start(self) -> None:
        """Starts this rank's server, if it has peers to meet there."""
        # Consumed here: tf.estimator would read it too, and refuse a cluster without a chief.
        os.environ.pop("TF_CONFIG", None)
        keep_freed_memory()
        if self.config.use_xla:
            # Without this XLA leaves operators on a CPU alone, whatever the session asks for.
            flags = os.environ.get("TF_XLA_FLAGS", "")
            os.environ["TF_XLA_FLAGS"] = f"{flags} --tf_xla_cpu_global_jit".strip()
        if self.rank.rank_size == 1:
            return
        try:
            self._server = tf.train.Server(
                tf.train.ClusterSpec({"worker": list(self.rank.workers)}),
                job_name="worker",
                task_index=self.rank.rank_id,
                config=self._build_session_config(),
            )
        except tf.errors.OpError as error:
            address = self.rank.workers[self.rank.rank_id]
            raise UnavailableError(
                f"rank {self.rank.rank_id} cannot listen at {address}: {error.message}; "
                "another process may hold the port"
            ) from error

    def finish(self) -> None:
        """Waits until every rank has done its last step."""
        if self._server is not None:
            self._watch.stop()
            run_barrier(
                self._server.target,
                self._build_session_config(),
                self.rank,
                lambda: find_gone_peer(self.rank.workers, self.rank.rank_id) is not None,
            )

    def build_ops(self, batch_number: Optional[tf.Tensor] = None) -> Ops:
        """Returns operators with closed-form or dense gradients, unless flags ask for plain."""
        dropout = plain_dropout
        if batch_number is not None:
            # Each rank drops other elements.
            seed = self.config.random_seed * self.rank.rank_size + self.rank.rank_id
            dropout = StepDropout(seed, batch_number)
        return Ops(
            gelu=fused_gelu if self.config.fused_gelu else plain_gelu,
            dropout=dropout,
            gather=dense_gather if self.config.dense_gather else plain_gather,
            transpose=gather_transpose,
            vocabulary_loss=fused_vocabulary_loss,
            product=host_product,
        )

    def average_gradients(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        """Averages by one all-reduce of all gradients; nothing to do for a single rank."""
        if self.rank.rank_size == 1:
            return optimizer
        return CollectiveOptimizer(optimizer, self.rank)

    def build_loss_scale(self, config: LossScaleConfig) -> LossScale:
        """Returns a loss scale of plain TensorFlow variables."""
        return LossScale(config)

    def scale_loss(
        self, optimizer: tf.train.Optimizer, loss_scale: LossScale
    ) -> tf.train.Optimizer:
        """Scales by plain TensorFlow operators."""
        return LossScaleOptimizer(optimizer, loss_scale)

    def build_hooks(self) -> List[tf.train.SessionRunHook]:
        """Returns the broadcast of all variables, when there is anyone to send them to."""
        if self.rank.rank_size == 1:
            return []
        return [BroadcastHook(self.rank, self.config.connect_timeout_seconds, self._watch.start)]

    def build_train_estimator(self, model_fn: Callable[..., Any]) -> tf.estimator.Estimator:
        """Returns the estimator of this rank; only rank 0 gets a directory that it may use."""
        saves = self.saves
        config = RankRunConfig(
            target="" if self._server is None else self._server.target,
            model_dir=self.config.output_dir if saves else self.unused_directory,
            # Each rank drops other elements; initial values are those of rank 0 all the same.
            tf_random_seed=self.config.random_seed + self.rank.rank_id,
            session_config=self._build_session_config(),
            save_checkpoints_steps=(self.config.save_checkpoints_steps or None) if saves else None,
            save_checkpoints_secs=None,
            keep_checkpoint_max=self.config.keep_checkpoint_max,
            save_summary_steps=self.config.save_summary_steps if saves else 0,
            # The model function brings its own hooks for both log lines.
            log_step_count_steps=None,
        )
        return tf.estimator.Estimator(model_fn, config=config)

    def build_eval_estimator(self, model_fn: Callable[..., Any]) -> tf.estimator.Estimator:
        """Returns an estimator on a session of this process, out of the cluster."""
        config = RankRunConfig(
            target="",
            model_dir=self.config.output_dir,
            tf_random_seed=self.config.random_seed,
            session_config=build_local_session_config(self.config),
        )
        return tf.estimator.Estimator(model_fn, config=config)

    def _build_session_config(self) -> tf.ConfigProto:
        session_config = build_local_session_config(self.config)
        if self.rank.rank_size > 1:
            # A session must not wait for the devices of its peers, only its collectives do.
            session_config.device_filters.append(f"/job:worker/task:{self.rank.rank_id}")
            session_config.experimental.collective_group_leader = _LEADER
        return session_config
