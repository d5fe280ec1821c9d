"""inspect: records as text, and checks that find what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("google_crc32c")

from bert.data import inspect
from bert.data.commands import run_command
from bert.data.examples import encode_framed_examples
from bert.data.records import write_records
from bert.data.vocabulary import SPECIAL_TOKENS


def make_features(**changes):
    features = {
        "input_ids": [[2, 5, 4, 3, 7, 6, 3, 0]],
        "input_mask": [[1, 1, 1, 1, 1, 1, 1, 0]],
        "segment_ids": [[0, 0, 0, 0, 1, 1, 1, 0]],
        "masked_lm_positions": [[2, 4, 0]],
        "masked_lm_ids": [[6, 5, 0]],
        "masked_lm_weights": np.array([[1, 1, 0]], np.float32),
        "next_sentence_labels": [[1]],
    }
    features.update(changes)
    return {name: np.array(value) for name, value in features.items() if value is not None}


def write(path, *all_features):
    data = b"".join(encode_framed_examples(features).data for features in all_features)
    path.write_bytes(data)


@pytest.fixture
def vocab(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join([*SPECIAL_TOKENS, "a", "##b", "c"]) + "\n")
    return f"--vocab_file={path}"


def run(*arguments):
    return run_command(inspect.main, [str(argument) for argument in arguments])


def test_records_are_shown_as_tokens_with_masks(tmp_path, vocab, capsys):
    write(tmp_path / "a.tfrecord", make_features(), make_features(next_sentence_labels=[[0]]))
    assert run(tmp_path / "a.tfrecord", vocab, "--count=1") == 0
    assert capsys.readouterr().out == (
        "record 0\nA: [CLS] a [MASK]←##b [SEP]\nB (random): c←a ##b [SEP]\n\n"
    )
    assert run(tmp_path / "a.tfrecord") == 0
    assert "A: 2 5 4←6 3\nB (next): 7←5 6 3\n" in capsys.readouterr().out


def test_a_sound_directory_is_described(tmp_path, vocab, capsys):
    directory = tmp_path / "d"
    directory.mkdir()
    write(directory / "a.tfrecord", make_features(), make_features(next_sentence_labels=[[0]]))
    assert run(directory, vocab) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2 records in 1 file(s)",
        "sequence length 8, filled to 87.5% on average",
        "predictions per sequence 3, 2.00 used on average, 28.57% of the tokens",
        "records with nothing masked: 0",
        "next-sentence labels: 50.00% random",
        "highest token id 7",
        "masked tokens: 50.00% became [MASK], 0.00% kept (a random token may be the same)",
        "no problems",
    ]


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"input_mask": [[1, 0, 1, 1, 1, 1, 1, 0]]}, "input_mask is not ones followed by zeros"),
        ({"input_ids": [[2, 5, 4, 3, 7, 6, 3, 9]]}, "input_ids are not 0 where input_mask is"),
        ({"segment_ids": [[0, 0, 0, 0, 2, 2, 2, 0]]}, "segment_ids are not 0 and 1"),
        ({"next_sentence_labels": [[2]]}, "next_sentence_labels is not 0 or 1"),
        ({"masked_lm_positions": [[2, 7, 0]]}, "a masked position is beyond the sequence"),
        ({"masked_lm_ids": [[6, 5, 1]]}, "unused predictions are not 0"),
        ({"input_ids": [[2, 5, 4, 3, 8, 6, 3, 0]]}, "token id 8 is beyond the vocabulary of 8"),
        ({"segment_ids": [[0] * 9]}, "segment_ids has 9 values, not 8"),
        ({"segment_ids": None}, "no feature segment_ids"),
        ({"masked_lm_weights": [[1, 1, 0]]}, "masked_lm_weights has values of the wrong type"),
    ],
)
def test_problems_are_named_with_file_and_record(tmp_path, vocab, capsys, changes, problem):
    path = tmp_path / "a.tfrecord"
    write(path, make_features(), make_features(**changes))
    assert run(path, vocab, "--check") == 65
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"PROBLEM {path}: record 1: ") and problem in line for line in lines)
    assert lines[-1].endswith("problem(s)")


def test_damage_does_not_end_a_check(tmp_path, capsys):
    path = tmp_path / "a.tfrecord"
    write(path, make_features(), make_features(), make_features())
    content = bytearray(path.read_bytes())
    content[len(content) // 3 + 50] ^= 1
    path.write_bytes(bytes(content))
    assert run(path, "--check") == 65
    out = capsys.readouterr().out
    assert "2 records in 1 file(s)" in out
    assert f"the record's checksum is wrong at byte offset {len(content) // 3}" in out


def test_many_problems_are_cut_short(tmp_path, capsys):
    path = tmp_path / "a.tfrecord"
    write(path, *[make_features(next_sentence_labels=[[5]])] * 25)
    assert run(path, "--check") == 65
    out = capsys.readouterr().out
    assert out.count("PROBLEM") == 10
    assert "… and 15 more problems\n25 problem(s)" in out


def test_other_content_is_one_line(tmp_path, capsys):
    write_records(str(tmp_path / "a"), [b"\xff\xff"])
    assert run(tmp_path / "a") == 65
    (tmp_path / "d").mkdir()
    assert run(tmp_path / "d") == 65
    assert run(tmp_path / "absent") == 65
    assert run(tmp_path / "a", "--count=-1") == 64
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(line.startswith("ERROR: ") for line in lines)
