"""Measures how many sequences per second the training input delivers.

    tests/perf/input_pipeline [--data DIRECTORY] [--batch_size 128] [--seconds 5]

Without --data, a synthetic corpus of sequence length 128 is made first. The bar is what a host must
feed to 8 Ascend cards at the seed's rate: 8 × 128 × 2.451 = 2,510 sequences/s.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import tensorflow.compat.v1 as tf
from tabulate import tabulate

from bert.data.input_pipeline import build_input_fn, find_record_files
from bert.data.synthetic import SyntheticOptions, write_cached_directory

SEQ_LENGTH, MAX_PREDICTIONS = 128, 20
WANTED_SEQUENCES_PER_SECOND = 8 * 128 * 2.451


def measure(input_fn, batch_size: int, seconds: float) -> float:
    """Returns sequences per second after the shuffle buffer has been filled."""
    with tf.Graph().as_default(), tf.Session() as session:
        iterator = tf.data.make_initializable_iterator(input_fn({}))
        # Fetching a group runs the whole input but copies no tensor to Python, as in training.
        step = tf.group(*iterator.get_next().values())
        session.run(iterator.initializer)
        for _ in range(20):
            session.run(step)
        n_batches = 0
        started_seconds = time.perf_counter()
        while time.perf_counter() - started_seconds < seconds:
            session.run(step)
            n_batches += 1
        return n_batches * batch_size / (time.perf_counter() - started_seconds)


def main() -> None:
    """Prints a table: one rank alone, and one of two ranks that share files or records."""
    tf.logging.set_verbosity(tf.logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="directory of TFRecords")
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--seconds", type=float, default=5.0, help="per row")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        data = flags.data or write_cached_directory(directory, SyntheticOptions()) + "/train"
        files = find_record_files(data)
        rows = []
        for name, chosen, size in (
            ("one rank", files, 1),
            ("one of two ranks, by file", files, 2),
            ("one of two ranks, by record", files[:1], 2),
            ("one of eight ranks, by record", files[:1], 8),
        ):
            input_fn = build_input_fn(
                chosen, flags.batch_size, SEQ_LENGTH, MAX_PREDICTIONS, 0, size, seed=1
            )
            rate = measure(input_fn, flags.batch_size, flags.seconds)
            rows.append((name, round(rate), f"{rate / WANTED_SEQUENCES_PER_SECOND:.1f}"))
    print(tabulate(rows, ["reader", "sequences/s", "times 8 Ascend cards"], tablefmt="github"))


if __name__ == "__main__":
    main()
