"""`ascend-bert data fetch-help` tells where data sets are, by the names that readers look for."""

from __future__ import annotations

import pytest

from bench.cli import main
from bench.commands.fetch_help import read_datasets
from bert.downstream.datasets import DATASETS, GENERIC, SPLITS


def test_files_have_the_names_that_the_trainer_looks_for():
    datasets = read_datasets()
    assert set(datasets) == set(DATASETS) - {GENERIC}
    for task, entry in datasets.items():
        assert entry["kind"] == DATASETS[task].kind
        assert len(entry["files"]) == len(SPLITS)
        for split, file in zip(SPLITS, entry["files"]):
            folder, _, name = file["path"].partition("/")
            assert folder == task
            assert name in DATASETS[task].files[split], (task, split)


def test_one_task(capsys):
    assert main(["data", "fetch-help", "xnli"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("xnli: XNLI, ")
    assert "https://github.com/facebookresearch/XNLI" in text
    assert "licence:   CC BY-NC 4.0" in text
    assert "xnli/multinli/multinli.train.zh.tsv  XNLI-MT-1.0.zip" in text
    assert "(392,702 examples)" in text


def test_all_tasks_are_listed_and_two_told(capsys):
    assert main(["data", "fetch-help"]) == 0
    listed = capsys.readouterr().out
    assert main(["data", "fetch-help", "--help"]) == 0
    assert capsys.readouterr().out == listed
    assert [line.split()[0] for line in listed.split("\n\n")[0].splitlines()] == list(
        read_datasets()
    )
    assert main(["data", "fetch-help", "cmrc", "ner"]) == 0
    assert capsys.readouterr().out.count("  licence: ") == 2


@pytest.mark.parametrize(("word", "hint"), [("xnlI", "did you mean 'xnli'?"), ("--x", "known are")])
def test_an_unknown_task_is_one_line(capsys, word, hint):
    assert main(["data", "fetch-help", word]) == 2
    errors = capsys.readouterr().err
    assert f"unknown task {word!r}" in errors
    assert hint in errors
    assert errors.count("\n") == 1
