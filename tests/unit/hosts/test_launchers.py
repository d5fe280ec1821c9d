"""Who a process is under which scheduler, and the commands and scripts that launchers write."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli import main
from bench.errors import UsageError
from bench.launch.launchers import build_own_host, check_launcher, find_own_place
from bench.launch.mpi import build_mpi_launch
from bench.launch.scheduler_variables import find_place
from bench.launch.slurm import build_slurm_launch, render_sbatch_script
from bench.spec import build_spec

AGENT = ["python", "-m", "bench", "host", "/shared/hosts/s"]


def make_spec(**values):
    return build_spec([("test", values)])


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"RANK_ID": "3", "RANK_SIZE": "8", "JOB_ID": "j"}, (3, 8, None, "j", "RANK_ID")),
        (
            {
                "OMPI_COMM_WORLD_RANK": "9",
                "OMPI_COMM_WORLD_SIZE": "16",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "PMIX_NAMESPACE": "12@1",
                "SLURM_PROCID": "0",
                "SLURM_NTASKS": "2",
            },
            (9, 16, 1, "12@1", "Open MPI"),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "PMI_JOBID": "k"}, (1, 2, None, "k", "PMI")),
        (
            {
                "SLURM_PROCID": "5",
                "SLURM_NTASKS": "16",
                "SLURM_LOCALID": "5",
                "SLURM_JOB_ID": "77",
            },
            (5, 16, 5, "77", "Slurm"),
        ),
    ],
)
def test_place_of_a_process(environ, expected):
    place = find_place(environ)
    found = (place.index, place.count, place.local_index, place.job, place.scheduler)
    assert found == expected


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "no scheduler started this process"),
        ({"RANK_ID": "-1"}, "RANK_ID='-1' is no number"),
        ({"RANK_ID": "²"}, "is no number"),
        ({"RANK_ID": "9999999"}, "is no number"),
        ({"RANK_ID": "8", "RANK_SIZE": "8"}, "RANK_ID=8 is not below RANK_SIZE=8"),
    ],
)
def test_places_that_cannot_be(environ, message):
    with pytest.raises(UsageError, match=message):
        find_place(environ)


@given(st.dictionaries(st.sampled_from(["RANK_ID", "RANK_SIZE", "PMI_RANK"]), st.text(max_size=6)))
def test_any_variables_give_a_place_or_one_line(environ):
    try:
        assert find_place(environ).index >= 0
    except UsageError as error:
        assert "\n" not in str(error)


def test_env_launcher_wants_to_know_the_job():
    spec = make_spec(launcher="env")
    assert find_own_place(spec, {"RANK_ID": "1", "RANK_SIZE": "2", "JOB_ID": "j"}).index == 1
    with pytest.raises(UsageError, match="set JOB_ID"):
        find_own_place(spec, {"RANK_ID": "1", "RANK_SIZE": "2"})
    with pytest.raises(UsageError, match="set RANK_SIZE"):
        find_own_place(spec, {"RANK_ID": "1", "JOB_ID": "j"})
    assert find_own_place(make_spec(), {"RANK_ID": "1"}) is None


def test_agent_of_the_env_launcher_stands_for_one_rank():
    host, count = build_own_host("env", {"RANK_ID": "1", "RANK_SIZE": "4", "DEVICE_ID": "5"})
    assert (host.index, host.max_ranks, count) == (1, 1, 4)
    host, _ = build_own_host("kubernetes", {"VC_TASK_INDEX": "2", "XDL_IP": "192.0.2.3"})
    assert (host.index, host.server_id, host.max_ranks) == (2, "192.0.2.3", None)
    host, _ = build_own_host("mpi", {"PMI_RANK": "1", "SLURM_PROCID": "0"})
    assert host.index == 1
    with pytest.raises(UsageError, match="mpirun left none of"):
        build_own_host("mpi", {"SLURM_PROCID": "0"})


def test_srun_starts_one_agent_on_each_node():
    environ = {"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "8"}
    launch = build_slurm_launch(AGENT, environ, None, ["--gres=npu:8"], Path("/work dir"))
    assert launch.n_hosts == 8
    assert launch.argv[0] == "srun"
    assert {"--nodes=8", "--ntasks=8", "--ntasks-per-node=1", "--gres=npu:8"} <= set(launch.argv)
    assert launch.argv[-6:] == (*AGENT, "--index-from=slurm")
    assert build_slurm_launch(AGENT, environ, 2, [], Path("/")).n_hosts == 2
    with pytest.raises(UsageError, match=r"hosts.count is 9, the Slurm allocation has 8 node"):
        build_slurm_launch(AGENT, environ, 9, [], Path("/"))
    with pytest.raises(UsageError, match="works inside an allocation"):
        build_slurm_launch(AGENT, {}, None, [], Path("/"))


def test_mpirun_starts_one_agent_on_each_host():
    launch = build_mpi_launch(AGENT, {"PATH": "/bin"}, 4, ["--hostfile", "h"], Path("/w"))
    text = " ".join(launch.argv)
    assert text.startswith("mpirun -np 4 --map-by ppr:1:node --bind-to none -wdir /w -x PATH ")
    assert text.endswith("--hostfile h python -m bench host /shared/hosts/s --index-from=mpi")
    own = build_mpi_launch(AGENT, {}, None, ["--map-by", "slot"], Path("/w"))
    assert "ppr:1:node" not in own.argv
    assert "-np" not in own.argv


def test_launchers_that_cannot_work_from_here_say_so(monkeypatch):
    for name in ("SLURM_JOB_ID", "VC_TASK_INDEX", "VK_TASK_INDEX", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for launcher in ("slurm", "kubernetes", "env"):
        with pytest.raises(UsageError):
            check_launcher(make_spec(launcher=launcher), {})
    check_launcher(make_spec(launcher="mpi"), {})
    check_launcher(make_spec(), {})


def test_sbatch_script_is_one_that_a_shell_accepts(tmp_path):
    command = ["python", "-m", "bench", "bench", "--model", "my model.json", "--set", "a='b'"]
    script = render_sbatch_script(command, 8, tmp_path, "night", "1:00:00", ["--partition=npu"])
    lines = script.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert "#SBATCH --nodes=8" in lines
    assert "#SBATCH --time=1:00:00" in lines
    assert "#SBATCH --partition=npu" in lines
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)
    shown = re.sub("^exec ", "exec printf '%s\\\\n' ", script, flags=re.MULTILINE)
    said = subprocess.run(["bash"], input=shown.encode(), stdout=subprocess.PIPE, check=True)
    assert said.stdout.decode().splitlines() == command
    for word in ("--a=b\nrm -rf x", "oops", ""):
        with pytest.raises(UsageError, match="is no option of sbatch"):
            render_sbatch_script(command, 1, tmp_path, directives=[word])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name a scheduler"),
        (["slurm", "--hosts", "0"], "--hosts must be at least 1"),
        (["slurm", "--hosts", "2", "--", "--cardz", "2"], "flags after --: unrecognized"),
        (["slurm", "--hosts", "2", "--", "--cards", "x"], "cards must be a whole number"),
        (["slurm", "--hosts", "2", "--", "--launcher", "mpi"], "drop --launcher"),
        (["kubernetes", "--hosts", "2", "--output-claim", "c"], "--image"),
        (
            ["kubernetes", "--hosts", "2", "--output-claim", "c", "--image", "i", "--name", "A"],
            "is no name of Kubernetes",
        ),
    ],
)
def test_jobs_that_cannot_be_written(capsys, words, message):
    assert main(["job", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert message in captured.err


def test_job_carries_the_flags_of_the_session(capsys):
    assert main(["job", "slurm", "--hosts", "2", "--", "--cards", "16", "--steps", "400"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.endswith("-m bench bench --launcher=slurm --cards 16 --steps 400")


def test_builds_of_one_session_share_its_hosts(tmp_path, capsys):
    for name, text in (("a", "launcher: mpi"), ("b", "hosts: {count: 2}")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "empty").write_text("", encoding="utf-8")
    for name, key in (("a", "launcher"), ("b", "hosts.count")):
        builds = [str(tmp_path / name), str(tmp_path / "empty")]
        assert main(["bench", "--ab", *builds, "--output", str(tmp_path / "out")]) == 2
        assert f"{key} concerns both builds" in capsys.readouterr().err
