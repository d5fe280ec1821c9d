"""The harness, its checkout, and the trainer's interpreter, which is asked by a child process."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import Any, Dict, List, Mapping, Sequence

import bench
from bench.environment.sources import (
    COMMAND_TIMEOUT_SECONDS,
    AbsentFactError,
    Facts,
    Subject,
    World,
    take,
)

LISTER = Path(__file__).resolve().with_name("list_packages.py")
_SOURCE_SUFFIXES = (".py", ".json")
_TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-aarch64")


def collect_harness(world: World, subject: Subject) -> Facts:
    """The harness itself and the commit that it and the trainer stand at."""
    folder = Path(bench.__file__).resolve().parent

    def git(*arguments: str) -> str:
        argv = ["git", "-C", str(folder), *arguments]
        return world.run(argv, COMMAND_TIMEOUT_SECONDS).strip()

    return {
        "harness_version": take(lambda: bench.__version__),
        "harness_python_version": take(platform.python_version),
        "harness_python_implementation": take(platform.python_implementation),
        "harness_python_executable": take(lambda: sys.executable or None),
        "git_commit": take(lambda: git("rev-parse", "HEAD")),
        "git_dirty": take(lambda: bool(git("status", "--porcelain", "--untracked-files=no"))),
        "git_branch": take(lambda: git("rev-parse", "--abbrev-ref", "HEAD")),
        "harness_sources_sha256": take(lambda: hash_sources(folder)),
        "trainer_sources_sha256": take(lambda: _hash_trainer(subject)),
    }


def collect_trainer_software(world: World, subject: Subject) -> Facts:
    """Versions in the trainer's interpreter, none of its packages being imported."""
    try:
        if subject.trainer_python is None:
            raise AbsentFactError("no trainer is run")
        argv = [subject.trainer_python, str(LISTER)]
        found = parse_packages(world.run(argv, 2 * COMMAND_TIMEOUT_SECONDS))
    except AbsentFactError as error:
        reason = str(error)

        def found_or_reason() -> Mapping[str, Any]:
            raise AbsentFactError(reason)

    else:

        def found_or_reason() -> Mapping[str, Any]:
            return found

    def version(*names: str) -> str:
        return get_version(found_or_reason(), names)

    return {
        "trainer_python_executable": take(lambda: found_or_reason() and subject.trainer_python),
        "trainer_python_version": take(lambda: found_or_reason()["python"]),
        "trainer_python_implementation": take(lambda: found_or_reason()["implementation"]),
        "trainer_python_compiler": take(lambda: found_or_reason()["compiler"]),
        "tensorflow_version": take(lambda: version(*_TENSORFLOW)),
        "npu_bridge_version": take(lambda: version("npu-bridge")),
        "hccl_version": take(lambda: version("hccl")),
        "numpy_version": take(lambda: version("numpy")),
        "protobuf_version": take(lambda: version("protobuf")),
        "h5py_version": take(lambda: version("h5py")),
        "grpcio_version": take(lambda: version("grpcio")),
        "absl_version": take(lambda: version("absl-py")),
        "trainer_packages_sha256": take(lambda: hash_packages(found_or_reason()["packages"])),
        "trainer_packages": take(lambda: len(found_or_reason()["packages"])),
    }


def parse_packages(text: str) -> Dict[str, Any]:
    """The last line that ``list_packages.py`` printed; a site's start-up may print before it.

    Raises:
        AbsentFactError: it is not what that file prints.
    """
    lines: List[str] = text.strip().splitlines() or [""]
    try:
        found = json.loads(lines[-1])
        known = isinstance(found["packages"], dict) and isinstance(found["modules"], dict)
    except (ValueError, KeyError, TypeError):
        known = False
    if not known:
        raise AbsentFactError("the trainer's interpreter gave no list of packages")
    return dict(found)


def get_version(found: Mapping[str, Any], names: Sequence[str]) -> str:
    """Version of the first distribution that is installed.

    Raises:
        AbsentFactError: none is, or the module is there without a version.
    """
    for name in names:
        if name in found["packages"]:
            return str(found["packages"][name])
    module = names[0].replace("-", "_")
    if found["modules"].get(module):
        raise AbsentFactError(f"{module} is there, but its installer left no version")
    raise AbsentFactError(f"{names[0]} is not installed for the trainer")


def hash_packages(packages: Mapping[str, str]) -> str:
    """Hash of all ``name==version``, in order of the names."""
    lines = "".join(f"{name}=={packages[name]}\n" for name in sorted(packages))
    return hashlib.sha256(lines.encode("utf-8")).hexdigest()


def hash_sources(folder: Path) -> str:
    """Hash of names and contents of all sources below a folder; it works without git, too."""
    digest = hashlib.sha256()
    files = [path for path in folder.rglob("*") if path.suffix in _SOURCE_SUFFIXES]
    for path in sorted(files):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{content}  {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()


def _hash_trainer(subject: Subject) -> str:
    if subject.trainer_folder is None:
        raise AbsentFactError("no trainer package is used")
    return hash_sources(Path(subject.trainer_folder))
