"""What a dead harness leaves: results rebuilt, sessions resumed, orphans found, others spared."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from bench import cli
from bench.errors import DataError, UsageError
from bench.launch.identity import (
    ProcessIdentity,
    find_own_identity,
    identity_from_dict,
    identity_to_dict,
    is_alive,
    parse_identity,
    render_identity,
)
from bench.launch.orphans import end_orphans, list_orphans
from bench.results.check import check_document
from bench.results.store import (
    choose_run_id,
    create_run_directory,
    list_run_directories,
    read_result,
    remove_unbegun,
)
from bench.session.plan_file import SessionLock, find_plan, read_plan

SWEEP = "bench --backend simulated --cards 1,2 --steps 200 --quiet".split()
SWEEP += ["--set", "iterations_per_loop=5", "--set", "simulated.noise_ratio=0.01"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished session of two runs."""
    folder = tmp_path_factory.mktemp("made")
    before = os.getcwd()
    os.chdir(str(folder))
    try:
        assert cli.main([*SWEEP, "--output", "out"]) == 0
    finally:
        os.chdir(before)
    return folder / "out"


@pytest.fixture
def out(made, tmp_path, monkeypatch):
    """The same, in a place of its own, as if it had been made there."""
    shutil.copytree(str(made), str(tmp_path / "out"))
    (plan,) = (tmp_path / "out" / "sessions").glob("*.json")
    plain = json.loads(plan.read_text(encoding="utf-8"))
    plan.write_text(json.dumps({**plain, "working_directory": str(tmp_path)}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out"


def _call(capsys, *argv):
    code = cli.main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def _dead():
    """This machine's process of this number, but of another time."""
    own = find_own_identity()
    return identity_to_dict(replace(own, start_ticks=own.start_ticks + 1))


def _cut_off(folder, harness=None, **changes):
    """Makes a result what it was while the run went on."""
    path = folder / "result.json"
    plain = json.loads(path.read_text(encoding="utf-8"))
    found = {k: v for k, v in plain["found"].items() if k not in ("telemetry", "state_after")}
    found["harness"] = _dead() if harness is None else harness
    plain.update(
        state="running", ended_at=None, ranks=[], summary={}, validity=[], failure=None, found=found
    )
    plain.update(changes)
    path.write_text(json.dumps(plain), encoding="utf-8")
    return folder


def _runs(out):
    return list_run_directories(out)


def test_whole_logs_give_the_finished_result_to_the_last_digit(out, capsys):
    for folder in _runs(out):
        before = read_result(folder)
        _cut_off(folder)
        code, text, _ = _call(capsys, "recover", out)
        assert code == 0
        assert f"{folder.name}: rebuilt: finished" in text
        plain = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        check_document(plain, folder.name)
        after = read_result(folder)
        assert after.state == "finished"
        assert after.summary == before.summary
        # All but the paths of the logs, which were copied.
        assert [replace(r, problems={}) for r in after.ranks] == [
            replace(r, problems={}) for r in before.ranks
        ]
        assert {c.name: c.passed for c in after.validity} == {
            c.name: c.passed for c in before.validity
        }
        assert after.found["recovered"]["by"]
    assert _call(capsys, "recover", out)[1].startswith("no run was left unfinished")


def test_cut_logs_are_lost_runs_with_what_was_measured(out, capsys):
    folder = _cut_off(_runs(out)[1])
    (folder / "exits.jsonl").unlink()
    for log in (folder / "logs").glob("*.log"):
        content = log.read_bytes()
        log.write_bytes(content[: len(content) // 2])
    code, text, _ = _call(capsys, "recover", out)
    assert code == 0
    result = read_result(folder)
    assert (result.state, result.failure.kind) == ("failed", "lost")
    assert "died after step" in result.failure.message
    assert result.value("steps_per_second") > 0
    (check,) = [c for c in result.validity if c.name == "exit codes"]
    assert check.passed is None
    assert "1 of 2 launches are done" in text


def test_exit_codes_that_were_seen_count(out, capsys):
    folder = _cut_off(_runs(out)[1])
    with (folder / "exits.jsonl").open("a", encoding="utf-8") as stream:
        stream.write('{"rank": 1, "exit_code": -9, "ended_at": 1.0}\n{"rank": 0, "exit')
    assert _call(capsys, "recover", out)[0] == 0
    failure = read_result(folder).failure
    assert (failure.kind, failure.rank, failure.exit_code) == ("trainer", 1, -9)


def test_run_of_a_living_harness_is_never_touched(out, capsys):
    folder = _cut_off(_runs(out)[0], identity_to_dict(find_own_identity()))
    before = (folder / "result.json").read_bytes()
    code, text, _ = _call(capsys, "recover", out)
    assert code == 0
    assert "left alone: its harness lives" in text
    assert (folder / "result.json").read_bytes() == before


def test_locked_session_is_never_touched(out, capsys):
    folder = _cut_off(_runs(out)[0])
    before = (folder / "result.json").read_bytes()
    with SessionLock(out, read_result(folder).session["id"]):
        _, text, _ = _call(capsys, "recover", out)
    assert "left alone" in text
    assert (folder / "result.json").read_bytes() == before


@pytest.mark.parametrize("change", [{"machine": "another"}, {"name_space": "7"}])
def test_harness_that_cannot_be_seen_is_taken_for_dead_only_when_told(out, capsys, change):
    identity = {**_dead(), "host": "elsewhere", **change}
    folder = _cut_off(_runs(out)[0], identity)
    _, text, _ = _call(capsys, "recover", out)
    assert "cannot be seen from here" in text
    assert read_result(folder).state == "running"
    _call(capsys, "recover", out, "--assume-dead")
    assert read_result(folder).state == "finished"


def test_folder_of_a_run_that_never_began_goes_and_others_stay(out, capsys):
    session = read_result(_runs(out)[0]).session["id"]
    shell = create_run_directory(out / "runs", f"{session}-bert-tiny-simulated-4p-r1")
    (shell / "spec.yaml").write_text("cards: [4]\n", encoding="utf-8")
    (shell / ".result.json.77.abcd").write_text("{", encoding="utf-8")
    foreign = out / "runs" / "somebody"
    (foreign / "logs").mkdir(parents=True)
    filled = create_run_directory(out / "runs", f"{session}-bert-tiny-simulated-8p-r1")
    (filled / "notes.txt").write_text("mine", encoding="utf-8")
    _, text, _ = _call(capsys, "recover", out)
    assert f"{shell.name}: removed" in text
    assert not shell.exists()
    assert foreign.is_dir()
    assert (filled / "notes.txt").is_file()


def test_damaged_result_hides_no_other(out, capsys):
    first, second = _runs(out)
    (first / "result.json").write_text("{", encoding="utf-8")
    _cut_off(second)
    _, text, _ = _call(capsys, "recover", out)
    assert f"{first.name}: damaged" in text
    assert f"{second.name}: rebuilt" in text


def test_resume_makes_what_is_missing_and_nothing_else(out, capsys):
    first, second = _runs(out)
    kept = (first / "result.json").read_bytes()
    shutil.rmtree(str(second))
    code, table, _ = _call(capsys, "bench", "--resume", "--quiet", "--format", "json")
    assert code == 7  # the directory is "out", not "results"
    argv = ("bench", "--resume", "--quiet", "--format", "json", "--output", out)
    code, table, _ = _call(capsys, *argv)
    assert code == 0
    assert [row["cards"] for row in json.loads(table)] == [1, 2]
    assert [folder.name for folder in _runs(out)] == [first.name, second.name]
    assert (first / "result.json").read_bytes() == kept
    code, _, errors = _call(capsys, *argv)
    assert code == 7
    assert "no session" in errors


def test_lost_launch_is_made_again_beside_what_was_kept(out, capsys):
    second = _cut_off(_runs(out)[1])
    (second / "exits.jsonl").unlink()
    for log in (second / "logs").glob("*.log"):
        log.write_bytes(log.read_bytes()[:3000])
    assert _call(capsys, "bench", "--resume", "--quiet", "--output", out)[0] == 0
    assert [folder.name for folder in _runs(out)][1:] == [second.name, second.name + ".2"]
    assert read_result(second).failure.kind == "lost"
    assert read_result(out / "runs" / (second.name + ".2")).valid


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--cards", "4"), 2, "drop cards"),
        (("--set", "steps=3"), 2, "drop steps"),
        (("--spec", "smoke"), 2, "drop"),
    ],
)
def test_resume_takes_no_other_settings(out, capsys, more, code, message):
    shutil.rmtree(str(_runs(out)[1]))
    found, _, errors = _call(capsys, "bench", "--resume", "--output", out, *more)
    assert found == code
    assert message in errors


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b", "-x", "", "x" * 300, "a\nb"])
def test_names_of_sessions_cannot_leave_the_folder(tmp_path, name):
    with pytest.raises(DataError):
        find_plan(tmp_path, name)
    with pytest.raises(DataError):
        create_run_directory(tmp_path, name)


def test_resume_elsewhere_is_refused(out, capsys, monkeypatch):
    shutil.rmtree(str(_runs(out)[1]))
    monkeypatch.chdir("/")
    code, _, errors = _call(capsys, "bench", "--resume", "--output", out)
    assert code == 2
    assert "was started in" in errors


def test_session_in_other_hands_is_refused(out, capsys):
    shutil.rmtree(str(_runs(out)[1]))
    with SessionLock(out, read_result(_runs(out)[0]).session["id"]):
        code, _, errors = _call(capsys, "bench", "--resume", "--output", out)
    assert code == 2
    assert "in other hands" in errors
    with pytest.raises(UsageError), SessionLock(out, read_result(_runs(out)[0]).session["id"]):
        SessionLock(out, read_result(_runs(out)[0]).session["id"]).__enter__()


@pytest.mark.parametrize(
    "text", ["", "[]", '{"plan_version": 99}', '{"plan_version": 1}', '{"plan_version": 1, "bui']
)
def test_damaged_plans_are_told_in_one_line(out, text):
    (plan,) = (out / "sessions").glob("*.json")
    plan.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as told:
        read_plan(out, plan.stem)
    assert "\n" not in str(told.value)


def test_run_ids_go_on_where_earlier_launches_left_results(out):
    name = _runs(out)[0].name
    assert choose_run_id(out / "runs", name) == name + ".2"
    assert choose_run_id(out / "runs", "new") == "new"
    assert not remove_unbegun(_runs(out)[0])


def test_identity_of_a_process():
    own = find_own_identity()
    assert is_alive(own) is True
    assert is_alive(replace(own, start_ticks=own.start_ticks + 1)) is False
    assert is_alive(replace(own, machine="another", host="elsewhere")) is None
    assert is_alive(replace(own, machine="before the restart")) is False
    assert is_alive(replace(own, name_space="1")) is None
    assert parse_identity(render_identity(own)) == replace(own, host="")
    assert identity_from_dict(identity_to_dict(own)) == own
    assert parse_identity("nonsense") is None
    assert identity_from_dict({"who": 1}) is None
    assert identity_from_dict(None) is None


def _start_rank(starter, run_id):
    variables = {**os.environ, "ASCEND_BERT_RUN_ID": run_id, "RANK_ID": "3"}
    variables["ASCEND_BERT_STARTER"] = render_identity(starter)
    return subprocess.Popen(
        [sys.executable, "-S", "-c", "import time; time.sleep(600)"],
        env=variables,
        start_new_session=True,
    )


def test_orphans_are_known_by_their_dead_starter_and_ended_on_request(tmp_path, capsys):
    own = find_own_identity()
    dead = ProcessIdentity(**{**identity_to_dict(own), "start_ticks": own.start_ticks + 1})
    run_id = f"test-{os.getpid()}-{time.time():.0f}"
    orphan, child = _start_rank(dead, run_id), _start_rank(own, run_id)
    elsewhere = _start_rank(replace(dead, name_space="1"), run_id)
    try:
        deadline = time.monotonic() + 20.0
        found = []
        while not found and time.monotonic() < deadline:
            found = [one for one in list_orphans() if one.run_id == run_id]
        assert [one.process_id for one in found] == [orphan.pid]
        assert found[0].rank == "3"
        assert cli.main(["recover", "--list-orphans"]) == 0
        assert f"process {orphan.pid}, run {run_id} rank 3" in capsys.readouterr().out
        (tmp_path / "runs").mkdir()
        assert cli.main(["recover", str(tmp_path), "--end-orphans"]) == 0
        assert orphan.poll() is None  # its run is of another results directory
        assert end_orphans(found, 5.0) == []
        assert orphan.wait(10) == -15
        assert child.poll() is None
        assert elsewhere.poll() is None
    finally:
        for process in (orphan, child, elsewhere):
            process.kill()
            process.wait()
