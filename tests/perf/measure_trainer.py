"""Measures the trainer on this machine's CPU: sequences per second, and where the time goes.

    tests/perf/trainer [--models bert-tiny:32,bert-base:4] [--seconds 30] [--variants]

Each model trains on random ids in memory, at sequence length 128 with 20 predictions, on all cores
that this process may run on (`taskset -c 0 tests/perf/trainer` for one). Rates are medians over
steps with their quartiles; CPU time is that of all threads, and the better measure on a machine
that others use, too. Shares are operator times of traced steps, by part of the model, medians over
steps; the input's is what reading and decoding a batch from a file costs by itself.

`--variants` runs the ways of training that were measured against each other, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import tempfile
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Sequence

import numpy as np
import tensorflow.compat.v1 as tf
from tabulate import tabulate

from bert.backends.base import build_backend
from bert.backends.cpu import CpuBackend
from bert.backends.cpu_memory import keep_freed_memory
from bert.backends.ops import plain_dropout, plain_gather, plain_gelu
from bert.backends.rank import RankEnvironment
from bert.backends.session_config import build_local_session_config
from bert.backends.vocabulary_loss import VocabularyLoss, plain_vocabulary_loss
from bert.data.examples import encode_framed_examples
from bert.data.input_pipeline import build_input_fn
from bert.flags import parse_flags
from bert.train_config import TrainConfig, build_train_config
from bert.training.inputs import build_synthetic_batch, build_train_input
from bert.training.model_fn import build_model_fn
from tests.perf.trace_parts import PARTS, sum_parts

_LENGTH, _PREDICTIONS = 128, 20
_N_WARM_UP = 3
_N_TRACES = 5


def one_hot_vocabulary_loss(
    x: tf.Tensor, table: tf.Tensor, bias: tf.Tensor, labels: tf.Tensor
) -> VocabularyLoss:
    """The cross entropy as the published formula stands: Σ onehot · log softmax."""
    logits = tf.nn.bias_add(tf.matmul(x, table, transpose_b=True), bias)
    one_hot = tf.one_hot(labels, depth=bias.shape[0].value)
    loss = -tf.reduce_sum(one_hot * tf.nn.log_softmax(logits), axis=-1)
    return VocabularyLoss(loss, logits)


_TEXTBOOK = {
    "vocabulary_loss": one_hot_vocabulary_loss,
    "dropout": plain_dropout,
    "gather": plain_gather,
    "gelu": plain_gelu,
    "product": tf.matmul,
}

# Name → (flags, operators that take the place of the backend's).
VARIANTS: Dict[str, Any] = {
    "as it is": ((), {}),
    "formulas as published": ((), _TEXTBOOK),
    "vocabulary head by TensorFlow": ((), {"vocabulary_loss": plain_vocabulary_loss}),
    "dropout by TensorFlow": ((), {"dropout": plain_dropout}),
    "products by TensorFlow": ((), {"product": tf.matmul}),
    "GELU by TensorFlow": ((), {"gelu": plain_gelu}),
    "sparse lookup gradient": ((), {"gather": plain_gather}),
    "one operator at a time": (("--deterministic",), {}),
    "XLA": (("--use_xla",), {}),
}


class Step(NamedTuple):
    """A training step that can be run again and again."""

    session: tf.Session
    operation: tf.Operation

    def __call__(self, **options: Any) -> None:
        """Runs it once."""
        self.session.run(self.operation, **options)


class Times(NamedTuple):
    """Wall-clock and CPU seconds of each step."""

    wall_seconds: List[float]
    cpu_seconds: List[float]


def build_config(model: str, batch_size: int, *flags: str) -> TrainConfig:
    """Returns the configuration of a training on random ids."""
    words = [
        f"--bert_config_file={model}",
        f"--train_batch_size={batch_size}",
        f"--max_seq_length={_LENGTH}",
        f"--max_predictions_per_seq={_PREDICTIONS}",
        "--synthetic_input",
        "--output_dir=unused",
        *flags,
    ]
    return build_train_config(parse_flags(words), RankEnvironment())


@contextlib.contextmanager
def replaced_operators(operators: Dict[str, Any]) -> Iterator[None]:
    """Makes the backend bring other operators."""
    build_ops: Callable[..., Any] = CpuBackend.build_ops
    CpuBackend.build_ops = lambda self, *args: build_ops(self, *args)._replace(**operators)
    try:
        yield
    finally:
        CpuBackend.build_ops = build_ops


def build_step(config: TrainConfig) -> Step:
    """Builds the graph that the trainer builds, and initialises it."""
    with tf.Graph().as_default() as graph:
        tf.set_random_seed(config.random_seed)
        tf.train.create_global_step()
        input_fn = build_train_input(config, RankEnvironment())
        features = input_fn({}).make_one_shot_iterator().get_next()
        backend = build_backend(config, RankEnvironment())
        spec = build_model_fn(config, backend)(features, None, tf.estimator.ModeKeys.TRAIN)
        session = tf.Session(graph=graph, config=build_local_session_config(config))
        session.run(tf.global_variables_initializer())
        return Step(session, spec.train_op)


def measure_in_turns(steps: Dict[str, Step], seconds: float) -> Dict[str, Times]:
    """Runs all steps in turns until the time is over, so that they see the same disturbances."""
    for step in steps.values():
        for _ in range(_N_WARM_UP):
            step()
    times = {name: Times([], []) for name in steps}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(times.values())).wall_seconds) < 3:
        for name, step in steps.items():
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            times[name].wall_seconds.append(time.perf_counter() - wall)
            times[name].cpu_seconds.append(time.process_time() - cpu)
    return times


def trace_shares(step: Step) -> Dict[str, float]:
    """Returns part → share of operator time, the median over traced steps."""
    shares: Dict[str, List[float]] = {part: [] for part in PARTS}
    options = tf.RunOptions(trace_level=tf.RunOptions.SOFTWARE_TRACE)
    for _ in range(_N_TRACES):
        metadata = tf.RunMetadata()
        step(options=options, run_metadata=metadata)
        seconds = sum_parts(metadata.step_stats)
        total = sum(seconds.values())
        for part in PARTS:
            shares[part].append(seconds[part] / total)
    return {part: statistics.median(values) for part, values in shares.items()}


def measure_input_seconds(config: TrainConfig, n_batches: int = 40) -> float:
    """Returns the CPU seconds that reading and decoding one batch from a file takes."""
    wanted = config.input
    random = np.random.RandomState(1)
    batch = build_synthetic_batch(wanted, config.bert, 1000, random)
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "part.tfrecord")
        with open(path, "wb") as stream:
            stream.write(encode_framed_examples(batch).data)
        input_fn = build_input_fn(
            [path], wanted.train_batch_size, _LENGTH, _PREDICTIONS, seed=config.random_seed
        )
        with tf.Graph().as_default(), tf.Session() as session:
            iterator = tf.data.make_initializable_iterator(input_fn({}))
            fetch = tf.group(*iterator.get_next().values())
            session.run(iterator.initializer)
            session.run(fetch)
            started = time.process_time()
            for _ in range(n_batches):
                session.run(fetch)
            return (time.process_time() - started) / n_batches


def quartiles(values: Sequence[float]) -> List[float]:
    """Returns the lower quartile, the median and the upper quartile."""
    return list(np.percentile(values, [25, 50, 75]))


def render_times(times: Dict[str, Times], batch_size: int) -> str:
    """Returns one row per variant: rates, CPU time, and the rate relative to the first."""
    rows = []
    first = next(iter(times.values()))
    for name, measured in times.items():
        low, median, high = quartiles([batch_size / t for t in measured.wall_seconds])
        pairs = zip(first.wall_seconds, measured.wall_seconds)
        cpu_pairs = zip(first.cpu_seconds, measured.cpu_seconds)
        rows.append(
            {
                "": name,
                "sequences/s": f"{median:.1f}",
                "quartiles": f"{low:.1f} - {high:.1f}",
                "best": f"{batch_size / min(measured.wall_seconds):.1f}",
                "CPU s/step": f"{statistics.median(measured.cpu_seconds):.3f}",
                "speed": f"{statistics.median(a / b for a, b in pairs):.2f}",
                "speed by CPU time": f"{statistics.median(a / b for a, b in cpu_pairs):.2f}",
                "steps": len(measured.wall_seconds),
            }
        )
    return tabulate(rows, headers="keys", disable_numparse=True)


def render_shares(shares: Dict[str, float], input_seconds: float, step_seconds: float) -> str:
    """Returns one row per part, the largest first, and the input's from its own measurement."""
    rows = sorted(shares.items(), key=lambda item: -item[1])
    lines = [f"  {share:6.1%}  {part}" for part, share in rows if part != "input"]
    lines.append(
        f"  {input_seconds / step_seconds:6.1%}  input: {1e3 * input_seconds:.2f} ms of CPU per "
        "batch from a file, by itself, relative to the step"
    )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    tf.logging.set_verbosity(tf.logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="bert-tiny:32,bert-base:4", help="preset:batch,…")
    parser.add_argument("--seconds", type=float, default=30.0, help="per model")
    parser.add_argument("--variants", action="store_true", help="compare ways of training")
    flags = parser.parse_args()
    os.environ["TF_XLA_FLAGS"] = "--tf_xla_cpu_global_jit"
    keep_freed_memory()
    print(
        f"{len(os.sched_getaffinity(0))} core(s), load {os.getloadavg()[0]:.1f} before", flush=True
    )
    for word in flags.models.split(","):
        model, batch_size = word.split(":")
        chosen = VARIANTS if flags.variants else {"as it is": VARIANTS["as it is"]}
        steps = {}
        for name, (words, operators) in chosen.items():
            with replaced_operators(operators):
                steps[name] = build_step(build_config(model, int(batch_size), *words))
        times = measure_in_turns(steps, flags.seconds)
        print(f"\n{model}, batch {batch_size}, sequence length {_LENGTH}")
        print(render_times(times, int(batch_size)))
        if not flags.variants:
            config = build_config(model, int(batch_size))
            shares = trace_shares(steps["as it is"])
            cpu_seconds = statistics.median(times["as it is"].cpu_seconds)
            print(f"share of operator time, {_N_TRACES} traced steps:")
            print(render_shares(shares, measure_input_seconds(config), cpu_seconds), flush=True)


if __name__ == "__main__":
    main()
