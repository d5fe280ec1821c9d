"""Small odd-sized models and batches for the trainer's tests."""

from __future__ import annotations

import json
from typing import Any, Dict, List

import numpy as np
import tensorflow.compat.v1 as tf

from bert.backends.cpu import CpuBackend
from bert.backends.rank import RankEnvironment
from bert.flags import parse_flags
from bert.train_config import TrainConfig, build_train_config
from bert.training.inputs import build_synthetic_batch

# Every size differs from every other, so that swapped axes cannot go unnoticed.
SMALL_MODEL = {
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 37,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 19,
    "type_vocab_size": 2,
    "initializer_range": 0.02,
}
BATCH, LENGTH, PREDICTIONS = 13, 7, 3


def small_flags(directory: Any, **changes: Any) -> List[str]:
    """Returns a command line that trains the small model on synthetic input.

    Args:
        directory: where the configuration and the output go.
        **changes: flags to add or replace.
    """
    path = directory / "model.json"
    path.write_text(json.dumps(SMALL_MODEL), encoding="utf-8")
    flags = {
        "bert_config_file": str(path),
        "output_dir": str(directory / "output"),
        "synthetic_input": True,
        "train_batch_size": BATCH,
        "max_seq_length": LENGTH,
        "max_predictions_per_seq": PREDICTIONS,
        "num_train_steps": 4,
        "num_warmup_steps": 0,
        "iterations_per_loop": 2,
        "connect_timeout_seconds": 60,
    }
    flags.update(changes)
    return [f"--{name}={value}" for name, value in flags.items() if value is not None]


def small_config(directory: Any, **changes: Any) -> TrainConfig:
    """Returns the configuration of `small_flags` for a single rank."""
    return build_train_config(parse_flags(small_flags(directory, **changes)), RankEnvironment())


def small_backend(config: TrainConfig) -> CpuBackend:
    """Returns the CPU backend of a single rank."""
    return CpuBackend(config, RankEnvironment())


def small_batch(config: TrainConfig, seed: int = 5) -> Dict[str, np.ndarray]:
    """Returns one batch of the configuration's training shape."""
    random = np.random.RandomState(seed)
    return build_synthetic_batch(config.input, config.bert, config.input.train_batch_size, random)


def as_tensors(batch: Dict[str, np.ndarray]) -> Dict[str, tf.Tensor]:
    """Returns the batch as constants of the default graph."""
    return {name: tf.constant(value) for name, value in batch.items()}


def run_initialized(session: tf.Session, fetches: Any, seed: int = 3) -> Any:
    """Initialises all variables, then runs `fetches`."""
    session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
    return session.run(fetches)
