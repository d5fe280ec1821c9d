"""Synthetic data: the same everywhere, like a language, learnable, safe to make twice at once."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("google_crc32c")

from bert.data import synthetic
from bert.data.blocks import InstanceOptions
from bert.data.commands import run_command
from bert.data.inspect import check_record_files
from bert.data.synthetic import (
    SyntheticOptions,
    build_cache_name,
    compute_entropy_nats,
    write_cached_directory,
    write_synthetic_directory,
)
from bert.data.synthetic_language import LANGUAGES, build_document, build_lexicon
from bert.data.vocabulary import read_vocabulary
from bert.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]
TINY = SyntheticOptions(
    documents=30,
    eval_documents=5,
    vocab_size=700,
    train_files=3,
    instances=InstanceOptions(seq_length=64, max_predictions=10, dupe_factor=2),
)


@pytest.fixture(scope="module", params=LANGUAGES)
def language(request):
    return request.param


@pytest.fixture(scope="module")
def texts(language):
    """400 documents, as lists of sentences."""
    lexicon = build_lexicon(language, 1)
    return [build_document(language, lexicon, 1, i) for i in range(400)]


def split(language, sentence):
    if language == "zh":
        return list(sentence)
    return sentence.replace(",", " ,").replace(".", " .").split()


# What the seed gives with every Python, NumPy and machine; another digest means that
# LANGUAGE_VERSION or SYNTHETIC_VERSION has to be raised.
GOLDEN_TEXT = {"en": "9debfa0165828f70", "zh": "809edc7dbf302f5b"}
GOLDEN_DATA = "5cb53bce6f81db8f"


def test_the_text_of_a_seed_does_not_change(language, texts):
    digest = hashlib.sha256("\n".join(map("\n".join, texts)).encode()).hexdigest()
    assert digest[:16] == GOLDEN_TEXT[language]


def test_a_smaller_corpus_is_the_beginning_of_a_larger_one_and_seeds_differ(language, texts):
    lexicon = build_lexicon(language, 1)
    assert build_document(language, lexicon, 1, 17) == texts[17]
    other = build_lexicon(language, 2)
    assert other.nouns != lexicon.nouns
    assert build_document(language, other, 2, 17) != texts[17]


def test_word_frequencies_fall_as_in_natural_language(language, texts):
    words = Counter(w for document in texts for s in document for w in split(language, s))
    frequencies = np.array(sorted(words.values(), reverse=True), float)
    ranks = np.arange(1, len(frequencies) + 1)
    middle = slice(5, min(500, len(frequencies)))
    slope = np.polyfit(np.log(ranks[middle]), np.log(frequencies[middle]), 1)[0]
    assert -1.3 < slope < -0.6
    assert frequencies[0] / frequencies.sum() > 0.03


def test_context_tells_much_about_a_word(language, texts):
    """A model that counts neighbours alone is far better on other documents than frequencies."""
    ids = {}

    def read(documents):
        for document in documents:
            words = [w for s in document for w in split(language, s)]
            yield [ids.setdefault(w, len(ids)) for w in words]

    train, test = list(read(texts[:350])), list(read(texts[350:]))
    n = len(ids)
    unigrams = np.ones(n)
    bigrams = [Counter() for _ in range(n)]
    for document in train:
        for before, word in zip(document, document[1:]):
            unigrams[word] += 1
            bigrams[before][word] += 1
    frequency = unigrams / unigrams.sum()
    losses = {"frequency": [], "neighbour": []}
    for document in test:
        for before, word in zip(document, document[1:]):
            seen = bigrams[before]
            total = sum(seen.values())
            smoothed = (seen[word] + 10 * frequency[word]) / (total + 10)
            losses["frequency"].append(-np.log(frequency[word]))
            losses["neighbour"].append(-np.log(smoothed))
    gain_nats = np.mean(losses["frequency"]) - np.mean(losses["neighbour"])
    assert gain_nats > (1.5 if language == "en" else 0.8)


def test_following_sentences_can_be_told_from_random_ones(language, texts):
    """A rule that only looks for shared content words is right more than four times in five."""
    frequent = Counter(w for document in texts for s in document for w in split(language, s))
    common = {word for word, _ in frequent.most_common(60)}

    def content(sentences):
        return {w for s in sentences for w in split(language, s)} - common

    right = n = 0
    for i in range(390):
        document, other = texts[i], texts[i + 1]
        half = len(document) // 2
        a = content(document[half - 3 : half])
        following = len(a & content(document[half : half + 3]))
        random = len(a & content(other[:3]))
        right += (following > random) + 0.5 * (following == random)
        n += 1
    assert right / n > 0.8


def test_the_directory_holds_what_the_manifest_says(tmp_path, language):
    options = TINY._replace(language=language)
    path = tmp_path / "data"
    write_synthetic_directory(str(path), options)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    listed = {entry["path"] for entry in manifest["files"]}
    found = {str(p.relative_to(path)) for p in path.glob("**/*") if p.is_file()}
    assert found == listed | {"manifest.json"}
    for entry in manifest["files"]:
        content = (path / entry["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert len(content) == entry["bytes"]
    vocabulary = read_vocabulary(str(path / "vocab.txt"))
    assert vocabulary.size == manifest["vocabulary_size"] <= 700
    for split_name, n_files in (("train", 3), ("eval", 2)):
        statistics = manifest["statistics"][split_name]
        files = sorted(str(p) for p in (path / split_name).iterdir())
        assert len(files) == n_files
        checked = check_record_files(files, vocabulary)
        assert checked.problems == []
        assert checked.records == statistics["records"]
        assert checked.sums["masked"] == statistics["masked_tokens"]
        assert 0.3 < statistics["random_next_ratio"] < 0.8
    assert 2 < manifest["statistics"]["train"]["masked_token_entropy_nats"] < np.log(700)
    train, held_out = (
        set((path / n).read_text().split("\n\n")) for n in ("corpus.txt", "corpus_eval.txt")
    )
    assert (len(train), len(held_out), len(train & held_out)) == (30, 5, 0)


def test_the_files_of_a_seed_do_not_change(tmp_path):
    write_synthetic_directory(str(tmp_path / "a"), TINY)
    digest = hashlib.sha256((tmp_path / "a" / "manifest.json").read_bytes()).hexdigest()
    assert digest[:16] == GOLDEN_DATA


def test_every_option_gives_another_directory_name():
    names = {build_cache_name(TINY)}
    for name, value in (("language", "zh"), ("documents", 31), ("vocab_size", 701)):
        names.add(build_cache_name(TINY._replace(**{name: value})))
    names.add(build_cache_name(TINY._replace(instances=TINY.instances._replace(random_seed=1))))
    assert len(names) == 5


def test_what_is_cached_is_not_made_again(tmp_path, monkeypatch):
    first = write_cached_directory(str(tmp_path), TINY)
    monkeypatch.setattr(synthetic, "write_synthetic_directory", None)
    assert write_cached_directory(str(tmp_path), TINY) == first


def test_an_interrupted_making_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "learn_pieces", stop)
    with pytest.raises(KeyboardInterrupt):
        write_cached_directory(str(tmp_path), TINY)
    assert list(tmp_path.iterdir()) == []


COMMAND = [
    sys.executable,
    "-m",
    "bert.data.synthetic",
    "--documents=30",
    "--eval_documents=5",
    "--dupe-factor=2",
]


def test_two_at_once_end_with_one_whole_directory(tmp_path):
    both = [
        subprocess.Popen(
            [*COMMAND, f"--cache_dir={tmp_path}"], cwd=str(ROOT), stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    outputs = {process.communicate(timeout=60)[0].decode() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(outputs) == 1
    (directory,) = tmp_path.iterdir()
    assert outputs == {f"{directory}\n"}
    assert (directory / "manifest.json").is_file()


def test_the_command_does_not_import_tensorflow(tmp_path):
    program = (
        "import sys; from bert.data import synthetic, inspect, create_pretraining_data\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=str(ROOT), check=True, timeout=60)


def test_a_directory_of_the_same_options_is_kept_and_another_one_is_not_overwritten(tmp_path):
    path = str(tmp_path / "a")
    write_synthetic_directory(path, TINY)
    write_synthetic_directory(path, TINY)
    with pytest.raises(UsageError, match="is there already, with other content"):
        write_synthetic_directory(path, TINY._replace(documents=31))


@pytest.mark.parametrize(
    "flags, code, message",
    [
        (["--language=fr"], 64, "language must be one of en, zh: fr"),
        (["--documents=0"], 64, "documents must be at least 1"),
        (["--documents=1", "--eval_documents=1", "--eval_files=500"], 64, "too few for 500 files"),
        (["--vocab_size=5"], 64, "vocab_size 5 is too small"),
        (["--max_seq_length=3"], 64, "max_seq_length 3 is too small"),
        (["--output_dir=x"], 64, "not allowed with argument"),
        (["--cache_dir=/proc/nothing"], 74, "cannot write /proc/nothing"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, flags, code, message):
    assert run_command(synthetic.main, [f"--cache_dir={tmp_path}", *flags]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert list(tmp_path.iterdir()) == []


def test_entropy_of_known_distributions():
    assert compute_entropy_nats(np.array([5, 5, 5, 5, 0])) == pytest.approx(np.log(4))
    assert compute_entropy_nats(np.array([7])) == 0
    assert compute_entropy_nats(np.array([0, 0])) == 0
