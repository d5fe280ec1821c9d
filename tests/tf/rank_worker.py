"""One rank of a test run: trains on its rows of a fixed global batch, then dumps all variables.

    python -m tests.tf.rank_worker OUTPUT.npz FLAGS

The rows of a global batch of RANK_SIZE · train_batch_size sequences are dealt out in rank order,
so one rank with twice the batch sees exactly what two ranks see together. Every row carries the
same number of predictions: the masked-word loss is a mean over the predictions of a rank, and
the mean over ranks is the mean over all only if all ranks have equally many.

With OVERFLOW=r:k in the environment the masked-word loss of rank r is infinite in its k-th step.
"""

from __future__ import annotations

import itertools
import os
import sys
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import numpy as np
    import tensorflow.compat.v1 as tf

from bert import pretrain
from bert.backends import cpu
from bert.command import exit_process
from bert.training import inputs, model_fn, run


class DumpHook(tf.train.SessionRunHook):
    """Writes every global variable to an .npz when training ends."""

    def __init__(self, path):
        self._path = path

    def begin(self):
        self._variables = {v.op.name: v for v in tf.global_variables()}

    def end(self, session):
        np.savez(self._path, **session.run(self._variables))


def deal_out(config, rank, start_batch=0):
    """An input of one batch, for ever: this rank's rows of the global batch."""
    wanted, n_rows = config.input, config.input.n_sequences_per_step
    # The number of rows of the whole does not depend on how many ranks share it.
    random = np.random.RandomState(17)
    whole = inputs.build_synthetic_batch(wanted, config.bert, n_rows * rank.rank_size, random)
    mine = {
        name: value[rank.rank_id * n_rows : (rank.rank_id + 1) * n_rows]
        for name, value in whole.items()
    }
    mine["factor"] = np.ones([n_rows, 1], np.float32)
    forced_rank, _, forced_step = os.environ.get("OVERFLOW", "").partition(":")

    def generate():
        for step in itertools.count(1):
            if forced_step and (rank.rank_id, step) == (int(forced_rank), int(forced_step)):
                yield dict(mine, factor=np.full([n_rows, 1], np.inf, np.float32))
            else:
                yield mine

    types = {name: value.dtype for name, value in mine.items()}
    shapes = {name: value.shape for name, value in mine.items()}
    return lambda params=None: tf.data.Dataset.from_generator(generate, types, shapes)


def build_heads(features, *args):
    """The trainer's own, the masked-word loss times the factor that comes with the data."""
    mlm, nsp = BUILD_HEADS(features, *args)
    return mlm._replace(loss=mlm.loss * tf.reduce_max(features["factor"])), nsp


BUILD_HEADS = model_fn.build_heads


def main():
    path = sys.argv[1]
    build_hooks = cpu.CpuBackend.build_hooks
    cpu.CpuBackend.build_hooks = lambda self: [*build_hooks(self), DumpHook(path)]
    run.build_train_input = deal_out
    model_fn.build_heads = build_heads
    return pretrain.main(sys.argv[2:])


if __name__ == "__main__":
    exit_process(main())
