"""How a session of this process uses the cores of the host."""

from __future__ import annotations

import os

import tensorflow.compat.v1 as tf

from bert.train_config import TrainConfig


def build_local_session_config(config: TrainConfig) -> tf.ConfigProto:
    """Thread pools as large as the set of cores that this process may run on."""
    n_cores = len(os.sched_getaffinity(0))
    session_config = tf.ConfigProto(
        allow_soft_placement=True,
        intra_op_parallelism_threads=config.n_intra_op_threads or n_cores,
        inter_op_parallelism_threads=config.n_inter_op_threads
        or (1 if config.deterministic else n_cores),
    )
    if config.use_xla:
        session_config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
    return session_config
