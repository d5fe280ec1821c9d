"""A real Open MPI starts the agents of a session, or all of its ranks."""

from __future__ import annotations

from tests.launchers.sessions import BENCH, check_equal_in_form, finish, read_only_result, start


def test_session_that_calls_mpirun(local_result, tmp_path):
    # Two agents on this machine; across machines the default mapping is one on each.
    mapping = ["--set", "hosts.count=2", "--set", "hosts.options=--map-by slot --oversubscribe"]
    words = ["--launcher", "mpi", *mapping, "--cards", "2", "--output", str(tmp_path)]
    code, _, err = finish(start([*BENCH, *words]))
    assert code == 0, err
    check_equal_in_form(read_only_result(tmp_path), local_result)


def test_ranks_that_mpirun_started(local_result, tmp_path):
    words = ["--launcher", "env", "--cards", "2", "--output", str(tmp_path)]
    mpirun = ["mpirun", "-np", "2", "--oversubscribe", "--bind-to", "none"]
    code, out, err = finish(start([*mpirun, *BENCH, *words]))
    assert code == 0, err
    assert out.count("bert-tiny · backend cpu") == 1
    check_equal_in_form(read_only_result(tmp_path), local_result)


def test_mpirun_that_cannot_start_is_quoted(tmp_path):
    options = ["--set", "hosts.options=--no-such-option"]
    words = ["--launcher", "mpi", *options, "--cards", "2", "--output", str(tmp_path)]
    code, _, err = finish(start([*BENCH, *words]))
    assert code == 6
    assert "mpirun ended with code" in err
    assert "Traceback" not in err
