"""The launch scripts, with a stand-in for the interpreter that writes down what it is given."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "scripts"

# Writes its arguments and environment, then does what the variable AFTER_<device> says.
INTERPRETER = """#!/bin/bash
printf '%s\\n' "$@" > "$RECORDS/argv_$DEVICE_ID"
env > "$RECORDS/env_$DEVICE_ID"
echo "rank $RANK_ID of $RANK_SIZE"
after=AFTER_$DEVICE_ID
eval "${!after:-true}"
"""


@pytest.fixture
def machine(tmp_path):
    """A place with CANN in the flat layout, an interpreter and somewhere to run."""
    (tmp_path / "cann" / "fwkacllib" / "lib64").mkdir(parents=True)
    (tmp_path / "cann" / "tfplugin" / "python" / "site-packages").mkdir(parents=True)
    (tmp_path / "records").mkdir()
    (tmp_path / "run").mkdir()
    interpreter = tmp_path / "python"
    interpreter.write_text(INTERPRETER, encoding="utf-8")
    interpreter.chmod(0o755)
    return tmp_path


def build_environ(machine, **changes):
    environ = {
        "PATH": os.environ["PATH"],
        "ASCEND_INSTALL_ROOT": str(machine / "cann"),
        "TRAIN_PYTHON": str(machine / "python"),
        "RECORDS": str(machine / "records"),
        "RANK_TABLE_FILE": str(machine / "table.json"),
    }
    environ.update(changes)
    return {name: value for name, value in environ.items() if value}


def run_script(machine, name, *arguments, **changes):
    done = subprocess.run(
        ["bash", str(SCRIPTS / name), *arguments],
        cwd=str(machine / "run"),
        env=build_environ(machine, **changes),
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def read_record(machine, device=0):
    argv = (machine / "records" / f"argv_{device}").read_text("utf-8").splitlines()
    lines = (machine / "records" / f"env_{device}").read_text("utf-8").splitlines()
    return argv, dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.mark.parametrize(
    ("layout", "plugin"),
    [
        ("nnae/latest", "tfplugin/latest/tfplugin"),
        ("ascend-toolkit/latest", "ascend-toolkit/latest/tfplugin"),
        (".", "tfplugin"),
    ],
)
def test_every_layout_of_the_software_is_found(tmp_path, layout, plugin):
    (tmp_path / layout / "fwkacllib").mkdir(parents=True)
    (tmp_path / plugin / "python" / "site-packages").mkdir(parents=True)
    (tmp_path / "driver" / "lib64" / "driver").mkdir(parents=True)
    command = f'source "{SCRIPTS}/npu_set_env.sh" "{tmp_path}" && env'
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "before"},
        stdout=subprocess.PIPE,
        check=True,
    )
    found, *lines = done.stdout.decode().splitlines()
    environ = dict(line.split("=", 1) for line in lines)
    base = str(tmp_path) if layout == "." else f"{tmp_path}/{layout}"
    adapter = f"{tmp_path}/{plugin}/python/site-packages"
    assert found == f"npu_set_env: CANN in {base}, TF adapter in {adapter}"
    assert environ["ASCEND_OPP_PATH"] == f"{base}/opp"
    assert environ["ASCEND_AICPU_PATH"] == base
    assert environ["PYTHONPATH"].split(":")[0] == adapter
    assert environ["PYTHONPATH"].split(":")[-1] == "before"
    assert environ["LD_LIBRARY_PATH"].split(":") == [
        f"{base}/fwkacllib/lib64",
        f"{tmp_path}/driver/lib64",
        f"{tmp_path}/driver/lib64/driver",
    ]
    assert environ["PATH"].startswith(f"{base}/fwkacllib/ccec_compiler/bin:")


def test_the_first_layout_wins(tmp_path):
    for layout in ("nnae/latest", "ascend-toolkit/latest"):
        (tmp_path / layout / "fwkacllib").mkdir(parents=True)
    (tmp_path / "tfplugin" / "python" / "site-packages").mkdir(parents=True)
    done = subprocess.run(
        ["bash", str(SCRIPTS / "npu_set_env.sh"), str(tmp_path)],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        check=True,
    )
    assert f"CANN in {tmp_path}/nnae/latest," in done.stdout.decode()


def test_absent_software_is_said(machine):
    code, _, err = run_script(machine, "npu_set_env.sh", str(machine / "run"))
    assert code == 1
    assert err.startswith(f"npu_set_env: no fwkacllib under {machine / 'run'} (looked for ")
    (machine / "cann" / "tfplugin" / "python" / "site-packages").rmdir()
    code, _, err = run_script(machine, "npu_set_env.sh", str(machine / "cann"))
    assert code == 1
    assert "has no TF adapter" in err
    # Whoever sources it stops too, and before the trainer is started.
    code, _, _ = run_script(machine, "run_pretraining.sh")
    assert code == 1
    assert not list((machine / "records").iterdir())


def test_one_card(machine):
    code, _, err = run_script(
        machine, "run_pretraining.sh", "--input_files_dir=data", "--train_batch_size=4"
    )
    assert (code, err) == (0, "")
    argv, environ = read_record(machine)
    assert argv[:3] == ["-m", "bert.pretrain", "--backend=ascend"]
    # Behind the defaults, so they win.
    assert argv[-2:] == ["--input_files_dir=data", "--train_batch_size=4"]
    assert "--train_batch_size=128" in argv[:-1]
    assert "--iterations_per_loop=100" in argv
    assert (environ["RANK_SIZE"], environ["RANK_ID"], environ["DEVICE_ID"]) == ("1", "0", "0")
    assert environ["JOB_ID"] == "bert-base-1p"
    assert environ["PYTHONPATH"].startswith(f"{ROOT}:")


def test_a_cpu_needs_no_ascend_software(machine):
    code, _, _ = run_script(
        machine, "run_pretraining.sh", "--backend=cpu", ASCEND_INSTALL_ROOT=str(machine / "run")
    )
    assert code == 0
    assert read_record(machine)[0][-1] == "--backend=cpu"


def test_the_exit_code_of_the_trainer_comes_through(machine):
    assert run_script(machine, "run_pretraining.sh", AFTER_0="exit 65")[0] == 65


def test_flags_of_the_scripts_are_flags_of_the_trainer():
    flags = (ROOT / "bert" / "flags.py").read_text("utf-8")
    for name in ("run_pretraining.sh", "train_8p.sh"):
        text = (SCRIPTS / name).read_text("utf-8").split("-m bert.pretrain")[-1]
        words = [w.split("=")[0] for w in text.split() if w.startswith("--")]
        assert len(words) > 10
        assert [word for word in words if f'"{word[2:]}"' not in flags] == []
    assert (ROOT / "bert" / "configs" / "bert_base_config.json").is_file()


def test_eight_cards(machine):
    code, out, err = run_script(machine, "run_8p.sh", "--input_files_dir=data")
    assert (code, err) == (0, "")
    assert sorted(out.splitlines()) == [f"card {i}: training succeeded" for i in range(8)]
    for device in range(8):
        argv, environ = read_record(machine, device)
        assert argv[-1] == "--input_files_dir=data"
        assert environ["RANK_ID"] == environ["DEVICE_ID"] == str(device)
        assert (environ["RANK_SIZE"], environ["RANK_INDEX"]) == ("8", "0")
        log = machine / "run" / "result" / "8p" / f"train_{device}.log"
        assert f"rank {device} of 8" in log.read_text("utf-8")


def test_the_second_of_two_servers(machine):
    code, _, _ = run_script(machine, "run_8p.sh", RANK_SIZE="16", RANK_INDEX="1")
    assert code == 0
    assert [read_record(machine, d)[1]["RANK_ID"] for d in (0, 7)] == ["8", "15"]


def test_a_rank_that_fails_ends_all_with_its_code(machine):
    started = time.time()
    code, out, err = run_script(
        machine, "run_8p.sh", RANK_SIZE="2", AFTER_0="exec sleep 50", AFTER_1="exit 69"
    )
    assert code == 69
    assert "card 1: training failed, exit code 69; see result/8p/train_1.log" in err
    assert out == ""
    assert time.time() - started < 30


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_all_ranks(machine, number, code):
    process = subprocess.Popen(
        ["bash", str(SCRIPTS / "run_8p.sh")],
        cwd=str(machine / "run"),
        env=build_environ(machine, RANK_SIZE="1", AFTER_0="exec sleep 50"),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        log = machine / "run" / "result" / "8p" / "train_0.log"
        deadline = time.time() + 20
        while time.time() < deadline and not (log.exists() and "rank 0" in log.read_text()):
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=20) == code
    finally:
        process.kill()
        process.wait()


def test_an_older_log_is_kept(machine):
    for _ in range(3):
        assert run_script(machine, "train_8p.sh", "3")[0] == 0
    names = sorted(path.name for path in (machine / "run" / "result" / "8p").iterdir())
    assert names == ["train_3.log", "train_3.log.old", "train_3.log.old.~1~"]


@pytest.mark.parametrize("arguments", [[], ["8"], ["x"], ["--input_files_dir=data"]])
def test_a_wrong_card_is_refused(machine, arguments):
    code, _, err = run_script(machine, "train_8p.sh", *arguments)
    assert code == 64
    assert "the first argument must be a card, 0 to 7" in err
    assert not (machine / "run" / "result").exists()


def test_several_cards_need_a_rank_table(machine):
    code, _, err = run_script(machine, "run_8p.sh", RANK_SIZE="2", RANK_TABLE_FILE="")
    assert code == 64
    assert "set RANK_TABLE_FILE" in err
    assert not list((machine / "records").iterdir())


def test_scripts_are_short_and_delete_nothing():
    for name in ("run_pretraining.sh", "run_8p.sh", "train_8p.sh", "npu_set_env.sh"):
        text = (SCRIPTS / name).read_text("utf-8")
        assert text.count("\n") < 40
        assert " rm " not in text
        assert os.access(str(SCRIPTS / name), os.X_OK)
