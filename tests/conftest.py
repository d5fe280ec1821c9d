"""What every test gets: a clean environment, markers by folder, repeatable hypothesis runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

HERE = Path(__file__).resolve().parent

# Variables that change what the harness or the trainer does, and that a machine may have set.
STEERING_VARIABLES = (
    "ASCEND_DEVICE_ID",
    "ASCEND_VISIBLE_DEVICES",
    "DEVICE_ID",
    "DEVICE_INDEX",
    "JOB_ID",
    "RANK_ID",
    "RANK_INDEX",
    "RANK_SIZE",
    "RANK_TABLE_FILE",
    "TF_CONFIG",
)
OPTIONAL_MARKERS = ("npu", "docker")

settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("repeatable")


def pytest_addoption(parser):
    """Adds one switch for each kind of test that needs more than a plain machine."""
    for name in OPTIONAL_MARKERS:
        parser.addoption(
            f"--run-{name}", action="store_true", help=f"also run the tests marked {name}"
        )


def pytest_collection_modifyitems(config, items):
    """Marks all of tests/tf, and skips what needs a switch that was not given."""
    for item in items:
        if HERE / "tf" in Path(str(item.fspath)).parents:
            item.add_marker("tf")
        for name in OPTIONAL_MARKERS:
            if item.get_closest_marker(name) and not config.getoption(f"--run-{name}"):
                item.add_marker(pytest.mark.skip(reason=f"needs --run-{name}"))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    """Hides the variables by which a launcher steers a rank."""
    for name in STEERING_VARIABLES:
        monkeypatch.delenv(name, raising=False)
