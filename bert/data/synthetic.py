"""Makes pre-training data out of nothing: a synthetic corpus, its vocabulary and its TFRecords.

    python -m bert.data.synthetic --output_dir DIR [--language en|zh] [--documents N] …
    python -m bert.data.synthetic --cache_dir DIR …      prints the directory it made or found

The directory holds `corpus.txt`, `corpus_eval.txt` (other documents), `vocab.txt`,
`train/*.tfrecord`, `eval/*.tfrecord` and `manifest.json`. It appears under its name when it is
whole; its name in a cache is derived from everything its content depends on, so two at once, or one
interrupted, do no harm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from typing import Any, Dict, Iterable, List, NamedTuple

import numpy as np

from bert.data.atomic import atomic_directory
from bert.data.blocks import InstanceOptions, check_instance_options, iterate_block_batches
from bert.data.commands import ArgumentParser, run_command
from bert.data.documents import build_tokenized_documents
from bert.data.examples import encode_framed_examples
from bert.data.learn_vocabulary import (
    VocabularyOptions,
    count_words,
    learn_pieces,
    write_vocabulary,
)
from bert.data.masking import build_masking_table
from bert.data.record_outputs import open_record_outputs
from bert.data.schema import MASKED_LM_IDS, MASKED_LM_WEIGHTS, NEXT_SENTENCE_LABELS
from bert.data.synthetic_language import (
    LANGUAGE_VERSION,
    LANGUAGES,
    build_document,
    build_lexicon,
)
from bert.data.tokenization import Tokenizer, TokenizerOptions
from bert.data.vocabulary import Vocabulary, build_vocabulary
from bert.errors import UsageError

# Raise it when the same parameters give other files.
SYNTHETIC_VERSION = 1
MANIFEST_NAME = "manifest.json"
_KEY_CHARS = 12


class SyntheticOptions(NamedTuple):
    """Everything the content of a synthetic data directory depends on.

    Attributes:
        language: "en" or "zh".
        documents: training documents.
        eval_documents: further documents, for evaluation.
        vocab_size: tokens at most.
        train_files: record files for training.
        eval_files: record files for evaluation.
        instances: what instances are like.
    """

    language: str = "en"
    documents: int = 1200
    eval_documents: int = 100
    vocab_size: int = 3000
    train_files: int = 8
    eval_files: int = 2
    instances: InstanceOptions = InstanceOptions(dupe_factor=5)


def check_synthetic_options(options: SyntheticOptions) -> None:
    """Raises UsageError if no data can be made so."""
    if options.language not in LANGUAGES:
        raise UsageError(f"language must be one of {', '.join(LANGUAGES)}: {options.language}")
    for name in ("documents", "eval_documents", "vocab_size", "train_files", "eval_files"):
        if getattr(options, name) < 1:
            raise UsageError(f"{name} must be at least 1: {getattr(options, name)}")
    check_instance_options(options.instances)


def build_parameters(options: SyntheticOptions) -> Dict[str, Any]:
    """Returns the parameters as the manifest has them, versions included."""
    parameters: Dict[str, Any] = {
        "synthetic_version": SYNTHETIC_VERSION,
        "language_version": LANGUAGE_VERSION,
    }
    parameters.update(options._asdict())
    parameters["instances"] = dict(options.instances._asdict())
    return parameters


def build_cache_name(options: SyntheticOptions) -> str:
    """Returns the directory name of these options in a cache."""
    text = json.dumps(build_parameters(options), sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:_KEY_CHARS]
    return f"synthetic-{options.language}-{options.instances.seq_length}-{key}"


def write_cached_directory(cache_dir: str, options: SyntheticOptions) -> str:
    """Returns the directory of these options in a cache, after making it if it is not there.

    Raises:
        UsageError: an option is wrong.
        OutputError: the cache cannot be written.
    """
    check_synthetic_options(options)
    path = os.path.join(cache_dir, build_cache_name(options))
    if not os.path.isfile(os.path.join(path, MANIFEST_NAME)):
        write_synthetic_directory(path, options)
    return path


def write_synthetic_directory(path: str, options: SyntheticOptions) -> None:
    """Makes a data directory.

    Args:
        path: the directory; must not be there, or be one made with the same options.
        options: see SyntheticOptions.

    Raises:
        UsageError: an option is wrong, or the directory is there with other content.
        OutputError: it cannot be written.
    """
    check_synthetic_options(options)
    if os.path.lexists(path):
        if _read_parameters(path) == build_parameters(options):
            return
        raise UsageError(f"{path} is there already, with other content; remove it or name another")
    with atomic_directory(path) as directory:
        lexicon = build_lexicon(options.language, options.instances.random_seed)
        last = options.documents + options.eval_documents
        documents = [
            build_document(options.language, lexicon, options.instances.random_seed, i)
            for i in range(last)
        ]
        train, held_out = documents[: options.documents], documents[options.documents :]
        _write_text(os.path.join(directory, "corpus.txt"), train)
        _write_text(os.path.join(directory, "corpus_eval.txt"), held_out)
        tokens = learn_pieces(
            count_words((line for document in train for line in document), TokenizerOptions()),
            VocabularyOptions(size=options.vocab_size),
        )
        write_vocabulary(os.path.join(directory, "vocab.txt"), tokens)
        vocabulary = build_vocabulary(tokens, "vocab.txt")
        statistics = {
            "train": _write_split(directory, "train", train, vocabulary, options),
            "eval": _write_split(directory, "eval", held_out, vocabulary, options),
        }
        manifest = {
            "tool": "bert.data.synthetic",
            "parameters": build_parameters(options),
            "vocabulary_size": len(tokens),
            "statistics": statistics,
            "files": list(_describe_files(directory)),
        }
        with open(os.path.join(directory, MANIFEST_NAME), "w", encoding="utf-8") as stream:
            json.dump(manifest, stream, indent=2, ensure_ascii=False)
            stream.write("\n")


def compute_entropy_nats(counts: np.ndarray) -> float:
    """Entropy −Σ p ln p of the distribution that `counts` are of.

    It is the loss of a model that knows how frequent tokens are, and nothing else: a masked-LM
    loss below it shows that context is used.
    """
    counts = counts[counts > 0].astype(np.float64)
    if counts.size == 0:
        return 0.0
    share = counts / counts.sum()
    return float(-(share * np.log(share)).sum())


def _write_split(
    directory: str,
    name: str,
    documents: List[List[str]],
    vocabulary: Vocabulary,
    options: SyntheticOptions,
) -> Dict[str, Any]:
    """Writes the record files of one split; returns its statistics."""
    tokenizer = Tokenizer(vocabulary, TokenizerOptions())
    tokenized = build_tokenized_documents(documents, tokenizer.encode)
    n_files = options.train_files if name == "train" else options.eval_files
    instances = options.instances
    if name == "eval":
        instances = instances._replace(dupe_factor=1, random_seed=instances.random_seed + 1)
    os.mkdir(os.path.join(directory, name))
    paths = [
        os.path.join(directory, name, f"{name}-{i:05d}-of-{n_files:05d}.tfrecord")
        for i in range(n_files)
    ]
    label_counts = np.zeros([vocabulary.size], np.int64)
    n_random_next = 0
    table = build_masking_table(vocabulary.ids, size=vocabulary.size)
    with open_record_outputs(paths) as outputs:
        for batch in iterate_block_batches(tokenized, table, instances, block=0):
            features = batch.features
            labels = features[MASKED_LM_IDS][features[MASKED_LM_WEIGHTS] > 0]
            label_counts += np.bincount(labels, minlength=vocabulary.size)
            n_random_next += int(features[NEXT_SENTENCE_LABELS].sum())
            outputs.write(encode_framed_examples(features))
    n_records = outputs.n_records
    if n_records < n_files:
        raise UsageError(
            f"{len(documents)} {name} documents give {n_records} instances, too few for {n_files} "
            f"files; ask for more documents or fewer {name}_files"
        )
    return {
        "documents": len(documents),
        "tokens": len(tokenized.tokens),
        "records": n_records,
        "masked_tokens": int(label_counts.sum()),
        "masked_token_entropy_nats": round(compute_entropy_nats(label_counts), 6),
        "random_next_ratio": round(n_random_next / n_records, 6),
    }


def _write_text(path: str, documents: Iterable[List[str]]) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.write("\n\n".join("\n".join(document) for document in documents) + "\n")


def _describe_files(directory: str) -> Iterable[Dict[str, Any]]:
    for root, _, names in sorted(os.walk(directory)):
        for name in sorted(names):
            path = os.path.join(root, name)
            with open(path, "rb") as stream:
                content = stream.read()
            yield {
                "path": os.path.relpath(path, directory),
                "bytes": len(content),
                "sha256": hashlib.sha256(content).hexdigest(),
            }


def _read_parameters(path: str) -> Dict[str, Any]:
    try:
        with open(os.path.join(path, MANIFEST_NAME), encoding="utf-8") as stream:
            return json.load(stream)["parameters"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def build_parser() -> argparse.ArgumentParser:
    """Builds the command line; defaults are those of SyntheticOptions."""
    defaults = SyntheticOptions()
    parser = ArgumentParser(
        prog="python -m bert.data.synthetic", description=__doc__.split("\n")[0]
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--output_dir", help="directory to make")
    where.add_argument("--cache_dir", help="directory that holds one directory per set of options")
    parser.add_argument("--language", default=defaults.language, help="en or zh")
    for name, text in (
        ("documents", "training documents"),
        ("eval_documents", "evaluation documents"),
        ("vocab_size", "tokens of the vocabulary, at most"),
        ("train_files", "record files for training"),
        ("eval_files", "record files for evaluation"),
    ):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name), help=text)
    instances = defaults.instances
    parser.add_argument("--max_seq_length", type=int, default=instances.seq_length, help="S")
    parser.add_argument(
        "--max_predictions_per_seq", type=int, default=instances.max_predictions, help="P"
    )
    parser.add_argument(
        "--masked_lm_prob", type=float, default=instances.masked_lm_prob, help="masked share"
    )
    parser.add_argument(
        "--short_seq_prob", type=float, default=instances.short_seq_prob, help="share of short ones"
    )
    parser.add_argument(
        "--dupe_factor", type=int, default=instances.dupe_factor, help="passes over the documents"
    )
    parser.add_boolean(
        "do_whole_word_mask", instances.whole_words, "mask the pieces of a word together"
    )
    parser.add_argument(
        "--random_seed", type=int, default=instances.random_seed, help="of all draws"
    )
    return parser


def main(arguments: List[str]) -> int:
    """Makes the directory; prints its path as the last line of stdout."""
    flags = build_parser().parse_args(arguments)
    options = SyntheticOptions(
        language=flags.language,
        documents=flags.documents,
        eval_documents=flags.eval_documents,
        vocab_size=flags.vocab_size,
        train_files=flags.train_files,
        eval_files=flags.eval_files,
        instances=InstanceOptions(
            seq_length=flags.max_seq_length,
            max_predictions=flags.max_predictions_per_seq,
            masked_lm_prob=flags.masked_lm_prob,
            short_seq_prob=flags.short_seq_prob,
            dupe_factor=flags.dupe_factor,
            whole_words=flags.do_whole_word_mask,
            random_seed=flags.random_seed,
        ),
    )
    if flags.cache_dir is not None:
        path = write_cached_directory(flags.cache_dir, options)
    else:
        path = flags.output_dir
        write_synthetic_directory(path, options)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
