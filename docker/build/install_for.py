"""Installs pinned wheels for another platform: ``install_for.py TARGET_ROOT ARCH LOCK DIRECTORY``.

Nothing of the target is run: its Python version is read off the names under ``TARGET_ROOT``.
"""

import compileall
import py_compile
import re
import shutil
import subprocess
import sys
from pathlib import Path

from pip._vendor.packaging.markers import Marker

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
OLDEST_GLIBC, NEWEST_GLIBC = 17, 36
# What a report never reads: test suites, headers, stubs, generators of Fortran bindings.
UNUSED = ("**/tests", "numpy/**/include", "numpy/**/*.pyi", "numpy/f2py", "numpy/**/*.a")


def main(root, architecture, lock, directory):
    """Runs pip for the target, takes out what no report needs, and compiles the rest."""
    if architecture not in MACHINES:
        sys.exit(f"install_for: no wheels for {architecture}; one of {', '.join(MACHINES)}")
    machine = MACHINES[architecture]
    version = find_python_version(Path(root))
    chosen = Path("/tmp/chosen.txt")
    chosen.write_text(choose_pins(Path(lock).read_text(), version, machine))
    platforms = [
        f"manylinux_2_{minor}_{machine}" for minor in range(NEWEST_GLIBC, OLDEST_GLIBC - 1, -1)
    ]
    words = [sys.executable, "-m", "pip", "install", "--require-hashes", "--no-deps"]
    words += ["--only-binary=:all:", "--no-compile", "--root-user-action", "ignore"]
    words += ["--python-version", version, "--target", directory, "-r", str(chosen)]
    words += [f"--platform={platform}" for platform in (*platforms, f"manylinux2014_{machine}")]
    if subprocess.run(words).returncode != 0:
        sys.exit(f"install_for: pip cannot install {lock} for {architecture}, Python {version}")
    for pattern in UNUSED:
        for path in list(Path(directory).glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
    compile_if_same(directory, version)


def choose_pins(lock, version, machine):
    """The pins of a lock file that hold for the target; pip would ask the Python that runs it."""
    target = {
        "python_version": version,
        "python_full_version": f"{version}.0",
        "platform_machine": machine,
        "sys_platform": "linux",
    }
    chosen = []
    for block in re.findall(r"^\S+==.*(?:\n[ ]+--hash.*)*\n?", lock, flags=re.MULTILINE):
        first, hashes = block.split("\n", 1)
        pin, _, marker = first.rstrip(" \\").partition(" ; ")
        if not marker or Marker(marker).evaluate(target):
            chosen.append(f"{pin} \\\n{hashes}")
    return "".join(chosen)


def compile_if_same(directory, version):
    """Compiles a folder ahead of time, if this Python is of the version that will read it."""
    if version == "{}.{}".format(*sys.version_info[:2]):
        # The files will not change, so that nothing needs to be compared at each start.
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        compileall.compile_dir(directory, quiet=1, stripdir=directory, invalidation_mode=mode)


def find_python_version(root):
    """The minor version of the Python that an image has, such as ``3.12``."""
    for folder in (root / "usr" / "local" / "lib", root / "usr" / "lib"):
        for path in sorted(folder.glob("python3.*")):
            if re.fullmatch(r"python3\.\d+", path.name) and (path / "os.py").is_file():
                return path.name[len("python") :]
    return sys.exit(f"install_for: no Python under {root}")


if __name__ == "__main__":
    main(*sys.argv[1:])
