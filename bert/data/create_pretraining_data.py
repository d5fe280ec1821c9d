"""Turns text into the TFRecords that BERT is pre-trained on.

    python -m bert.data.create_pretraining_data --vocab_file vocab.txt \\
        --input_file 'wiki/*.txt' --output_file wiki.tfrecord

Text: one sentence per line, an empty line between documents; plain, .gz or .zst. `--algorithm fast`
(the default) is parallel, has bounded memory and can be resumed; `--algorithm reference` gives the
very instances of the public implementation. Both have the same distribution.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from tqdm import tqdm

from bert.data.atomic import atomic_file
from bert.data.blocks import InstanceOptions, check_instance_options
from bert.data.commands import ArgumentParser, run_command
from bert.data.documents import (
    build_tokenized_documents,
    check_has_documents,
    iterate_blocks,
    iterate_documents,
)
from bert.data.examples import encode_framed_examples
from bert.data.library_tokenizer import build_encoder
from bert.data.masking import build_masking_table
from bert.data.part_workers import PartSettings, make_parts
from bert.data.parts import Part, count_instances, merge_parts, sum_counts
from bert.data.record_outputs import check_output_paths, open_record_outputs
from bert.data.reference import iterate_reference_batches
from bert.data.text_files import TextReader, compute_sha256, find_text_files
from bert.data.tokenization import TokenizerOptions, check_tokenizer_options
from bert.data.vocabulary import CLASSIFY, MASK, SEPARATE, check_special_tokens, read_vocabulary
from bert.errors import DataError, UsageError

# Raise it when the same flags and text give other records.
ALGORITHM_VERSION = 1
MANIFEST_NAME = "manifest.json"
DEFAULT_BLOCK_CHARS = 1 << 20
MIN_BLOCK_CHARS = 1 << 10


class CreateOptions(NamedTuple):
    """Everything that the records depend on, and where they go.

    Attributes:
        input_patterns: text files, glob patterns, directories.
        output_files: records are dealt to them in turn.
        vocab_file: the vocabulary.
        algorithm: "fast" or "reference".
        tokenizer: see TokenizerOptions.
        use_library: tokenize by the library where it is proven equal; the records do not depend
            on it.
        instances: see InstanceOptions.
        block_chars: fast mode: characters of a block, the unit of work and the pool that random
            next segments are drawn from. Another size gives other records.
        workers: fast mode: processes; the records do not depend on it.
    """

    input_patterns: Tuple[str, ...]
    output_files: Tuple[str, ...]
    vocab_file: str
    algorithm: str = "fast"
    tokenizer: TokenizerOptions = TokenizerOptions()
    use_library: bool = False
    instances: InstanceOptions = InstanceOptions()
    block_chars: int = DEFAULT_BLOCK_CHARS
    workers: int = 1


def create_pretraining_data(options: CreateOptions) -> Dict[str, Any]:
    """Makes the record files and their manifest.

    Returns:
        The manifest.

    Raises:
        UsageError: an option cannot work.
        DataError: an input or the vocabulary is unusable, or the text is empty.
        OutputError: an output cannot be written.
    """
    _check_options(options)
    inputs = find_text_files(options.input_patterns)
    check_output_paths(options.output_files, inputs)
    vocabulary = read_vocabulary(options.vocab_file)
    check_special_tokens(vocabulary, (CLASSIFY, SEPARATE, MASK))
    parameters = build_parameters(options)
    reader = TextReader(inputs)
    create = _create_reference if options.algorithm == "reference" else _create_fast
    counts, outputs = create(options, reader, parameters)
    manifest = {
        "tool": "bert.data.create_pretraining_data",
        "parameters": parameters,
        "counts": counts,
        "inputs": reader.files,
        "outputs": outputs,
    }
    _write_manifest(options.output_files, manifest)
    return manifest


def build_parameters(options: CreateOptions) -> Dict[str, Any]:
    """Returns everything but the text that the records depend on, as the manifest has it."""
    parameters: Dict[str, Any] = {
        "algorithm_version": ALGORITHM_VERSION,
        "algorithm": options.algorithm,
        "vocabulary": {
            "path": options.vocab_file,
            "sha256": compute_sha256(options.vocab_file),
        },
        "tokenizer": dict(options.tokenizer._asdict()),
        "instances": dict(options.instances._asdict()),
    }
    if options.algorithm == "fast":
        parameters["block_chars"] = options.block_chars
    return parameters


def _create_reference(
    options: CreateOptions, reader: TextReader, parameters: Dict[str, Any]
) -> Tuple[Dict[str, int], List[Dict[str, Any]]]:
    vocabulary = read_vocabulary(options.vocab_file)
    encode = build_encoder(vocabulary, options.tokenizer, options.use_library)
    documents = build_tokenized_documents(iterate_documents(reader.iterate_lines()), encode)
    check_has_documents(documents, ", ".join(options.input_patterns))
    counts = {
        "documents": documents.n_documents,
        "sentences": len(documents.sentence_starts) - 1,
        "tokens": len(documents.tokens),
        "instances": 0,
        "random_next": 0,
        "masked_tokens": 0,
    }
    table = build_masking_table(vocabulary.ids, size=vocabulary.size)
    with open_record_outputs(options.output_files) as outputs:
        for features in iterate_reference_batches(documents, table, options.instances):
            outputs.write(encode_framed_examples(features))
            count_instances(counts, features)
    return counts, outputs.describe()


def _create_fast(
    options: CreateOptions, reader: TextReader, parameters: Dict[str, Any]
) -> Tuple[Dict[str, int], List[Dict[str, Any]]]:
    blocks = iterate_blocks(
        iterate_documents(reader.iterate_lines(), max_chars=options.block_chars),
        options.block_chars,
    )
    identity = json.dumps({**parameters, "vocabulary": parameters["vocabulary"]["sha256"]})
    with _working_directory(options.output_files[0]) as directory, _progress(reader) as report:
        settings = PartSettings(
            options.vocab_file,
            options.tokenizer,
            options.use_library,
            options.instances,
            directory,
        )
        parts = make_parts(blocks, settings, identity, options.workers, report)
        counts = sum_counts(parts)
        if not counts.get("documents"):
            raise DataError(
                f"{', '.join(options.input_patterns)}: no text; one sentence per line, an empty "
                "line between documents"
            )
        with open_record_outputs(options.output_files) as outputs:
            merge_parts(parts, outputs)
        shutil.rmtree(directory)
    return counts, outputs.describe()


@contextlib.contextmanager
def _working_directory(first_output: str) -> Iterator[str]:
    """Yields the directory of the parts, beside the first output; it stays when a run fails.

    Raises:
        UsageError: another run is at work on the same output.
    """
    directory, name = os.path.split(first_output)
    path = os.path.join(directory, f".{name}.parts")
    os.makedirs(path, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"another run is writing {first_output}; wait for it, or name another output"
            ) from None
        yield path
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _progress(reader: TextReader) -> Iterator[Any]:
    """Shows on a terminal how far the text has been read and how many instances are there."""
    total = sum(os.path.getsize(path) for path in reader.paths)
    n_instances = 0
    with tqdm(total=total, unit="B", unit_scale=True, disable=None, file=sys.stderr) as bar:

        def report(part: Part) -> None:
            nonlocal n_instances
            n_instances += part.counts["instances"]
            bar.set_postfix(instances=n_instances, refresh=False)
            bar.update(reader.n_bytes - bar.n)

        yield report


def _write_manifest(outputs: Sequence[str], manifest: Dict[str, Any]) -> None:
    with atomic_file(_choose_manifest_path(outputs), "w", encoding="utf-8") as stream:
        json.dump(manifest, stream, indent=2, ensure_ascii=False)
        stream.write("\n")


def _choose_manifest_path(outputs: Sequence[str]) -> str:
    """`manifest.json` beside the first output, unless that one is of other outputs."""
    path = os.path.join(os.path.dirname(outputs[0]), MANIFEST_NAME)
    try:
        with open(path, encoding="utf-8") as stream:
            listed = {entry["path"] for entry in json.load(stream)["outputs"]}
    except (OSError, ValueError, KeyError, TypeError):
        return path
    if listed & set(outputs):
        return path
    stem = os.path.splitext(os.path.basename(outputs[0]))[0]
    return os.path.join(os.path.dirname(outputs[0]), f"manifest-{stem}.json")


def _check_options(options: CreateOptions) -> None:
    check_instance_options(options.instances)
    check_tokenizer_options(options.tokenizer)
    if options.algorithm not in ("fast", "reference"):
        raise UsageError(f"algorithm must be fast or reference, not {options.algorithm}")
    if options.workers < 1:
        raise UsageError(f"workers must be at least 1: {options.workers}")
    if options.block_chars < MIN_BLOCK_CHARS:
        raise UsageError(f"block_chars must be at least {MIN_BLOCK_CHARS}: {options.block_chars}")


def expand_output_names(names: str, n_files: int) -> Tuple[str, ...]:
    """Returns the output files: the comma-separated names, or one name numbered `n_files` times.

    Raises:
        UsageError: a number is asked for together with several names, or is below 1.
    """
    paths = tuple(name.strip() for name in names.split(",") if name.strip())
    if n_files == 1:
        return paths
    if n_files < 1 or len(paths) != 1:
        raise UsageError("num_output_files goes with one --output_file, and must be at least 1")
    stem, suffix = os.path.splitext(paths[0])
    return tuple(f"{stem}-{i:05d}-of-{n_files:05d}{suffix}" for i in range(n_files))


def build_parser() -> argparse.ArgumentParser:
    """Builds the command line: the flags of the reference implementation, and ours."""
    instances, tokenizer = InstanceOptions(), TokenizerOptions()
    parser = ArgumentParser(
        prog="python -m bert.data.create_pretraining_data", description=__doc__.split("\n")[0]
    )
    add = parser.add_argument
    add("--input_file", required=True, help="text files, glob patterns, directories; by comma")
    add("--output_file", required=True, help="TFRecord files; by comma")
    add("--vocab_file", required=True, help="vocabulary, one token per line")
    parser.add_boolean("do_lower_case", tokenizer.do_lower_case, "lower-case, strip accents")
    parser.add_boolean("do_whole_word_mask", instances.whole_words, "mask all pieces of a word")
    add("--max_seq_length", type=int, default=instances.seq_length, help="tokens per instance")
    add(
        "--max_predictions_per_seq",
        type=int,
        default=instances.max_predictions,
        help="masked tokens per instance, at most",
    )
    add("--random_seed", type=int, default=instances.random_seed, help="seed of all draws")
    add("--dupe_factor", type=int, default=instances.dupe_factor, help="passes over the text")
    add("--masked_lm_prob", type=float, default=instances.masked_lm_prob, help="masked share")
    add(
        "--short_seq_prob",
        type=float,
        default=instances.short_seq_prob,
        help="share of document passes with a shorter target",
    )
    add("--algorithm", default="fast", help="fast or reference (instance for instance)")
    add("--tokenizer", default="python", help="python or library; the same tokens")
    add("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes (fast)")
    add("--block_chars", type=int, default=DEFAULT_BLOCK_CHARS, help="unit of work (fast)")
    add("--num_output_files", type=int, default=1, help="number one --output_file this often")
    add(
        "--control_characters",
        default=tokenizer.control_characters,
        help="dropped: format (Cc, Cf; as the public BERT) or all (every C*)",
    )
    add(
        "--max_word_chars",
        type=int,
        default=tokenizer.max_word_chars,
        help="longer words are [UNK]; 100 in some trees",
    )
    return parser


def main(arguments: List[str]) -> int:
    """Makes the files; prints what was made."""
    flags = build_parser().parse_args(arguments)
    if flags.tokenizer not in ("python", "library"):
        raise UsageError(f"tokenizer must be python or library, not {flags.tokenizer}")
    options = CreateOptions(
        input_patterns=tuple(p.strip() for p in flags.input_file.split(",") if p.strip()),
        output_files=expand_output_names(flags.output_file, flags.num_output_files),
        vocab_file=flags.vocab_file,
        algorithm=flags.algorithm,
        tokenizer=TokenizerOptions(
            flags.do_lower_case, flags.control_characters, flags.max_word_chars
        ),
        use_library=flags.tokenizer == "library",
        instances=InstanceOptions(
            seq_length=flags.max_seq_length,
            max_predictions=flags.max_predictions_per_seq,
            masked_lm_prob=flags.masked_lm_prob,
            short_seq_prob=flags.short_seq_prob,
            dupe_factor=flags.dupe_factor,
            whole_words=flags.do_whole_word_mask,
            random_seed=flags.random_seed,
        ),
        block_chars=flags.block_chars,
        workers=flags.workers,
    )
    started_seconds = time.monotonic()
    manifest = create_pretraining_data(options)
    seconds = time.monotonic() - started_seconds
    counts = manifest["counts"]
    print(
        f"{counts['instances']} instances of {counts['documents']} documents in "
        f"{len(manifest['outputs'])} file(s), {seconds:.1f} s, "
        f"{counts['instances'] / seconds:.0f} instances/s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
