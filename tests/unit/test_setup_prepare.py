"""scripts/prepare against stand-in interpreters: what it finds, makes, waits for and says.

The stand-in is a shell script that writes down how it was called, answers the probe like the
version it is given, and lets ``-m venv`` and ``-m pip`` take no time; so every path of the real
scripts runs, without a network. The real installation is what runs this very test.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from glob import glob
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = [
    "bash",
    "cat",
    "cmp",
    "cp",
    "dirname",
    "env",
    "grep",
    "mkdir",
    "mv",
    "rm",
    "sleep",
    "tail",
    "timeout",
]

STAND_IN = """#!/bin/bash
echo "$*" >> "{log}"
case "$*" in
  *version_info*) case " ${{*:4}} " in *" {version} "*) exit 0 ;; *) exit 1 ;; esac ;;
  *platform*) echo {machine} ;;
  *fcntl*) exec "{real}" "$@" ;;
  *"-m venv "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  *"-m pip "*)
    if [ -e "{state}/slow" ]; then sleep "$(cat "{state}/slow")"; fi
    if [ -e "{state}/broken" ]; then echo "ERROR: no route to the index"; exit 1; fi
    case "$*" in *" -e "*) cp "{state}/ascend-bert" "${{0%/*}}/ascend-bert" ;; esac ;;
