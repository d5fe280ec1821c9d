"""One engine, one set of images for all tests, and a table of what was found."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Tuple

import pytest

from tests.docker import standins
from tests.docker.engine import Engine

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ("cpu", "harness", "ascend")


@dataclass
class Report:
    """Rows of the table at the end: what, how long, what was seen."""

    rows: List[Tuple[str, float, str]] = field(default_factory=list)

    def add(self, what: str, seconds: float, seen: str = "") -> None:
        """Adds a row."""
        self.rows.append((what, seconds, seen))


REPORT = Report()


@dataclass(frozen=True)
class Lab:
    """Engine and images.

    Attributes:
        engine: the engine.
        folder: for the tests' files.
        references: stand-ins, by their name in ``docker/images.env``.
    """

    engine: Engine
    folder: Path
    references: Dict[str, str]

    def build(self, image: str, *options: str, **variables: str) -> str:
        """Builds with ``scripts/docker-build``, as a user does; returns what it said."""
        client = str(Path(self.engine.client).parent)
        path = f"{client}{os.pathsep}{os.environ['PATH']}"
        environment = {**self.engine.variables, **self.references, "PATH": path, **variables}
        words = [str(ROOT / "scripts" / "docker-build"), image, "--network", "host", *options]
        done = subprocess.run(
            words,
            env={**environment, "CONTAINER_ENGINE": "docker"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout


def timed(what: str, engine: Engine, tag: str, make: Callable[[], object]) -> None:
    """Makes an image unless the engine has it from before, and notes how long it took."""
    start = time.monotonic()
    there = engine.run("image", "inspect", tag).returncode == 0
    if not there:
        make()
    REPORT.add(what, time.monotonic() - start, "from before" if there else "")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """An engine with all images, built here from stand-ins."""
    folder = Path(tempfile.mkdtemp(prefix="ascend-bert-docker-"))
    try:
        with Engine(folder) as engine:
            REPORT.add("engine", 0.0, "own dockerd" if engine.started else "the one that runs")
            made = Lab(
                engine,
                folder,
                {
                    "PYTHON_IMAGE": standins.PYTHON,
                    "PYTHON37_IMAGE": standins.PYTHON37,
                    "ASCEND_X86_IMAGE": standins.ASCEND,
                },
            )
            current, old = ROOT / ".venv-dev/bin/python", ROOT / ".venv/bin/python"
            for tag, make in (
                (standins.DEBIAN, lambda: standins.make_debian(engine, folder)),
                (
                    standins.PYTHON,
                    lambda: standins.make_python(engine, folder, current, standins.PYTHON),
                ),
                (
                    standins.PYTHON37,
                    lambda: standins.make_python(engine, folder, old, standins.PYTHON37),
                ),
                (standins.ASCEND, lambda: standins.make_ascend(engine, folder)),
            ):
                timed(f"stand-in {tag.partition('/')[2]}", engine, tag, make)
            # The one that is built last is "ascend-bert" without a tag.
            for image in ("harness", "ascend", "cpu"):
                start = time.monotonic()
                made.build(image)
                size = engine.image_bytes(f"ascend-bert:{image}") / 1e6
                REPORT.add(f"image {image}", time.monotonic() - start, f"{size:.0f} MB")
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def results(tmp_path) -> Path:
    """A results directory of user 4321, whom no image knows."""
    folder = tmp_path / "results"
    folder.mkdir()
    os.chown(folder, 4321, 4321)
    # The folders of pytest above it are for their owner alone.
    for parent in [folder, *folder.parents][:4]:
        if parent != Path("/tmp"):
            parent.chmod(0o755)
    return folder


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Notes each test for the table."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" or report.skipped:
        seen = dict(report.user_properties).get("seen", "")
        if report.skipped:
            seen = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else "")
        REPORT.add(item.name[len("test_") :], report.duration, f"{report.outcome} {seen}".strip())


def pytest_terminal_summary(terminalreporter):
    """Prints the table."""
    if not REPORT.rows:
        return
    width = max(len(row[0]) for row in REPORT.rows)
    terminalreporter.section("containers")
    for what, seconds, seen in REPORT.rows:
        terminalreporter.write_line(f"{what:<{width}}  {seconds:7.1f} s  {seen}")
