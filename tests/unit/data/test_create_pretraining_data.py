"""create_pretraining_data as it is run: both modes, several workers, resuming, bad input."""

from __future__ import annotations

import gzip
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("google_crc32c")

from bert.data import create_pretraining_data as module
from bert.data import parts
from bert.data.commands import run_command
from bert.data.examples import parse_example
from bert.data.records import iterate_records
from bert.data.synthetic_language import build_document, build_lexicon
from bert.data.vocabulary import SPECIAL_TOKENS, read_vocabulary
from tests.unit.data import plain_reference

ROOT = Path(__file__).resolve().parents[3]
SMALL = ["--max_seq_length=32", "--max_predictions_per_seq=5", "--dupe_factor=2"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A directory with text.txt (40 documents) and vocab.txt (characters and a few words)."""
    directory = tmp_path_factory.mktemp("corpus")
    lexicon = build_lexicon("en", 1)
    documents = [build_document("en", lexicon, 1, i) for i in range(40)]
    text = "\n\n".join("\n".join(document) for document in documents) + "\n"
    (directory / "text.txt").write_text(text, encoding="utf-8")
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [*SPECIAL_TOKENS, *letters, *("##" + c for c in letters), "the", "every", ".", ","]
    (directory / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return directory


def run(corpus, output, *flags):
    return run_command(
        module.main,
        [
            f"--input_file={corpus}/text.txt",
            f"--vocab_file={corpus}/vocab.txt",
            f"--output_file={output}",
            *SMALL,
            *flags,
        ],
    )


def read_examples(path):
    return [
        {name: values.tolist() for name, values in parse_example(payload).items()}
        for payload in iterate_records(str(path))
    ]


@pytest.mark.parametrize("whole_words", [False, True])
def test_exact_mode_from_text_to_records_is_as_plain(corpus, tmp_path, whole_words):
    flags = ["--algorithm=reference", f"--do_whole_word_mask={whole_words}", "--random_seed=7"]
    outputs = f"{tmp_path}/a.tfrecord,{tmp_path}/b.tfrecord"
    assert run(corpus, outputs, *flags) == 0
    vocabulary = read_vocabulary(str(corpus / "vocab.txt")).ids
    documents = plain_reference.read_documents(
        (corpus / "text.txt").read_text(encoding="utf-8"),
        lambda line: plain_reference.tokenize(line, vocabulary),
    )
    instances = plain_reference.create_instances(
        documents, vocabulary, 7, 32, 5, dupe_factor=2, whole_words=whole_words
    )
    expected = [plain_reference.features(i, vocabulary, 32, 5) for i in instances]
    for number, name in enumerate("ab"):
        assert read_examples(tmp_path / f"{name}.tfrecord") == expected[number::2]


def test_output_and_manifest_do_not_depend_on_workers(corpus, tmp_path, monkeypatch):
    contents = []
    for workers in (1, 2, 4):
        directory = tmp_path / str(workers)
        directory.mkdir()
        monkeypatch.chdir(directory)
        flags = ["--num_output_files=3", f"--workers={workers}", "--block_chars=4096"]
        assert run(corpus, "out.tfrecord", *flags) == 0
        contents.append({path.name: path.read_bytes() for path in directory.iterdir()})
    assert contents[0] == contents[1] == contents[2]
    names = [f"out-{i:05d}-of-00003.tfrecord" for i in range(3)]
    assert sorted(contents[0]) == ["manifest.json", *names]
    manifest = json.loads(contents[0]["manifest.json"].decode())
    assert [entry["path"] for entry in manifest["outputs"]] == names
    counts = [entry["records"] for entry in manifest["outputs"]]
    assert max(counts) - min(counts) <= 1
    assert sum(counts) == manifest["counts"]["instances"] > 1000
    assert manifest["counts"]["documents"] == 40


def test_merging_in_slices_gives_the_same_order(corpus, tmp_path, monkeypatch):
    flags = ["--workers=1", "--block_chars=4096"]
    assert run(corpus, tmp_path / "whole.tfrecord", *flags) == 0
    monkeypatch.setattr(module, "merge_parts", lambda p, o: parts.merge_parts(p, o, 5000))
    assert run(corpus, tmp_path / "slices.tfrecord", *flags) == 0
    whole = (tmp_path / "whole.tfrecord").read_bytes()
    assert (tmp_path / "slices.tfrecord").read_bytes() == whole


def test_instances_are_mixed_over_the_whole_corpus(corpus, tmp_path):
    """Blocks end up interleaved, not one after another."""
    text = "the the the .\n" * 300 + "\n" + "every every every .\n" * 300
    (tmp_path / "text.txt").write_text(text)
    (tmp_path / "vocab.txt").write_bytes((corpus / "vocab.txt").read_bytes())
    assert run(tmp_path, tmp_path / "o.tfrecord", "--block_chars=1024", "--workers=1") == 0
    ids = read_vocabulary(str(corpus / "vocab.txt")).ids
    examples = read_examples(tmp_path / "o.tfrecord")
    kinds = [ids["the"] in example["input_ids"] for example in examples]
    changes = sum(a != b for a, b in zip(kinds, kinds[1:]))
    assert changes > len(kinds) / 4


def test_compressed_text_and_globs_give_what_plain_text_gives(corpus, tmp_path):
    text = (corpus / "text.txt").read_bytes()
    cut = text.index(b"\n", len(text) // 2) + 1
    (tmp_path / "1.txt").write_bytes(text[:cut])
    (tmp_path / "2.txt.gz").write_bytes(gzip.compress(text[cut:]))
    assert run(corpus, tmp_path / "plain.tfrecord", "--workers=1") == 0
    flags = [f"--input_file={tmp_path}/[12].*", "--workers=1"]
    assert run(corpus, tmp_path / "glob.tfrecord", *flags) == 0
    plain = (tmp_path / "plain.tfrecord").read_bytes()
    assert (tmp_path / "glob.tfrecord").read_bytes() == plain
    names = sorted(path.name for path in tmp_path.glob("manifest*"))
    assert names == ["manifest-glob.json", "manifest.json"]


@pytest.mark.parametrize("algorithm", ["fast", "reference"])
def test_the_library_gives_the_same_records(corpus, tmp_path, algorithm):
    pytest.importorskip("tokenizers")
    for name in ("python", "library"):
        flags = [f"--tokenizer={name}", f"--algorithm={algorithm}", "--workers=1"]
        assert run(corpus, tmp_path / name, *flags) == 0
    assert (tmp_path / "python").read_bytes() == (tmp_path / "library").read_bytes()


class Stop(Exception):
    """Ends a run in the middle."""


def test_an_interrupted_run_resumes_to_the_same_files(corpus, tmp_path, monkeypatch):
    flags = ["--workers=1", "--block_chars=2048"]
    assert run(corpus, tmp_path / "whole.tfrecord", *flags) == 0
    made = []
    write_part = parts.write_part

    def write_and_count(stem, *rest):
        made.append(stem)
        return write_part(stem, *rest)

    def write_three(stem, *rest):
        if len(made) == 3:
            raise Stop
        return write_and_count(stem, *rest)

    monkeypatch.setattr("bert.data.part_workers.write_part", write_three)
    assert run(corpus, tmp_path / "again.tfrecord", *flags) == 70
    assert not (tmp_path / "again.tfrecord").exists()
    assert len(list((tmp_path / ".again.tfrecord.parts").glob("*.json"))) == 3
    first, made[:] = list(made), []
    monkeypatch.setattr("bert.data.part_workers.write_part", write_and_count)
    assert run(corpus, tmp_path / "again.tfrecord", *flags) == 0
    assert made
    assert not set(first) & set(made)
    again = (tmp_path / "again.tfrecord").read_bytes()
    assert again == (tmp_path / "whole.tfrecord").read_bytes()
    assert not (tmp_path / ".again.tfrecord.parts").exists()


def test_parts_of_other_flags_are_not_taken(corpus, tmp_path, monkeypatch):
    flags = ["--workers=1", "--block_chars=2048"]

    def fail(*_):
        raise Stop

    monkeypatch.setattr(module, "merge_parts", fail)
    assert run(corpus, tmp_path / "a.tfrecord", *flags) == 70
    monkeypatch.undo()
    assert run(corpus, tmp_path / "a.tfrecord", *flags, "--random_seed=1") == 0
    assert run(corpus, tmp_path / "b.tfrecord", *flags, "--random_seed=1") == 0
    assert (tmp_path / "a.tfrecord").read_bytes() == (tmp_path / "b.tfrecord").read_bytes()


def start(corpus, output, *flags, **kwargs):
    command = [sys.executable, "-m", "bert.data.create_pretraining_data"]
    command += [f"--input_file={corpus}/text.txt", f"--vocab_file={corpus}/vocab.txt"]
    command += [f"--output_file={output}", *SMALL, *flags]
    return subprocess.Popen(
        command, cwd=str(ROOT), stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kwargs
    )


def list_children(pid):
    """Ids of the running processes whose parent is `pid`."""
    children = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            children.append(int(entry.parent.name))
    return children


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_run_leaves_no_worker_and_resumes(corpus, tmp_path, number, code):
    flags = ["--block_chars=1024", "--dupe_factor=8", "--workers=2"]
    process = start(corpus, tmp_path / "a.tfrecord", *flags)
    working = tmp_path / ".a.tfrecord.parts"
    deadline = time.monotonic() + 60
    while not list(working.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    children = list_children(process.pid)
    assert children
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert b"Traceback" not in err
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list(tmp_path.glob("*.tfrecord"))
    assert run(corpus, tmp_path / "a.tfrecord", *flags) == 0
    assert run(corpus, tmp_path / "b.tfrecord", *flags[:2], "--workers=1") == 0
    assert (tmp_path / "a.tfrecord").read_bytes() == (tmp_path / "b.tfrecord").read_bytes()


@pytest.mark.parametrize("algorithm", ["fast", "reference"])
def test_a_full_disk_is_one_line_and_leaves_no_output(corpus, tmp_path, algorithm):
    def limit():
        # Writing beyond the limit fails with EFBIG: as ENOSPC, but for one process alone.
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))

    flags = [f"--algorithm={algorithm}", "--workers=1"]
    process = start(corpus, tmp_path / "a.tfrecord", *flags, preexec_fn=limit)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 74
    assert err.decode().startswith("ERROR: io: cannot write ")
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "a.tfrecord").exists()
    assert not list(tmp_path.glob(".a.tfrecord.*.tmp"))


def test_two_runs_of_one_output_do_not_mix(corpus, tmp_path):
    import fcntl

    working = tmp_path / ".a.tfrecord.parts"
    working.mkdir()
    descriptor = os.open(str(working), os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert run(corpus, tmp_path / "a.tfrecord") == 64
    finally:
        os.close(descriptor)
    assert run(corpus, tmp_path / "a.tfrecord", "--workers=1") == 0


BAD_INPUT = [
    (["--input_file=/nowhere/*"], 65, "no input file matches /nowhere/*"),
    (["--vocab_file=/nowhere"], 65, "cannot read vocabulary /nowhere"),
    (["--vocab_file={tmp}/nomask"], 65, "has no [MASK]; add a line for each"),
    (["--input_file={tmp}/empty"], 65, "no text"),
    (["--input_file={tmp}/blank"], 65, "no text"),
    (["--input_file={tmp}/latin"], 65, "line 1 is not UTF-8"),
    (["--max_seq_length=4"], 64, "max_seq_length 4 is too small"),
    (["--max_predictions_per_seq=0"], 64, "max_predictions_per_seq must be at least 1"),
    (["--dupe_factor=-1"], 64, "dupe_factor must be at least 1"),
    (["--masked_lm_prob=2"], 64, "masked_lm_prob"),
    (["--algorithm=slow"], 64, "algorithm must be fast or reference, not slow"),
    (["--tokenizer=slow"], 64, "tokenizer must be python or library, not slow"),
    (["--workers=0"], 64, "workers must be at least 1"),
    (["--block_chars=10"], 64, "block_chars must be at least"),
    (["--output_file=/nowhere/a"], 74, "there is no directory /nowhere"),
    (["--output_file={tmp}"], 74, "it is a directory"),
    (["--output_file={tmp}/a,{tmp}/a"], 64, "named twice"),
    (["--output_file={tmp}/a,{tmp}/b", "--num_output_files=2"], 64, "num_output_files goes with"),
    (["--output_file={tmp}/blank", "--input_file={tmp}/blank"], 64, "is input and output"),
    (["--output_file="], 64, "no output file is named"),
    (["--do_lower_case=maybe"], 64, "'maybe' is not true or false"),
    (["--max_seq=5"], 64, "unknown argument --max_seq=5"),
]


@pytest.mark.parametrize("flags, code, message", BAD_INPUT, ids=[str(row[0]) for row in BAD_INPUT])
@pytest.mark.parametrize("algorithm", ["fast", "reference"])
def test_bad_input_is_one_line(corpus, tmp_path, capsys, flags, code, message, algorithm):
    (tmp_path / "nomask").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\na\n")
    (tmp_path / "empty").write_text("")
    (tmp_path / "blank").write_text("\n \n\u200b\n")
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    before = sorted(tmp_path.iterdir())
    flags = [flag.replace("{tmp}", str(tmp_path)) for flag in flags]
    output = tmp_path / "out.tfrecord"
    assert run(corpus, output, f"--algorithm={algorithm}", "--workers=1", *flags) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ERROR: ")
    assert message in lines[0]
    left = [path for path in sorted(tmp_path.iterdir()) if path not in before]
    assert [path.name for path in left if not path.name.endswith(".parts")] == []


def test_missing_flags_are_named(capsys):
    assert run_command(module.main, ["--input_file=a"]) == 64
    assert "--output_file, --vocab_file" in capsys.readouterr().err


def test_flags_are_taken_as_the_seed_writes_them():
    parser = module.build_parser()
    base = ["--input_file=a", "--output-file=b", "--vocab_file", "c"]
    assert parser.parse_args([*base, "--do_lower_case=False"]).do_lower_case is False
    assert parser.parse_args([*base, "--nodo_lower_case"]).do_lower_case is False
    assert parser.parse_args([*base, "--do-lower-case"]).do_lower_case is True
    assert parser.parse_args([*base, "--do_whole_word_mask"]).do_whole_word_mask is True
    assert parser.parse_args(base).dupe_factor == 10