esac
"""


class Checkout:
    """A small copy of the repository with its own HOME and PATH."""

    def __init__(self, path: Path) -> None:
        self.path = path / "check out"
        self.home = path / "home"
        self.bin = path / "bin"
        self.state = path / "state"
        self.log = self.state / "calls"
        for folder in (self.path / "bench", self.home, self.bin, self.state):
            folder.mkdir(parents=True)
        shutil.copytree(str(ROOT / "scripts"), str(self.path / "scripts"))
        for name in ("bootstrap", "cpu-py37", "dev"):
            (self.path / "scripts/lock" / (name + ".txt")).write_text(f"{name}==1\n")
        (self.path / "pyproject.toml").write_text("[project]\n")
        (self.path / "bench/__init__.py").write_text("")
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))
        self.write_script(self.state / "ascend-bert", '#!/bin/bash\nprintf "<%s>" "$@"\nexit 5\n')

    def write_script(self, file: Path, text: str) -> Path:
        """Writes an executable file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def add_python(self, place: str, version: str = "3.7", machine: str = "x86_64") -> Path:
        """Puts a stand-in interpreter below the home, or into PATH for a bare name."""
        file = self.home / place if "/" in place else self.bin / place
        facts = {"log": self.log, "state": self.state, "real": sys.executable}
        return self.write_script(file, STAND_IN.format(version=version, machine=machine, **facts))

    def start(self, *command: str, **variables: str) -> subprocess.Popen:
        """Starts a script in a process group of its own."""
        variables = {"PATH": str(self.bin), "HOME": str(self.home), **variables}
        return subprocess.Popen(
            ["/bin/bash", str(self.path / "scripts" / command[0]), *command[1:]],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            start_new_session=True,
        )

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess:
        """Runs a script to its end."""
        process = self.start(*command, **variables)
        stdout, stderr = process.communicate(timeout=30)
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def calls(self, part: str = "") -> list:
        """The calls of interpreters so far that hold ``part``."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if part in line]

    def wait_for_call(self, part: str) -> None:
        """Waits until an interpreter was called like that."""
        deadline = time.monotonic() + 20
        while not self.calls(part):
            assert time.monotonic() < deadline, f"no call of {part}"
            time.sleep(0.01)


@pytest.fixture()
def checkout(tmp_path):
    """A checkout on a machine without any Python 3.7."""
    return Checkout(tmp_path)


@pytest.fixture()
def nothing_at_fixed_places():
    """Skips where interpreters stand at places that neither HOME nor PATH can hide."""
    if glob("/usr/local/python3.*/bin/python3.*") or glob("/opt/conda/envs/*/bin/python3.*"):
        pytest.skip("this machine has interpreters at fixed places")


@pytest.fixture()
def prepared(checkout):
    """A checkout whose environment stands."""
    checkout.add_python("python3.7")
    assert checkout.run("prepare").returncode == 0
    return checkout


def test_makes_the_environment_from_both_locks_with_hashes(prepared):
    installs = prepared.calls("-m pip")
    assert len(installs) == 3
    assert all("--require-hashes" in call for call in installs[:2])
    assert "bootstrap.txt" in installs[0]
    assert "cpu-py37.txt" in installs[1]
    assert "--no-index --no-deps --no-build-isolation" in installs[2]


def test_second_call_starts_no_interpreter_and_says_nothing(prepared):
    before = prepared.calls()
    result = prepared.run("prepare")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert prepared.calls() == before


def test_shim_that_fails_is_passed_over(checkout):
    checkout.write_script(checkout.bin / "python3.7", "#!/bin/bash\necho not found >&2\nexit 127\n")
    real = checkout.add_python(".pyenv/versions/3.7.16/bin/python3.7")
    result = checkout.run("prepare")
    assert result.returncode == 0
    assert str(real) in result.stderr
    assert "not found" not in result.stderr


def test_candidate_that_hangs_is_passed_over(checkout):
    limit = '#!/bin/bash\nshift\nexec {} 0.2 "$@"\n'.format(shutil.which("timeout"))
    (checkout.bin / "timeout").unlink()
    checkout.write_script(checkout.bin / "timeout", limit)
    checkout.write_script(checkout.bin / "python3.7", "#!/bin/bash\nexec sleep 60\n")
    real = checkout.add_python(".pyenv/versions/3.7.16/bin/python3.7")
    result = checkout.run("prepare")
    assert result.returncode == 0
    assert str(real) in result.stderr


@pytest.mark.parametrize(
    "place",
    ["python3", "python", ".pyenv/versions/3.7.9/bin/python3.7", "miniconda3/envs/x/bin/python3.7"],
)
def test_interpreter_is_found_at(checkout, place):
    python = checkout.add_python(place)
    result = checkout.run("prepare")
    assert result.returncode == 0
    assert str(python) in result.stderr


def test_interpreter_is_found_by_conda_and_uv(checkout):
    conda = checkout.add_python("far away/conda/bin/python3.7")
    (checkout.home / ".conda").mkdir()
    (checkout.home / ".conda/environments.txt").write_text(f"{conda.parents[1]}\n")
    assert str(conda) in checkout.run("prepare").stderr
    conda.unlink()
    shutil.rmtree(str(checkout.path / ".venv"))
    found = checkout.add_python("uv/bin/python3.7")
    checkout.write_script(checkout.bin / "uv", f'#!/bin/bash\necho "{found}"\n')
    assert str(found) in checkout.run("prepare").stderr


@pytest.mark.usefixtures("nothing_at_fixed_places")
@pytest.mark.parametrize("path", ["", None])
def test_without_python_37_one_line_names_the_ways_to_get_it(checkout, path):
    checkout.add_python("python3", version="3.11")
    variables = {} if path is None else {"PATH": path}
    result = checkout.run("prepare", **variables)
    assert (result.returncode, result.stdout) == (6, "")
    assert len(result.stderr.splitlines()) == 1
    for way in ("no working Python 3.7", "uv python install 3.7", "pyenv install 3.7", "conda"):
        assert way in result.stderr
    assert "Docker" in result.stderr
    assert not (checkout.path / ".venv").exists()


def test_without_python_37_the_message_lists_what_was_tried(checkout):
    shim = checkout.write_script(checkout.bin / "python3.7", "#!/bin/bash\nexit 127\n")
    assert str(shim) in checkout.run("prepare").stderr


@pytest.mark.usefixtures("nothing_at_fixed_places")
def test_dev_environment_wants_a_current_python(checkout):
    checkout.add_python("python3.7")
    result = checkout.run("prepare", "dev")
    assert result.returncode == 6
    assert "ASCEND_BERT_DEV_PYTHON" in result.stderr
    checkout.add_python("python3.11", version="3.11")
    assert checkout.run("prepare", "dev").returncode == 0
    assert checkout.calls("dev.txt")
    assert not (checkout.path / ".venv").exists()


def test_chosen_interpreter_is_used_or_refused(prepared):
    other = prepared.add_python("elsewhere/python")
    assert prepared.run("prepare").stderr == ""
    assert str(other) in prepared.run("prepare", ASCEND_BERT_PYTHON=str(other)).stderr
    assert prepared.run("prepare", ASCEND_BERT_PYTHON=str(other)).stderr == ""
    result = prepared.run("prepare", ASCEND_BERT_PYTHON="/nowhere/python")
    assert result.returncode == 6
    assert result.stderr.startswith("prepare: ASCEND_BERT_PYTHON=/nowhere/python is not a working")


def test_other_processors_are_told_that_tensorflow_was_not_built_for_them(checkout):
    checkout.add_python("python3.7", machine="aarch64")
    result = checkout.run("prepare")
    assert result.returncode == 6
    assert "no build for aarch64" in result.stderr
    assert not (checkout.path / ".venv").exists()


def test_unknown_environment_is_a_usage_error(checkout):
    result = checkout.run("prepare", "prod")
    assert (result.returncode, result.stderr) == (
        2,
        "prepare: unknown environment 'prod': run, dev or otava\n",
    )


def test_changed_pins_make_it_anew(prepared):
    (prepared.path / "scripts/lock/cpu-py37.txt").write_text("cpu-py37==2\n")
    leftover = prepared.path / ".venv/leftover"
    leftover.write_text("")
    assert prepared.run("prepare").returncode == 0
    assert len(prepared.calls("-m venv")) == 2
    assert not leftover.exists()


def test_changed_project_file_installs_the_project_only(prepared):
    (prepared.path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert prepared.run("prepare").returncode == 0
    assert len(prepared.calls("-m venv")) == 1
    assert len(prepared.calls(" -e ")) == 2


def test_moved_checkout_is_made_anew(prepared):
    moved = prepared.path.with_name("moved")
    prepared.path.rename(moved)
    prepared.path = moved
    assert prepared.run("prepare").returncode == 0
    assert len(prepared.calls("-m venv")) == 2


def test_vanished_interpreter_is_replaced(prepared):
    (prepared.path / ".venv/bin/python").unlink()
    assert prepared.run("prepare").returncode == 0
    assert len(prepared.calls("-m venv")) == 2


def test_several_at_once_make_it_once(checkout):
    checkout.add_python("python3.7")
    (checkout.state / "slow").write_text("0.2")
    processes = [checkout.start("prepare") for _ in range(4)]
    messages = [process.communicate(timeout=30)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert len(checkout.calls("-m venv")) == 1
    assert len(checkout.calls("-m pip")) == 3
    assert sum("waiting for another prepare" in message for message in messages) >= 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_set_up_is_made_anew_by_the_next_call(checkout, number):
    checkout.add_python("python3.7")
    (checkout.state / "slow").write_text("60")
    process = checkout.start("prepare")
    checkout.wait_for_call("-m pip")
    os.killpg(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    (checkout.state / "slow").unlink()
    assert checkout.run("prepare").returncode == 0
    assert len(checkout.calls("-m venv")) == 2
    assert checkout.run("prepare").stderr == ""


def test_failed_installation_is_one_line_and_tried_again(checkout):
    checkout.add_python("python3.7")
    (checkout.state / "broken").write_text("")
    result = checkout.run("prepare")
    assert (result.returncode, result.stdout) == (6, "")
    assert "ERROR: no route to the index" in result.stderr.splitlines()[-1]
    (checkout.state / "broken").unlink()
    assert checkout.run("prepare").returncode == 0


def test_commands_pass_arguments_output_and_exit_code_through(checkout):
    checkout.add_python("python3.7")
    result = checkout.run("bench", "--cards", "1,2", "two words", "")
    assert result.stdout == "<bench><--cards><1,2><two words><>"
    assert result.returncode == 5
    assert checkout.run("ascend-bert", "show").stdout == "<show>"


@pytest.mark.usefixtures("nothing_at_fixed_places")
def test_command_is_not_run_when_the_environment_cannot_be_made(checkout):
    result = checkout.run("bench", "--cards", "1")
    assert (result.returncode, result.stdout) == (6, "")


def test_probe_knows_a_real_interpreter():
    version = "{}.{}".format(*sys.version_info[:2])
    script = '. "$1/scripts/lib/python.sh" && probe_python "$2" "${@:3}"'
    command = ["/bin/bash", "-c", script, "-", str(ROOT), sys.executable]
    assert subprocess.call([*command, "2.7", version]) == 0
    assert subprocess.call([*command, "2.7"]) == 1
