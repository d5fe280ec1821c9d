"""Prints, as JSON, what an interpreter has installed. Run by path with the trainer's interpreter.

It imports no package that it reports: names and versions come from the folders that installers
leave beside each package, and modules are found without being loaded.
"""

import sys

# The folder of this file must not stand before the standard library.
sys.path[:1] = []

import importlib.util  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
from typing import Dict  # noqa: E402

METADATA_FOLDER = re.compile(r"([A-Za-z0-9][\w.]*)-(\d[^-]*)(?:-.*)?\.(?:dist-info|egg-info)$")
MODULES = ("tensorflow", "npu_bridge", "hccl", "te", "numpy")


def list_packages() -> Dict[str, str]:
    """Distribution → version; a folder that comes first on the path hides later ones."""
    packages: Dict[str, str] = {}
    for folder in sys.path:
        try:
            names = sorted(os.listdir(folder or "."))
        except OSError:
            continue
        for name in names:
            match = METADATA_FOLDER.match(name)
            if match:
                packages.setdefault(match.group(1).lower().replace("_", "-"), match.group(2))
    return packages


def find_modules() -> Dict[str, bool]:
    """Module → whether it is found."""
    found = {}
    for name in MODULES:
        try:
            found[name] = importlib.util.find_spec(name) is not None
        except (ImportError, ValueError):
            found[name] = False
    return found


def main() -> None:
    """Writes one line of JSON."""
    facts = {
        "python": ".".join(map(str, sys.version_info[:3])),
        "implementation": sys.implementation.name,
        "compiler": sys.version.split("[")[-1].rstrip("]"),
        "packages": list_packages(),
        "modules": find_modules(),
    }
    sys.stdout.write(json.dumps(facts, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
