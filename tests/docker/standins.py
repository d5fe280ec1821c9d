"""Stand-ins for the base images, from Debian's packages and the Pythons of this machine.

They are as the real ones where it matters here: a Debian without extras, and a Python in
``/usr/local`` with pip. No registry is asked.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.docker.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
DEBIAN = "ascend-bert-standin/debian"
PYTHON = "ascend-bert-standin/python:current"
PYTHON37 = "ascend-bert-standin/python:3.7"
PYTHON_ARM64 = "ascend-bert-standin/python:current-arm64"
ASCEND = "ascend-bert-standin/ascend-tensorflow:20.2.0"

# What a Python of this machine is linked to, as in the official images.
_LIBRARIES = "ca-certificates,libbz2-1.0,libexpat1,libffi8,liblzma5,libncursesw6,libreadline8"
_LIBRARIES += ",libsqlite3-0,libssl3,libuuid1,netbase,tzdata,zlib1g"
_NOT_COPIED = ("site-packages", "dist-packages", "test", "tests", "__pycache__", "idle_test")


def make_debian(engine: Engine, folder: Path) -> None:
    """A Debian of this machine's release, as small as debootstrap makes it."""
    root = folder / "debian"
    _debootstrap(root, f"--include={_LIBRARIES}")
    _drop_documentation(root)
    _import(engine, root, DEBIAN, "amd64")


def make_python(engine: Engine, folder: Path, interpreter: Path, tag: str) -> None:
    """The standard library and interpreter of this machine on the stand-in for Debian."""
    probe = (
        "import sys, sysconfig; print(sys.base_prefix); print('%d.%d' % sys.version_info[:2]);"
        "print(sysconfig.get_config_var('LIBDIR'))"
    )
    said = subprocess.run(
        [str(interpreter), "-I", "-c", probe], stdout=subprocess.PIPE, check=True
    ).stdout.decode()
    prefix, version, libraries = said.split()
    tree = folder / f"python{version}" / "local"
    (tree / "bin").mkdir(parents=True)
    (tree / "lib").mkdir()
    shutil.copy2(f"{prefix}/bin/python{version}", tree / "bin")
    for name in ("python3", "python"):
        (tree / "bin" / name).symlink_to(f"python{version}")
    for path in Path(libraries).glob(f"libpython{version}*.so*"):
        shutil.copy2(path, tree / "lib", follow_symlinks=False)
    shutil.copytree(
        f"{prefix}/lib/python{version}",
        tree / "lib" / f"python{version}",
        symlinks=True,
        ignore=shutil.ignore_patterns(*_NOT_COPIED, "config-*", "tkinter", "_tkinter*"),
    )
    (tree / "lib" / f"python{version}" / "site-packages").mkdir()
    _strip(tree)
    dockerfile = (
        f"FROM {DEBIAN}\n"
        "COPY local /usr/local\n"
        # tests/ were left out: ensurepip's own folder has none that matters.
        f"RUN ldconfig && python{version} -m ensurepip --default-pip\n"
    )
    build(engine, tree.parent, dockerfile, tag)


def _strip(tree: Path) -> None:
    """Takes the symbols for debuggers out, which the official images do not have either."""
    files = [str(path) for path in tree.rglob("*.so*") if not path.is_symlink()]
    subprocess.run(["strip", "--strip-unneeded", *files], check=True)


def make_ascend(engine: Engine, folder: Path) -> None:
    """TensorFlow 1.15 and the stand-in of npu_bridge and hccl, on Python 3.7, with its user."""
    context = folder / "ascend"
    shutil.copytree(ROOT / "tests" / "fakes" / "site", context / "site")
    shutil.copy(ROOT / "scripts" / "lock" / "image-cpu.txt", context)
    (context / "has.py").write_text(_HAS)
    dockerfile = (
        f"FROM {PYTHON37}\n"
        "COPY image-cpu.txt has.py /\n"
        "RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf"
        " --mount=type=secret,id=ca.pem,target=/run/secrets/ca.pem"
        " --mount=type=cache,target=/var/cache/pip"
        " python3.7 /has.py && PIP_CACHE_DIR=/var/cache/pip python3.7 -m pip install --no-deps"
        " --require-hashes -r /has.txt"
        " && useradd --uid 1000 --user-group --create-home HwHiAiUser\n"
        "COPY site /usr/local/Ascend/tfplugin/latest/tfplugin/python/site-packages\n"
        "ENV PYTHONPATH=/usr/local/Ascend/tfplugin/latest/tfplugin/python/site-packages\n"
    )
    build(engine, context, dockerfile, ASCEND)


