"""What the launcher tests share: a corpus, a local result to compare with, real tools."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.launchers.sessions import BENCH, finish, read_only_result, start

TOOLS = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "salloc": "slurm-client",
    "mpirun": "openmpi-bin",
    "ip": "iproute2",
}


@pytest.fixture(scope="session", autouse=True)
def tools():
    """Fails, and does not skip, where a tool is absent: these tests are about the real ones."""
    absent = sorted({package for tool, package in TOOLS.items() if not shutil.which(tool)})
    assert not absent, f"scripts/install-tools installs: {absent}"


@pytest.fixture(scope="session", autouse=True)
def variables(tmp_path_factory):
    """One cache for the corpus; mpirun may be run by root, as everything is in a CI container."""
    told = {
        "ASCEND_BERT_CACHE": str(tmp_path_factory.mktemp("cache")),
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def local_result(variables, tmp_path_factory):
    """The two-card run by the local launcher."""
    output = tmp_path_factory.mktemp("local")
    code, _, err = finish(start([*BENCH, "--cards", "2", "--output", str(output)]))
    assert code == 0, err
    return read_only_result(output)
