"""Names from outside cannot leave the results folder, become commands, or break a line."""

import json
import shlex
import sys

import pytest

from bench import cli
from bench.errors import BenchError, DataError
from bench.results.store import build_run_id, check_run_id, list_run_directories
from bench.spec import build_spec, parse_assignment, read_spec_file

HOSTILE = ("../../x", "/etc/passwd", "..", ".hidden", "a/b", "a\\..\\b", "$(id)", "`id`", "a;b",
           "a b", "a\nb", "a\x1b[2Jb", "\u202egnp", "x" * 4000, "", "-rf",
           "abc\n")  # fmt: skip
SIMULATED = "bench --backend simulated --cards 1 --steps 200 --quiet".split()


@pytest.mark.parametrize("name", HOSTILE)
def test_run_ids_are_plain_file_names(name):
    with pytest.raises(DataError):
        check_run_id(name)


@pytest.mark.parametrize("name", HOSTILE)
def test_run_ids_made_of_any_model_name_are_plain(name):
    made = build_run_id("20260101T000000Z-abcd", name or "m", "cpu", 8, 1)
    check_run_id(made)
    assert "/" not in made


@pytest.fixture
def stored(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*SIMULATED, "--output", "out"]) == 0
    (folder,) = list_run_directories(tmp_path / "out")
    capsys.readouterr()
    return folder


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a/b", "..", "a\nb"])
def test_results_of_others_with_hostile_run_ids_are_refused(stored, tmp_path, capsys, name):
    plain = json.loads((stored / "result.json").read_text(encoding="utf-8"))
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps({**plain, "run_id": name}), encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    assert cli.main(["import", str(path), "--output", "out"]) == 7
    assert "run_id" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../../escaped", "a/b", "..", 7, None, {}])
def test_results_with_hostile_sessions_are_not_followed(stored, tmp_path, capsys, name):
    path = stored / "result.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    plain["session"]["id"] = name
    plain.update(state="running", ended_at=None)
    plain["found"]["harness"] = {"process_id": 1, "start_ticks": 0, "host": name, "machine": 3}
    path.write_text(json.dumps(plain), encoding="utf-8")
    assert cli.main(["recover", "out", "--assume-dead"]) in (0, 7)
    assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "escaped.json").exists()


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.system [id]", "? [a]\n: b", "model: [1, 2]", "cards: '1; id'",
     "steps: !!binary aGk=", "data: \"a\\0b\"", "a: &a [*a]", "model: ''"],
)  # fmt: skip
def test_spec_files_run_nothing(tmp_path, text):
    path = tmp_path / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BenchError) as told:
        build_spec([read_spec_file(path)])
    assert told.value.exit_code == 2


@pytest.mark.parametrize("text", ["=", "a", "model=!!python/name:os.system", "__class__=1"])
def test_assignments_run_nothing(text):
    with pytest.raises(BenchError):
        build_spec([("--set", dict([parse_assignment(text)]))])


def test_words_of_a_trainer_command_reach_no_shell(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code = "import sys; print('global_step/sec: 2.0', sys.argv[1:])"
    words = [sys.executable, "-c", code, "$(touch pwned)", "; touch pwned", "{run_dir}`id`"]
    command = " ".join(map(shlex.quote, words))
    argv = ["bench", "--backend", "cpu", "--cards", "1", "--quiet", "--output", "out"]
    assert cli.main([*argv, "--trainer-command", command]) == 3
    assert not (tmp_path / "pwned").exists()
    (folder,) = list_run_directories(tmp_path / "out")
    assert "$(touch pwned)" in (folder / "logs" / "train_0.log").read_text(encoding="utf-8")
    capsys.readouterr()