def make_python_arm64(engine: Engine, folder: Path) -> None:
    """Debian's Python for arm64, unpacked and not configured: nothing of it is run to make it."""
    root = folder / "debian-arm64"
    _debootstrap(root, "--arch=arm64", "--foreign", f"--include=python3,{_LIBRARIES}")
    for package in sorted((root / "var" / "cache" / "apt" / "archives").glob("*.deb")):
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
        ) as files:
            words = ["tar", "-x", "--keep-directory-symlink", "-C", str(root)]
            subprocess.run(words, stdin=files.stdout, check=True)
        assert files.returncode == 0
    shutil.rmtree(root / "debootstrap")
    shutil.rmtree(root / "var" / "cache" / "apt")
    _drop_documentation(root)
    folder = root / "usr" / "local" / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python3").symlink_to("/usr/bin/python3")
    _import(engine, root, PYTHON_ARM64, "arm64")


def build(
    engine: Engine, context: Path, dockerfile: str, tag: str, system: str = "linux/amd64"
) -> None:
    """Builds an image from a folder; what pip is told on this machine comes as secrets."""
    (context / "Dockerfile").write_text(dockerfile)
    secrets = context.parent / "secrets"
    write_settings(secrets)
    engine.run(
        *("build", "--network", "host", "--platform", system, "-t", tag),
        *("--secret", f"id=pip.conf,src={secrets}/pip.conf"),
        *("--secret", f"id=ca.pem,src={secrets}/ca.pem"),
        str(context),
        check=True,
    )


def write_settings(folder: Path) -> None:
    """What pip is told on this machine, as ``scripts/docker-build`` passes it on."""
    folder.mkdir(exist_ok=True)
    write = '. scripts/lib/pip_settings.sh; write_pip_settings "$0"'
    subprocess.run(["bash", "-c", write, str(folder)], cwd=str(ROOT), check=True)


def _debootstrap(root: Path, *options: str) -> None:
    codename = platform_codename()
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", *options, codename, str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode("utf-8", "replace")[-2000:]


def platform_codename() -> str:
    """The name of this machine's Debian release: its Python needs the libraries of that one."""
    words = Path("/etc/os-release").read_text().split()
    return next(word.split("=")[1] for word in words if word.startswith("VERSION_CODENAME="))


def _drop_documentation(root: Path) -> None:
    """What Debian's own slim images leave out, so that sizes are comparable."""
    for name in ("doc", "man", "info", "locale", "i18n", "lintian", "groff"):
        for path in (root / "usr" / "share" / name).glob("*"):
            if name == "doc":
                for file in path.glob("*"):
                    if file.name != "copyright" and not file.is_dir():
                        file.unlink()
            elif path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    for path in (root / "var" / "cache" / "apt" / "archives").glob("*.deb"):
        path.unlink()
    for path in (root / "var" / "lib" / "apt" / "lists").glob("*_*"):
        path.unlink()


def _import(engine: Engine, root: Path, tag: str, architecture: str) -> None:
    context = root.parent / f"{root.name}-context"
    context.mkdir()
    subprocess.run(["tar", "-C", str(root), "-cf", str(context / "root.tar"), "."], check=True)
    shutil.rmtree(root)
    # "docker import" of this generation forgets the platform, a build keeps it.
    build(engine, context, "FROM scratch\nADD root.tar /\n", tag, f"linux/{architecture}")
    shutil.rmtree(context)


# The packages of the CPU image's lock that a TensorFlow image of that time has.
_HAS = """
import re
pins = re.findall(r"^\\S+==.*(?:\\n[ ]+--hash.*)*\\n?", open("/image-cpu.txt").read(), re.M)
ours = ("dumb-init", "google-crc32c", "jsonschema", "prometheus-client", "psutil", "pyrsistent",
        "tabulate", "tokenizers", "tqdm", "zstandard", "pyyaml", "attrs", "importlib-resources",
        "pkgutil-resolve-name")
open("/has.txt", "w").write("".join(pin for pin in pins if pin.split("==")[0] not in ours))
"""
