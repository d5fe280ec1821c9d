"""The lock files, the package's metadata and the scripts themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, List

import pytest

import bench

if sys.version_info >= (3, 8):
    from importlib import metadata
else:
    import importlib_metadata as metadata

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("bootstrap.txt", "cpu-py37.txt", "dev.txt")
SCRIPTS = sorted(
    file
    for folder in ("scripts", "scripts/lib", "scripts/lock", ".ci")
    for file in (ROOT / folder).iterdir()
    if file.is_file() and file.suffix in ("", ".sh")
)
PIN = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?: ; (?P<marker>[^\\]+?))? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}(?: \\)?$")


def read_lock(name: str) -> Dict[str, List[str]]:
    """Reads the pinned versions of each distribution, and refuses any line of another kind."""
    pins: Dict[str, List[str]] = {}
    n_hashes: Dict[str, int] = {}
    for line in (ROOT / "scripts/lock" / name).read_text().splitlines():
        pin = PIN.match(line)
        if pin:
            current = pin.group("name")
            pins.setdefault(current, []).append(pin.group("version"))
        elif HASH.match(line):
            n_hashes[current] = n_hashes.get(current, 0) + 1
        else:
            assert line.lstrip().startswith("#"), f"{name}: {line}"
    assert set(n_hashes) == set(pins), "a pin without a hash"
    return pins


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_pins_and_hashes_and_nothing_else(name):
    assert read_lock(name)


def test_lock_of_the_trainer_holds_what_tensorflow_115_can_live_with():
    pins = {name: versions[0] for name, versions in read_lock("cpu-py37.txt").items()}
    assert pins["tensorflow"] == "1.15.0"
    assert pins["tensorflow-estimator"].startswith("1.15.")
    assert pins["numpy"].startswith("1.18.")
    assert pins["protobuf"].startswith("3.20.")
    assert pins["h5py"].startswith("2.")
    assert pins["tokenizers"].startswith("0.13.")


@pytest.mark.parametrize("name", ["tensorflow", "grpcio", "tokenizers", "zstandard", "psutil"])
def test_lock_covers_files_of_other_platforms(name):
    text = (ROOT / "scripts/lock/cpu-py37.txt").read_text()
    block = text.split(f"\n{name}==")[1].split("# via")[0]
    assert block.count("--hash=") > 2


def test_lock_of_the_checkers_has_no_tensorflow():
    assert not {"tensorflow", "protobuf"} & set(read_lock("dev.txt"))


def test_what_is_installed_is_what_is_locked():
    prefix = Path(sys.prefix).resolve()
    lock = {ROOT / ".venv": "cpu-py37.txt", ROOT / ".venv-dev": "dev.txt"}.get(prefix)
    if lock is None:
        pytest.skip("this interpreter is not of an environment made by scripts/prepare")
    pins = read_lock(lock)
    wrong = {
        distribution.metadata["Name"]: distribution.version
        for distribution in metadata.distributions()
        if distribution.version
        not in pins.get(normalise(distribution.metadata["Name"]), [distribution.version])
    }
    installed = {normalise(found.metadata["Name"]) for found in metadata.distributions()}
    assert wrong == {}
    assert set(pins) - installed <= {"colorama"}  # for Windows only


def normalise(name: str) -> str:
    """Spells a distribution's name as the lock files do."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_metadata_says_the_version_of_the_package_and_one_command():
    try:
        distribution = metadata.distribution("ascend-bert")
    except metadata.PackageNotFoundError:
        pytest.skip("the project is not installed for this interpreter")
    assert distribution.version == bench.__version__
    commands = {e.name: e.value for e in distribution.entry_points if e.group == "console_scripts"}
    assert commands == {"ascend-bert": "bench.cli:main"}


def test_light_installation_does_not_ask_for_tensorflow():
    text = (ROOT / "pyproject.toml").read_text()
    light = text.split("\ndependencies = [")[1].split("]")[0]
    assert "numpy" in light
    assert "tensorflow" not in light
    assert 'requires-python = ">=3.7"' in text


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_script_is_short_says_what_it_does_and_parses(file):
    lines = file.read_text().splitlines()
    assert len(lines) < 40
    assert lines[1].startswith("# ")
    if file.suffix == "":
        assert lines[0] == "#!/usr/bin/env bash"
        assert os.access(str(file), os.X_OK)
    assert subprocess.call(["bash", "-n", str(file)]) == 0


def test_ci_runs_the_checks_and_the_tests():
    text = (ROOT / ".ci/run").read_text()
    assert "scripts/check" in text
    assert "scripts/test all" in text
