"""The shipped samples are what their generator makes, and what they are said to be."""

from __future__ import annotations

from pathlib import Path

import pytest

import bert
from bert.data.commands import run_command
from bert.data.vocabulary import read_vocabulary
from bert.downstream.datasets import (
    CLASSIFIER,
    DATASETS,
    NER,
    SPLITS,
    find_split_file,
    get_task_labels,
)
from bert.downstream.metrics.entities import find_entities
from bert.downstream.readers.classification import read_classification
from bert.downstream.readers.ner import read_ner
from bert.downstream.readers.reading import read_reading
from bert.downstream.samples import generate

BERT = Path(bert.__file__).resolve().parent
SAMPLES = BERT / "downstream" / "samples"
SIZES = {NER: (300, 80, 80), CLASSIFIER: (480, 120, 120)}


def read(task, split):
    path = find_split_file(task, str(SAMPLES), split)
    if DATASETS[task].kind == CLASSIFIER:
        return read_classification(task, path, True)
    if DATASETS[task].kind == NER:
        return read_ner(path, True)
    return read_reading(path, task == "squad_v2")


def get_text(example):
    if hasattr(example, "tokens"):
        return "".join(example.tokens)
    if hasattr(example, "context"):
        return example.context + example.question
    return example.text_a + (example.text_b or "")


def test_the_command_makes_the_shipped_files(tmp_path, capfd):
    output = tmp_path / "samples"
    assert run_command(generate.main, [f"--output_dir={output}"]) == 0
    made = {p.relative_to(output) for p in output.rglob("*") if p.is_file()}
    shipped = {
        p.relative_to(SAMPLES)
        for p in SAMPLES.rglob("*")
        if p.suffix in (".tsv", ".txt", ".json", ".jsonl")
    }
    assert made == shipped
    for path in made:
        assert (output / path).read_bytes() == (SAMPLES / path).read_bytes(), path
    assert sum((SAMPLES / path).stat().st_size for path in made) < 800_000
    assert run_command(generate.main, [f"--output_dir={output}"]) == 64
    assert "is there already" in capfd.readouterr().err


@pytest.mark.parametrize("task", sorted(DATASETS))
def test_every_task_has_a_sample_of_the_size_its_readme_says(task):
    sizes = tuple(len(read(task, split)) for split in SPLITS)
    assert sizes == SIZES.get(DATASETS[task].kind, (420, 120, 120))
    assert " / ".join(map(str, sizes)) in (SAMPLES / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("task", sorted(DATASETS))
def test_all_characters_are_known_to_a_model_of_the_sample_corpus(task):
    known = read_vocabulary(str(BERT / "samples" / "pretrain-toy" / "vocab.txt")).ids
    text = {char for split in SPLITS for example in read(task, split) for char in get_text(example)}
    assert not text - set(known)


@pytest.mark.parametrize("task", sorted(DATASETS))
def test_held_out_examples_are_not_in_the_training_data(task):
    splits = [{get_text(example) for example in read(task, split)} for split in SPLITS]
    assert not splits[0] & (splits[1] | splits[2])
    assert not splits[1] & splits[2]


@pytest.mark.parametrize("task", ["xnli", "lcqmc", "chnsenti"])
def test_labels_are_those_of_the_task_and_as_many_of_each(task):
    labels = get_task_labels(task).labels
    for split in SPLITS:
        found = [example.label for example in read(task, split)]
        assert {found.count(label) for label in labels} == {len(found) // len(labels)}


def test_names_of_held_out_sentences_are_new():
    names = [
        {
            "".join(example.tokens[entity.start : entity.end + 1])
            for split in splits
            for example in read("ner", split)
            for entity in find_entities(example.labels)
            if entity.kind in ("PER", "LOC")
        }
        for splits in (("train",), ("dev", "test"))
    ]
    assert not names[0] & names[1]


def test_one_question_in_six_of_squad_2_has_no_answer():
    examples = read("squad_v2", "train")
    assert sum(example.is_impossible for example in examples) == len(examples) / 6
