"""SIGKILL at random moments of a sweep; the long form is ``scripts/prove-crash-safety``."""

from __future__ import annotations

import pytest

from tests.faults.crash_safety import kill_at_random


@pytest.mark.timeout(280)
def test_kills_at_random_moments_lose_nothing(tmp_path):
    tally = kill_at_random(tmp_path, kills=15, seed=20)
    assert tally.faults == []
    assert tally.kills == 15
    assert tally.sessions >= 1
