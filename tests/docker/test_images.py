"""What the images are: users, labels, sizes, and what must not be in them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Dict

import pytest

import bench
from tests.docker import standins
from tests.docker.conftest import IMAGES, REPORT, ROOT

HARNESS_MAX_BYTES = 150e6
BINFMT = Path("/proc/sys/fs/binfmt_misc")
HANDLER = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
SAMPLE = ROOT / "tests" / "golden" / "logs" / "seed_sample.log"

pytestmark = pytest.mark.docker


def inspect(lab, image: str) -> Dict[str, Any]:
    """What the engine knows of an image."""
    return json.loads(lab.engine.run("image", "inspect", image, check=True).stdout)[0]


@pytest.mark.parametrize("name", IMAGES)
def test_configuration(lab, name):
    config = inspect(lab, f"ascend-bert:{name}")["Config"]
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["dumb-init", "--single-child", "--", "ascend-bert"]
    assert "/ascend-bert/results" in config["Volumes"] and config["Healthcheck"]["Test"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.version"] == bench.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(labels["org.opencontainers.image.revision"].split("-")[0]) == 40


@pytest.mark.parametrize("name", IMAGES)
def test_settings_of_this_machine_stay_out(lab, name):
    history = lab.engine.run("history", "--no-trunc", f"ascend-bert:{name}", check=True).stdout
    settings = lab.folder / "secrets" / "pip.conf"
    standins.write_settings(settings.parent)
    for line in settings.read_text().splitlines()[1:]:
        for word in line.partition("=")[2].split():
            if word != "/run/secrets/ca.pem" and len(word) > 4:
                assert word not in history
    look = "cat /etc/pip.conf /run/secrets/* 2>/dev/null | wc -c; ls -A /tmp /var/cache/pip 2>&1"
    found = lab.engine.run(
        *("run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "sh"),
        *(f"ascend-bert:{name}", "-c", look),
    ).stdout.split("\n")
    assert found[0].strip() == "0"


@pytest.mark.parametrize("name", IMAGES)
def test_no_program_gives_other_rights_and_users_may_write_where_they_must(lab, name):
    look = "find / -xdev -perm /6000 -type f 2>/dev/null | wc -l; id -u; echo x > /ascend-bert/a"
    look += " && echo y > /ascend-bert/results/b && echo z > /tmp/c && echo well"
    found = lab.engine.run(
        *("run", "--rm", "--network", "none", "--cap-drop", "ALL", "--entrypoint", "sh"),
        *(f"ascend-bert:{name}", "-c", look),
    ).stdout.split()
    assert found[1:] == ["1000", "well"]
    if name == "harness":
        assert found[0] == "0"


def test_harness_is_small_and_has_neither_tensorflow_nor_installer(lab, record_property):
    size = lab.engine.image_bytes("ascend-bert:harness")
    record_property("seen", f"{size / 1e6:.0f} MB")
    assert size < HARNESS_MAX_BYTES
    names = ("tensorflow", "pip", "ensurepip", "pytest")
    code = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    entry = ("run", "--rm", "--network", "none", "--entrypoint", "python3", "ascend-bert:harness")
    assert lab.engine.run(*entry, "-c", code, check=True).stdout.strip() == "[]"
    assert lab.engine.run(*entry, "-c", "import ssl, ctypes, lzma, bz2", check=True)


def parse_sample(lab, image: str, *options: str) -> str:
    """Reads a log of several ranks in a container; returns the table."""
    words = ("parse", "/sample.log", "--batch-size", "128")
    where = ("-v", f"{SAMPLE}:/sample.log:ro", "--read-only", "--tmpfs", "/tmp")
    run = ("run", "--rm", "--network", "none", *options, *where, image, *words)
    return lab.engine.run(*run, check=True).stdout


def test_harness_reads_logs(lab):
    assert "2.451" in parse_sample(lab, "ascend-bert:harness")


def test_harness_for_arm64(lab, record_property):
    lab_references = {"IMAGE_NAME": "ascend-bert-arm64"}
    if lab.engine.run("image", "inspect", standins.PYTHON_ARM64).returncode != 0:
        standins.make_python_arm64(lab.engine, lab.folder)
    target = ("--platform", "linux/arm64", "--build-arg", f"TARGET_IMAGE={standins.PYTHON_ARM64}")
    lab.build("harness", *target, **lab_references)
    image = "ascend-bert-arm64:harness"
    assert inspect(lab, image)["Architecture"] == "arm64"
    size = lab.engine.image_bytes(image)
    assert size < HARNESS_MAX_BYTES
    with Emulation() as emulation:
        if emulation.problem:
            record_property("seen", f"{size / 1e6:.0f} MB, not run: {emulation.problem}")
            return
        table = parse_sample(lab, image, "--platform", "linux/arm64")
    record_property("seen", f"{size / 1e6:.0f} MB, run under emulation")
    assert table == parse_sample(lab, "ascend-bert:harness")


class Emulation:
    """The kernel starts arm64 programs with qemu, as long as this lasts."""

    def __init__(self) -> None:
        self.problem = ""
        self._mounted = self._registered = False

    def __enter__(self) -> Emulation:
        if not HANDLER.exists():
            self.problem = "no qemu-user-static"
            return self
        if not (BINFMT / "register").exists():
            done = subprocess.run(
                ["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=False
            )
            self._mounted = done.returncode == 0
        if not (BINFMT / "register").exists():
            self.problem = "no binfmt_misc"
        elif not (BINFMT / "qemu-aarch64").exists():
            (BINFMT / "register").write_text(HANDLER.read_text().strip())
            self._registered = True
        return self

    def __exit__(self, *exc: object) -> None:
        if self._registered:
            (BINFMT / "qemu-aarch64").write_text("-1")
        if self._mounted:
            subprocess.run(["umount", str(BINFMT)], check=True)


def test_report_has_the_sizes(lab):
    named = {row[0] for row in REPORT.rows}
    assert {f"image {name}" for name in IMAGES} <= named
