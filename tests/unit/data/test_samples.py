"""The shipped sample is what the tools make today, byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("google_crc32c")

from bert.data import create_pretraining_data, vocabulary
from bert.data.commands import run_command
from bert.data.records import count_records
from bert.data.synthetic_language import build_document, build_lexicon

SAMPLE = Path(__file__).resolve().parents[3] / "bert" / "samples" / "pretrain-toy"
SEED = 2020


@pytest.mark.parametrize(
    "language, name", [("en", "sample_text.txt"), ("zh", "sample_text_zh.txt")]
)
def test_the_texts_are_synthetic(language, name):
    lexicon = build_lexicon(language, SEED)
    documents = [build_document(language, lexicon, SEED, i) for i in range(20)]
    text = "".join("\n".join(document) + "\n\n" for document in documents)
    assert (SAMPLE / name).read_text(encoding="utf-8") == text


def test_vocabulary_and_records_are_made_by_the_commands_of_the_readme(tmp_path):
    texts = f"--input_file={SAMPLE}/sample_text.txt,{SAMPLE}/sample_text_zh.txt"
    output = f"--output_file={tmp_path}/vocab.txt"
    assert run_command(vocabulary.main, [texts, output, "--vocab_size=1000"]) == 0
    assert (tmp_path / "vocab.txt").read_bytes() == (SAMPLE / "vocab.txt").read_bytes()
    flags = [
        texts,
        f"--vocab_file={SAMPLE}/vocab.txt",
        f"--output_file={tmp_path}/part.tfrecord",
        "--num_output_files=2",
        "--dupe_factor=1",
        "--workers=1",
    ]
    assert run_command(create_pretraining_data.main, flags) == 0
    shipped = sorted((SAMPLE / "wikipedia_128").iterdir())
    assert len(shipped) == 2
    for path in shipped:
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_sample_is_small_and_its_readme_counts_right():
    assert sum(p.stat().st_size for p in SAMPLE.glob("**/*") if p.is_file()) < 300_000
    n_records = sum(count_records(str(p)) for p in (SAMPLE / "wikipedia_128").iterdir())
    assert re.search(r"(\d+) pre-training records", (SAMPLE / "README.md").read_text()).group(
        1
    ) == str(n_records)
