"""The command line as a user meets it: one clear line per mistake, its own exit code, no debris."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from bench.cli import build_parser, main
from bench.results.store import list_run_directories, read_result

SIMULATED = ["bench", "--backend", "simulated", "--steps", "40", "--quiet"]
SLOW = ["--set", "simulated.speed=1", "--set", "simulated.compile_seconds=0.2"]
SLOW += ["--set", "simulated.steps_per_second=20", "--steps", "100000", "--set", "warmup_steps=0"]


def _run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """No test leaves anything in the checkout or in the user's cache."""
    monkeypatch.setenv("ASCEND_BERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_simulated_sweep(tmp_path, capsys):
    code, out, _ = _run(capsys, *SIMULATED, "--cards", "1,8", "--format", "json")
    assert code == 0
    rows = json.loads(out)
    assert [row["cards"] for row in rows] == [1, 8]
    assert all(row["simulated"] and row["valid"] for row in rows)
    for folder in list_run_directories(tmp_path / "results"):
        result = read_result(folder)
        assert result.state == "finished"
        assert sorted(os.listdir(str(folder))) == [
            "exits.jsonl",
            "logs",
            "result.json",
            "spec.yaml",
            "telemetry.jsonl",
            "truth.json",
        ]
        assert len(result.ranks) == result.n_cards
        assert result.ranks[0].intervals["reason"].count("steady") >= 30


def test_true_rate_is_found(tmp_path, capsys):
    from bench.devices.truth import compute_true_rate
    from bench.spec import spec_from_dict

    _run(capsys, *SIMULATED, "--cards", "4", "--set", "iterations_per_loop=1")
    result = read_result(list_run_directories(tmp_path / "results")[0])
    # The second loop is left out as warm-up, so the truth is taken over the rest.
    truth = compute_true_rate(spec_from_dict(result.asked, "result"), 1, skip=2)
    assert result.value("steps_per_second") == pytest.approx(truth, rel=1e-5)


def test_parse_gives_the_stored_numbers_to_the_last_digit(tmp_path, capsys):
    _run(capsys, *SIMULATED, "--cards", "2")
    (folder,) = list_run_directories(tmp_path / "results")
    code, out, _ = _run(capsys, "parse", folder / "logs", "--format", "json")
    assert code == 0
    summary = json.loads(out)["summary"]
    stored = dict(read_result(folder).summary)
    # Power is no matter of logs.
    stored.pop("sequences_per_joule")
    for key, measurement in stored.items():
        assert summary[key]["value"] == measurement.value, key


def test_stored_spec_runs_the_same_again(tmp_path, capsys):
    _run(capsys, *SIMULATED, "--cards", "2")
    (folder,) = list_run_directories(tmp_path / "results")
    code, _, _ = _run(capsys, "bench", "--spec", folder / "spec.yaml", "--output", "again")
    assert code == 0
    (again,) = list_run_directories(tmp_path / "again")
    first, second = read_result(folder), read_result(again)
    assert first.summary["steps_per_second"] == second.summary["steps_per_second"]
    assert first.asked == second.asked


def test_show_prints_the_last_session(tmp_path, capsys):
    _run(capsys, *SIMULATED, "--cards", "1")
    time.sleep(0.01)
    _run(capsys, *SIMULATED, "--cards", "2")
    _, out, _ = _run(capsys, "show", "--format", "json")
    assert [row["cards"] for row in json.loads(out)] == [2]
    _, out, _ = _run(capsys, "show", "--all", "--format", "json")
    assert [row["cards"] for row in json.loads(out)] == [1, 2]


def _take_port():
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    return sock, sock.getsockname()[1]


BAD_INPUT = [
    (["bench", "--card", "1,x"], 2, "cards must be a whole number"),
    (["bench", "--unknown"], 2, "unrecognized arguments: --unknown"),
    (["nonsense"], 2, "invalid choice: 'nonsense'"),
    (["bench", "--cards", "0"], 2, "cards must be at least 1, got 0"),
    (["bench", "--batch-size", "0"], 2, "batch_size must be at least 1, got 0"),
    (["bench", "--set", "stepz=3"], 2, "unknown key 'stepz'; did you mean 'steps'?"),
    (["bench", "--set", "steps"], 2, "--set wants key=value"),
    (["bench", "--spec", "absent.yaml"], 2, "cannot read spec file absent.yaml"),
    (["bench", "--backend", "gpu"], 2, "backend must be one of"),
    (["bench", "--backend", "cpu", "--model", "bert-tinny"], 2, "did you mean 'bert-tiny'?"),
    (["bench", "--backend", "cpu", "--model", "bad.json"], 2, "is not a BERT config"),
    (["bench", "--backend", "ascend"], 6, "backend ascend was asked for and is not there"),
    (["bench", "--backend", "cpu", "--data", "absent"], 7, "absent does not exist"),
    (["bench", "--backend", "cpu", "--data", "empty"], 7, "holds no *.tfrecord file"),
    (["bench", "--backend", "cpu", "--data", "corrupt"], 7, "a.tfrecord is corrupt at byte 0"),
    (["bench", "--backend", "simulated", "--output", "file"], 6, "choose another --output"),
    (["bench", "--backend", "simulated", "--metrics-port", "PORT"], 6, "cannot serve metrics on"),
    (["bench", "--backend", "simulated", "--metrics-port", "99999"], 2, "must be 0 to 65535"),
    (["bench", "--backend", "simulated", "--model", "nosuch"], 2, "unknown model 'nosuch'"),
    (["bench", "--backend", "simulated", "--data", "empty"], 2, "simulated cards read no data"),
    (["bench", "--backend", "simulated", "--steps", "9" * 20], 2, "steps must be at most 1e+09"),
    (["bench", "--backend", "simulated", "--output", ""], 2, "--output needs a directory"),
    (["bench", "--set", "data=2020-13-45"], 2, "the value is not valid YAML"),
    (["bench", "--set", "steps=!!int foo"], 2, "the value is not valid YAML"),
    (["bench", "--set", "steps=" + "[" * 2000], 2, "the value is not valid YAML"),
    (["bench", "--set", 'model="a\\0b"'], 2, "model must be a word"),
    (["bench", "--spec", "loop.yaml"], 2, "lies too deep"),
    (["bench", "--backend", "simulated", "--trainer-command", "x"], 2, "run no trainer"),
    (["parse", "absent.log"], 7, "absent.log"),
    (["parse", "empty"], 7, "empty"),
    (["parse", "bad.json"], 7, "no training record in bad.json"),
    (["parse", "bad.json", "--batch-size", "0"], 2, "--batch-size must be at least 1"),
    (["show", "absent"], 7, "cannot read result"),
    (["show"], 7, "no results under results"),
]


@pytest.mark.parametrize(("arguments", "code", "words"), BAD_INPUT)
def test_bad_input_is_one_clear_line(tmp_path, capsys, arguments, code, words):
    (tmp_path / "file").write_text("", encoding="utf-8")
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    (tmp_path / "loop.yaml").write_text("a: &a {b: *a}\n", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "corrupt").mkdir()
    (tmp_path / "corrupt" / "a.tfrecord").write_bytes(b"no record at all")
    before = sorted(os.listdir(str(tmp_path)))
    sock, port = _take_port()
    with sock:
        told = [str(port) if word == "PORT" else word for word in arguments]
        got, out, err = _run(capsys, *told)
    assert got == code
    assert out == ""
    assert words in err.splitlines()[-1]
    assert err.splitlines()[-1].startswith("ascend-bert: error: ")
    assert "Traceback" not in err
    left = set(os.listdir(str(tmp_path))) - set(before)
    assert not list_run_directories(tmp_path / "results")
    # Only what can no longer be known before the folder is made may leave an empty one.
    assert left <= {"results"}, left
    assert code != 6 or "metrics" not in words or not left


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder that nobody may write")
def test_unwritable_output(capsys):
    code, _, err = _run(capsys, *SIMULATED, "--output", "/proc/results")
    assert code == 6
    assert "cannot write results under /proc/results" in err


def test_failing_rank_fails_the_run(tmp_path, capsys):
    settings = ["--set", "simulated.fail_rank=1", "--set", "simulated.fail_step=20"]
    code, out, err = _run(capsys, *SIMULATED, "--cards", "2", *settings)
    assert code == 4
    assert "simulated failure at step 21" in err
    assert "FAILED: trainer" in out
    result = read_result(list_run_directories(tmp_path / "results")[0])
    assert (result.state, result.failure.rank, result.failure.exit_code) == ("failed", 1, 70)
    assert result.ranks[1].last_step == 20


def test_foreign_trainer(tmp_path, capsys):
    trainer = tmp_path / "trainer.py"
    trainer.write_text(
        "import os, sys\n"
        "for step in range(10, 110, 10):\n"
        "    print('INFO:tensorflow:loss = %.1f, step = %d (2.000 sec)' % (9 - step / 50, step))\n"
        "print(sys.argv[1], os.environ['RANK_ID'], os.environ['RANK_SIZE'])\n",
        encoding="utf-8",
    )
    command = f"{sys.executable} {trainer} --world={{world_size}}"
    code, out, _ = _run(
        capsys, "bench", "--backend", "cpu", "--cards", "2", "--trainer-command", command,
        "--steps", "100", "--format", "json", "--quiet",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)[0]["steps_per_second"] == pytest.approx(5.0)
    logs = tmp_path / "results" / "runs"
    text = next(logs.glob("*/logs/train_1.log")).read_text()
    assert text.endswith("--world=2 1 2\n")


def _start(tmp_path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *arguments],
        cwd=str(tmp_path),
        env=dict(os.environ, PYTHONPATH=_find_checkout()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
    )


def _find_checkout():
    import bench

    return os.path.dirname(os.path.dirname(os.path.abspath(bench.__file__)))


def _wait_for_ranks(harness, count, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        children = psutil.Process(harness.pid).children()
        ranks = [child for child in children if _is_simulated_rank(child)]
        if len(ranks) == count:
            return ranks
        time.sleep(0.05)
    raise AssertionError("ranks did not start")


def _is_simulated_rank(child):
    try:
        return "bench.devices.simulated_rank" in child.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def _wait_for_step(tmp_path, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        logs = list(tmp_path.glob("results/runs/*/logs/*.log"))
        if logs and all("global_step = " in log.read_text() for log in logs):
            return
        time.sleep(0.05)
    raise AssertionError("no step was logged")


def test_killed_rank_ends_the_run(tmp_path):
    with _start(tmp_path, "bench", "--backend", "simulated", "--cards", "3", *SLOW) as harness:
        ranks = _wait_for_ranks(harness, 3)
        _wait_for_step(tmp_path)
        ranks[1].kill()
        out, err = harness.communicate(timeout=10)
    assert harness.returncode == 4
    assert re.search(r"rank \d was killed by SIGKILL \(9\)", err)
    assert "FAILED: trainer" in out
    assert not [rank for rank in ranks if rank.is_running()]
    (folder,) = list_run_directories(tmp_path / "results")
    result = read_result(folder)
    assert result.state == "failed"
    assert result.failure.exit_code == -signal.SIGKILL
    assert all(record.last_step for record in result.ranks)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_harness_keeps_what_was_measured(tmp_path, number):
    with _start(tmp_path, "bench", "--backend", "simulated", "--cards", "2,4", *SLOW) as harness:
        ranks = _wait_for_ranks(harness, 2)
        _wait_for_step(tmp_path)
        harness.send_signal(number)
        out, err = harness.communicate(timeout=10)
    assert harness.returncode == 128 + number
    assert err.splitlines()[-1] == f"ascend-bert: error: ended by {number.name}"
    assert not [rank for rank in ranks if rank.is_running()]
    (folder,) = list_run_directories(tmp_path / "results")
    assert read_result(folder).failure.kind == "interrupted"


def test_metrics_move_during_a_run(tmp_path):
    arguments = ["bench", "--backend", "simulated", "--cards", "2", "--metrics-port", "0", *SLOW]
    with _start(tmp_path, *arguments) as harness:
        try:
            line = next(line for line in harness.stderr if line.startswith("metrics: "))
            url = line.split()[1]
            first = _scrape_until(url, "ascend_bert_train_steps_total", 1)
            second = _scrape_until(url, "ascend_bert_train_steps_total", first + 1)
            assert second > first
            body = urllib.request.urlopen(url, timeout=10).read().decode()
        finally:
            harness.terminate()
            harness.communicate(timeout=10)
    assert re.search(r'ascend_bert_rank_up\{device="1",rank="1",run_id="[^"]+"\} 1\.0', body)
    assert re.search(r'ascend_bert_run_state\{run_id="[^"]+",state="measuring"\} 1\.0', body)
    assert 'simulated="true"' in body


def _scrape_until(url, name, least, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        body = urllib.request.urlopen(url, timeout=10).read().decode()
        match = re.search(name + r'\{rank="1",run_id="[^"]+"\} (\S+)', body)
        if match and float(match.group(1)) >= least:
            return float(match.group(1))
        time.sleep(0.05)
    raise AssertionError(f"{name} did not reach {least}")


def test_every_verb_has_help(capsys):
    for verb in ("bench", "parse", "show", "data"):
        with pytest.raises(SystemExit) as ended:
            build_parser().parse_args([verb, "--help"])
        assert ended.value.code == 0
        assert "usage: ascend-bert " + verb in capsys.readouterr().out


def test_a_log_that_floods_does_not_outlive_the_deadline(tmp_path, capsys):
    flood = f"{sys.executable} -c \"while True: print('y' * 1000)\""
    started = time.monotonic()
    code, _, err = _run(
        capsys, "bench", "--backend", "cpu", "--cards", "1", "--trainer-command", flood,
        "--set", "run_timeout_seconds=1", "--quiet",
    )  # fmt: skip
    assert code == 5
    assert "took longer than 1 s" in err
    # Generous: only a reader that never comes back would need more.
    assert time.monotonic() - started < 60


def test_a_rank_that_never_ends_does_not_hold_up_the_run(tmp_path, capsys):
    trainer = tmp_path / "trainer.py"
    trainer.write_text("import sys, time\nif sys.argv[1] == '1':\n    time.sleep(600)\n")
    code, _, err = _run(
        capsys, "bench", "--backend", "cpu", "--cards", "2", "--trainer-command",
        f"{sys.executable} {trainer} {{rank}}", "--set", "last_rank_timeout_seconds=0.5",
    )  # fmt: skip
    assert code == 5
    assert "rank 1 still ran 0.5 s after the first rank had ended" in err


def test_impatience_kills_at_once(tmp_path):
    script = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('global_step = 1, total_loss = 1.0', flush=True)\n"
        "time.sleep(600)\n"
    )
    (tmp_path / "trainer.py").write_text(script, encoding="utf-8")
    arguments = ["bench", "--backend", "cpu", "--cards", "1", "--quiet"]
    arguments += ["--trainer-command", f"{sys.executable} {tmp_path / 'trainer.py'}"]
    arguments += ["--set", "rank_timeout_seconds=300"]
    with _start(tmp_path, *arguments) as harness:
        _wait_for_step(tmp_path)
        (rank,) = psutil.Process(harness.pid).children()
        for _ in range(2):
            harness.send_signal(signal.SIGTERM)
            time.sleep(0.5)
        harness.communicate(timeout=20)
    assert harness.returncode == 143
    assert not rank.is_running()


def test_closed_terminal_ends_the_ranks(tmp_path):
    with _start(tmp_path, "bench", "--backend", "simulated", "--cards", "2", *SLOW) as harness:
        ranks = _wait_for_ranks(harness, 2)
        harness.send_signal(signal.SIGHUP)
        harness.communicate(timeout=20)
    assert harness.returncode == 129
    assert not [rank for rank in ranks if rank.is_running()]


def test_our_own_mistake_is_a_line_and_a_failed_result(tmp_path, capsys, monkeypatch):
    import bench.session.run

    monkeypatch.setattr(bench.session.run, "build_plan", lambda *args: 1 / 0)
    code, _, err = _run(capsys, *SIMULATED, "--cards", "1")
    assert code == 70
    assert err.splitlines()[-1] == "ascend-bert: error: ZeroDivisionError: division by zero"
    (folder,) = list_run_directories(tmp_path / "results")
    assert read_result(folder).failure.kind == "internal"


def test_damaged_results_do_not_hide_the_others(tmp_path, capsys):
    _run(capsys, *SIMULATED, "--cards", "1")
    for name, text in (("a", "{"), ("b", '{"schema_version": 2}')):
        (tmp_path / "results" / "runs" / name).mkdir()
        (tmp_path / "results" / "runs" / name / "result.json").write_text(text, encoding="utf-8")
    code, out, err = _run(capsys, "show", "--format", "json")
    assert code == 0
    assert len(json.loads(out)) == 1
    assert err.count("left out: ") == 2


def test_all_simulated_ranks_are_followed(tmp_path, capsys):
    from bench.session.signals import SignalCatcher
    from bench.session.sweep import open_sweep
    from bench.spec import build_spec

    layer = {"backend": "simulated", "cards": "40", "steps": 20}
    sweep = open_sweep([build_spec([("test", layer)])], tmp_path / "out", quiet=True)
    with SignalCatcher() as signals:
        sweep.run(signals)
    snapshot = sweep.get_snapshot()
    assert [rank.step for rank in snapshot.ranks] == [20] * 40
    assert {rank.steps_done for rank in snapshot.ranks} == {20}
