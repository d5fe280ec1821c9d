"""Where the stored logs are."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def golden_logs():
    """Folder of logs that real programs wrote."""
    return Path(__file__).parents[2] / "golden" / "logs"
