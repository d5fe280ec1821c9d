"""Measures data preparation against a plain single-process path, on the same text in the same run.

The plain path is tests/unit/data/plain_reference.py, which works token by token with
`random.Random`, and writes with TensorFlow's own Example and TFRecordWriter, as the reference
implementation does. Its start-up (importing TensorFlow) is not counted; ours is.

    tests/perf/data_preparation [--megabytes 2] [--repeats 3] [--text FILE --vocab_file FILE]
    tests/perf/data_preparation --memory --megabytes 1000     peak memory of the fast mode
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import List, Tuple

import psutil
from tabulate import tabulate

from bert.data.learn_vocabulary import (
    VocabularyOptions,
    count_words,
    learn_pieces,
    write_vocabulary,
)
from bert.data.synthetic_language import build_document, build_lexicon
from bert.data.text_files import TextReader
from bert.data.tokenization import TokenizerOptions
from bert.data.vocabulary import read_vocabulary
from tests.unit.data import plain_reference

DUPE_FACTOR = 5  # of the rates; memory is measured with one pass, to keep it short
SEQ_LENGTH, MAX_PREDICTIONS, RANDOM_SEED = 128, 20, 12345
# Each made-up language has about 3,000 words; several together have as many as English text.
N_LANGUAGES = 8
DOCUMENTS_AT_ONCE = 500
SAMPLE_SECONDS = 0.1


def write_text(path: str, megabytes: float) -> None:
    """Writes synthetic English-like documents of several vocabularies."""
    lexica = [build_lexicon("en", seed) for seed in range(N_LANGUAGES)]
    with open(path, "w", encoding="utf-8") as stream:
        i = 0
        while stream.tell() < megabytes * 1e6:
            seed = i % N_LANGUAGES
            document = build_document("en", lexica[seed], seed, i)
            stream.write("\n".join(document) + "\n\n")
            i += 1


def run_plain(text_path: str, vocab_path: str, output: str) -> Tuple[int, float]:
    """Runs the plain path; returns instances and seconds."""
    import tensorflow.compat.v1 as tf

    started_seconds = time.perf_counter()
    ids = read_vocabulary(vocab_path).ids
    with open(text_path, encoding="utf-8", newline="\n") as stream:
        text = stream.read()
    documents = plain_reference.read_documents(
        text, lambda line: plain_reference.tokenize(line, ids)
    )
    instances = plain_reference.create_instances(
        documents, ids, RANDOM_SEED, SEQ_LENGTH, MAX_PREDICTIONS, dupe_factor=DUPE_FACTOR
    )
    with tf.io.TFRecordWriter(output) as writer:
        for instance in instances:
            features = plain_reference.features(instance, ids, SEQ_LENGTH, MAX_PREDICTIONS)
            writer.write(build_example(tf, features).SerializeToString())
    return len(instances), time.perf_counter() - started_seconds


def build_example(tf, features):
    """Builds the message as the reference implementation does, a Feature at a time."""
    lists = {}
    for name, values in features.items():
        if name == "masked_lm_weights":
            lists[name] = tf.train.Feature(float_list=tf.train.FloatList(value=values))
        else:
            lists[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Example(features=tf.train.Features(feature=lists))


def run_command(
    text_path: str, vocab_path: str, output: str, flags: List[str]
) -> Tuple[int, float, int]:
    """Runs create_pretraining_data; returns instances, seconds and peak bytes of all processes."""
    command = [sys.executable, "-m", "bert.data.create_pretraining_data"]
    command += [f"--input_file={text_path}", f"--vocab_file={vocab_path}"]
    command += [f"--output_file={output}", f"--dupe_factor={DUPE_FACTOR}", *flags]
    started_seconds = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    peak_bytes = 0
    while True:
        try:
            out, _ = process.communicate(timeout=SAMPLE_SECONDS)
            break
        except subprocess.TimeoutExpired:
            peak_bytes = max(peak_bytes, measure_memory_bytes(process.pid))
    seconds = time.perf_counter() - started_seconds
    if process.returncode:
        raise SystemExit(f"create_pretraining_data failed with {process.returncode}")
    return int(re.match(rb"(\d+) instances", out).group(1)), seconds, peak_bytes


def measure_memory_bytes(pid: int) -> int:
    """Proportional set size of a process and its children."""
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in [parent, *parent.children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.Error:
        pass  # it has just ended
    return total


def measure_modes(text_path: str, vocab_path: str, directory: str, repeats: int) -> str:
    """Runs the plain path and every mode in turns; returns a table of medians."""
    modes = {
        "exact": ["--algorithm=reference"],
        "exact, library tokenizer": ["--algorithm=reference", "--tokenizer=library"],
        "exact, whole words": ["--algorithm=reference", "--do_whole_word_mask"],
        "fast, 1 worker": ["--workers=1"],
        "fast, 2 workers": ["--workers=2"],
        "fast, 2 workers, library tokenizer": ["--workers=2", "--tokenizer=library"],
    }
    output = os.path.join(directory, "out.tfrecord")
    rates: dict = {"plain": []}
    for _ in range(repeats):
        n, seconds = run_plain(text_path, vocab_path, output)
        rates["plain"].append(n / seconds)
        for mode, flags in modes.items():
            n, seconds, _ = run_command(text_path, vocab_path, output, flags)
            rates.setdefault(mode, []).append(n / seconds)
    plain = statistics.median(rates["plain"])
    rows = [
        (mode, round(statistics.median(values)), round(min(values)), round(max(values)))
        + (f"{statistics.median(values) / plain:.1f}",)
        for mode, values in rates.items()
    ]
    headers = ["mode", "instances/s (median)", "lowest", "highest", "times plain"]
    return tabulate(rows, headers=headers, tablefmt="github")


def main() -> None:
    """Prints the table, or the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=float, default=2.0, help="size of the synthetic text")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--text", help="use this text instead")
    parser.add_argument("--vocab_file", help="use this vocabulary instead")
    parser.add_argument("--memory", action="store_true", help="measure peak memory of fast mode")
    parser.add_argument("--directory", help="for temporary files, else the system's")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=flags.directory) as directory:
        text_path, vocab_path = flags.text, flags.vocab_file
        if text_path is None:
            text_path = os.path.join(directory, "text.txt")
            write_text(text_path, flags.megabytes)
        if vocab_path is None:
            sample = os.path.join(directory, "sample.txt")
            with open(text_path, "rb") as source, open(sample, "wb") as target:
                target.write(source.read(2_000_000).rpartition(b"\n")[0])
            vocab_path = os.path.join(directory, "vocab.txt")
            counts = count_words(TextReader([sample]).iterate_lines(), TokenizerOptions())
            write_vocabulary(vocab_path, learn_pieces(counts, VocabularyOptions()))
            print(f"{len(counts)} different words", end=", ")
        print(f"{os.path.getsize(text_path) / 1e6:.1f} MB of text, {os.cpu_count()} cores")
        if not flags.memory:
            print(measure_modes(text_path, vocab_path, directory, flags.repeats))
            return
        output = os.path.join(directory, "out.tfrecord")
        n, seconds, peak_bytes = run_command(
            text_path, vocab_path, output, ["--workers=2", "--dupe_factor=1"]
        )
        print(
            f"fast, 2 workers: {n} instances in {seconds:.0f} s, {n / seconds:.0f} instances/s, "
            f"peak memory of all processes {peak_bytes / 1e6:.0f} MB"
        )


if __name__ == "__main__":
    main()
