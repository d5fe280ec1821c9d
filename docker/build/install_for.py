"""Installs pinned wheels for another platform: ``install_for.py TARGET_ROOT ARCH LOCK DIRECTORY``.

Nothing of the target is run: its Python version is read off the names under ``TARGET_ROOT``.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
OLDEST_GLIBC, NEWEST_GLIBC = 17, 36
# What a report never reads: test suites, headers, stubs, generators of Fortran bindings.
UNUSED = ("**/tests", "numpy/**/include", "numpy/**/*.pyi", "numpy/f2py", "numpy/**/*.a")


def main(root, architecture, lock, directory):
    """Runs pip for the target, then takes out what no report needs."""
    if architecture not in MACHINES:
        sys.exit(f"install_for: no wheels for {architecture}; one of {', '.join(MACHINES)}")
    platforms = [
        f"manylinux_2_{minor}_{MACHINES[architecture]}"
        for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)
    ]
    platforms.append(f"manylinux2014_{MACHINES[architecture]}")
    words = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-deps"]
    words += ["--only-binary=:all:", "--no-compile", "--root-user-action", "ignore"]
    words += ["--python-version", find_python_version(Path(root)), "--target", directory]
    words += [f"--platform={platform}" for platform in platforms]
    subprocess.run([*words, "-r", lock], check=True)
    for pattern in UNUSED:
        for path in list(Path(directory).glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()


def find_python_version(root):
    """The minor version of the Python that an image has, such as ``3.12``."""
    for folder in (root / "usr" / "local" / "lib", root / "usr" / "lib"):
        for path in sorted(folder.glob("python3.*")):
            if re.fullmatch(r"python3\.\d+", path.name) and (path / "os.py").is_file():
                return path.name[len("python") :]
    return sys.exit(f"install_for: no Python under {root}")


if __name__ == "__main__":
    main(*sys.argv[1:])
