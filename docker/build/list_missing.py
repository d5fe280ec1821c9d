"""Which pins of a lock file an image lacks: ``list_missing.py [--check] PYPROJECT LOCK``.

Prints the requirements, with their hashes, of the packages that this interpreter does not have,
or has in a version outside the range that ``pyproject.toml`` declares. Packages that only others
ask for are left as they are when any version is there. With ``--check`` prints nothing and fails
when a package of the lock file is absent or lacks something itself. Needs the pip of
``scripts/lock/bootstrap.txt``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Dict, List

from pip._vendor import tomli
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

EXTRAS = ("ascend", "image")


def main(arguments: List[str]) -> int:
    """Runs the tool and returns its exit code."""
    check = arguments[:1] == ["--check"]
    pyproject, lock = arguments[-2:]
    with open(lock, encoding="utf-8") as file:
        pins = parse_lock(file.read())
    with open(pyproject, "rb") as binary:
        missing = list_missing(pins, list_ranges(tomli.load(binary)["project"]), list_installed())
    if not check:
        sys.stdout.write("".join(pins[name] for name in missing))
        return 0
    problems = [f"{name} is missing" for name in missing] + find_conflicts(list(pins))
    sys.stderr.write("".join(f"list_missing: {problem}\n" for problem in problems))
    return 1 if problems else 0


def parse_lock(text: str) -> Dict[str, str]:
    """Package name → its requirement with all hashes, as it stands in a lock file."""
    blocks = re.findall(r"^\S+==.*(?:\n[ ]+--hash.*)*\n?", text, flags=re.MULTILINE)
    return {str(canonicalize_name(block.split("==")[0])): block for block in blocks}


def list_ranges(project: Dict) -> Dict[str, Requirement]:
    """Package name → what the project asks of it."""
    words = list(project["dependencies"])
    for extra in EXTRAS:
        words += project["optional-dependencies"][extra]
    found = [Requirement(word) for word in words]
    return {str(canonicalize_name(requirement.name)): requirement for requirement in found}


def list_installed() -> Dict[str, str]:
    """Package name → version, of what this interpreter has."""
    words = [sys.executable, "-m", "pip", "list", "--format=json"]
    listed = json.loads(subprocess.check_output(words).decode("utf-8"))
    return {str(canonicalize_name(entry["name"])): entry["version"] for entry in listed}


def list_missing(
    pins: Dict[str, str], ranges: Dict[str, Requirement], installed: Dict[str, str]
) -> List[str]:
    """Names of the pins that are absent, or present in a version out of range."""
    missing = []
    for name in pins:
        version = installed.get(name)
        wanted = ranges.get(name)
        if version is None or (
            wanted is not None and not wanted.specifier.contains(version, prereleases=True)
        ):
            missing.append(name)
    return missing


def find_conflicts(names: List[str]) -> List[str]:
    """What pip finds wrong with packages of the lock file; the faults of others are not ours."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "check"], stdout=subprocess.PIPE, check=False
    )
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    return [line for line in lines if str(canonicalize_name(line.split(" ")[0])) in names]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
