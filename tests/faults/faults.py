"""The faults: how each is made, and what the harness must make of it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from tests.faults.harness import (
    STRICT,
    Outcome,
    build_argv,
    build_fake,
    finish,
    list_processes,
    read_documents,
    start,
    wait_for_step,
)

LONG = "--interval 0.2"
"""Some seconds of training, for what happens to the harness meanwhile."""


@dataclass(frozen=True)
class Fault:
    """One line of the matrix.

    Attributes:
        name: what happens.
        exit_code: of the harness.
        verdict: kind of the run's failure, ``invalid: <check>`` or ``valid``; empty for no run.
        fake: flags of the fake trainer.
        flags: more flags of ``bench``.
        settings: more settings.
        act: how it is made, where the fake trainer does not make it itself.
        kept: steps that must be in the results at least, over all ranks.
        told: words that standard error or the failure must hold.
    """

    name: str
    exit_code: int
    verdict: str
    fake: Tuple[str, ...] = ()
    flags: Tuple[str, ...] = ()
    settings: Dict[str, Any] = field(default_factory=dict)
    act: Optional[Callable[[Fault, Path], Outcome]] = None
    kept: int = 20
    told: str = ""

    def run(self, folder: Path) -> Outcome:
        """Makes the fault happen to a run whose results go to ``folder``."""
        if self.act is not None:
            return self.act(self, folder)
        return finish(start(self.build(folder)), folder)

    def build(self, folder: Path, *more: str) -> List[str]:
        """The command line of the harness."""
        flags = (*build_fake("", *self.fake), "--quiet", *self.flags, *more)
        return build_argv(folder, *flags, **self.settings)


def _send(number: int, to_group: bool = False) -> Callable[[Fault, Path], Outcome]:
    def act(fault: Fault, folder: Path) -> Outcome:
        process = start(fault.build(folder), start_new_session=True)
        wait_for_step(folder, process)
        _mark(folder)
        if to_group:
            # As a scheduler does: every process of the job gets it.
            for one in [process.pid, *_list_ranks(folder)]:
                os.kill(one, number)
        else:
            os.kill(process.pid, number)
        return finish(process, folder)

    return act


def _list_ranks(folder: Path) -> List[int]:
    return list_processes(folder)


def _mark(folder: Path) -> None:
    for run in (folder / "runs").glob("*-cpu-*"):
        (run / "fault_at").write_text(repr(time.time()), encoding="utf-8")


def _kill_and_recover(fault: Fault, folder: Path) -> Outcome:
    """SIGKILL leaves ranks behind; ``recover --end-orphans`` ends them and rebuilds the result."""
    process = start(fault.build(folder))
    wait_for_step(folder, process)
    process.kill()
    process.communicate()
    _mark(folder)
    argv = [sys.executable, "-m", "bench", "recover", str(folder), "--end-orphans"]
    return finish(start(argv), folder)


def _lose_parent(fault: Fault, folder: Path) -> Outcome:
    """The shell that started it dies, and with it both ends of its output."""
    script = f"exec 1>&- ; {' '.join(map(_quote, fault.build(folder)))} & sleep 600"
    read_end, write_end = os.pipe()
    shell = start(["bash", "-c", script], stderr=write_end, start_new_session=True)
    os.close(write_end)
    try:
        wait_for_step(folder, shell)
    finally:
        shell.kill()
        os.close(read_end)
    _mark(folder)
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        states = [one["state"] for one in read_documents(folder)]
        if states and "running" not in states:
            break
        time.sleep(0.1)
    shell.stderr = None
    outcome = finish(shell, folder)
    outcome.exit_code = 0 if outcome.result["failure"] is None else 1
    return outcome


def _quote(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _with_metrics(disturb: Callable[[int], None]) -> Callable[[Fault, Path], Outcome]:
    def act(fault: Fault, folder: Path) -> Outcome:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        process = start(fault.build(folder, "--metrics-port", str(port)))
        wait_for_step(folder, process)
        _mark(folder)
        disturb(port)
        return finish(process, folder)

    return act


def _scrape_by_many(port: int) -> None:
    answers: List[int] = []

    def scrape() -> None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
                answers.append(len(answer.read()))
        except OSError:
            answers.append(0)

    threads = [threading.Thread(target=scrape) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 50
    assert any(answers)


def _send_garbage(port: int) -> None:
    for data in (
        b"\x00\xff" * 5000,
        b"GET " + b"/" * 100_000,
        b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/9.9\r\nContent-Length: -1\r\n\r\n",
        b"\r\n" * 3000,
        b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 3000,
    ):
        with socket.socket() as client:
            client.settimeout(5.0)
            try:
                client.connect(("127.0.0.1", port))
                client.sendall(data)
                client.recv(1000)
            except OSError:
                pass


def _port_in_use(fault: Fault, folder: Path) -> Outcome:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        return finish(start(fault.build(folder, "--metrics-port", port)), folder)


def _gateway_down(fault: Fault, folder: Path) -> Outcome:
    flags = ("--push", "http://127.0.0.1:9", "--linger", "0")
    return finish(start(fault.build(folder, *flags)), folder)


def _can_mount() -> bool:
    """Root of a container may not, as long as nobody lets it."""
    done = subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def _read_only(fault: Fault, folder: Path) -> Outcome:
    """A read-only mount; without the right to mount, a folder that takes no file."""
    if _can_mount():
        argv = _in_mount(folder, "mount --bind {0} {0} && mount -o remount,ro,bind {0}", fault)
        return finish(start(argv), folder)
    if os.geteuid() == 0:
        return finish(start(fault.build(Path("/proc/self"))), folder)
    folder.chmod(0o555)
    try:
        return finish(start(fault.build(folder)), folder)
    finally:
        folder.chmod(0o755)


def _in_mount(folder: Path, prepare: str, fault: Fault) -> List[str]:
    command = " ".join(map(_quote, fault.build(folder)))
    script = prepare.format(_quote(str(folder))) + f" && exec {command}"
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]


def _full_disk(fault: Fault, folder: Path) -> Outcome:
    """A small file system that the trainer fills up; its content is copied out at the end."""
    if not _can_mount():
        fault = Fault(**{**fault.__dict__, "fake": ("--fault exit-full",)})
        return finish(start(fault.build(folder)), folder)
    small, kept = folder / "small", folder / "kept"
    small.mkdir(parents=True)
    inner = " ".join(map(_quote, fault.build(small)))
    script = (
        f"mount -t tmpfs -o size=1500k none {_quote(str(small))} || exit 99; {inner}; code=$?; "
        f"rm -f {_quote(str(small))}/runs/*/big; "
        f"{_quote(sys.executable)} -m bench recover {_quote(str(small))} >&2; "
        f"cp -r {_quote(str(small))} {_quote(str(kept))}; exit $code"
    )
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
    outcome = finish(start(argv), folder)
    outcome.results = read_documents(kept)
    outcome.folder = kept
    return outcome


def _two_at_once(fault: Fault, folder: Path) -> Outcome:
    first = start(fault.build(folder))
    second = start(fault.build(folder))
    other = finish(first, folder)
    outcome = finish(second, folder)
    assert other.exit_code == outcome.exit_code, other.errors
    assert len({one["run_id"] for one in outcome.results}) == 2
    return outcome


def _resume_twice(fault: Fault, folder: Path) -> Outcome:
    """Two commands take up the same session: only one may."""
    process = start(fault.build(folder, "--repeats", "2"))
    wait_for_step(folder, process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    argv = [sys.executable, "-m", "bench", "bench", "--resume", "--output", str(folder), "--quiet"]
    first = start(argv)
    wait_for_second_run(folder, first)
    second = finish(start(argv), folder)
    assert second.exit_code in (2, 6), second.errors
    return finish(first, folder)


def wait_for_second_run(folder: Path, process: subprocess.Popen) -> None:
    """Until the resumed session has launched something."""
    deadline = time.monotonic() + 60.0
    while len(list((folder / "runs").glob("*-cpu-*/logs/train_0.log"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _change_environment(fault: Fault, folder: Path) -> Outcome:
    """The interpreter of the trainer vanishes between two launches, as a venv made anew does."""
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / "python"
    link.symlink_to(sys.executable)
    flags = build_fake("", f"--fault remove-trainer --link {link}", python=str(link))
    argv = build_argv(folder, *flags, "--quiet", "--repeats", "2")
    return finish(start(argv), folder)


def _damage_result(fault: Fault, folder: Path) -> Outcome:
    """Half a result file, as another tool may leave it: the others must still be shown."""
    for _ in range(2):
        finish(start(fault.build(folder)), folder)
    first = sorted((folder / "runs").glob("*-cpu-*"))[0] / "result.json"
    whole = first.read_bytes()
    first.write_bytes(whole[: len(whole) // 2])
    argv = [sys.executable, "-m", "bench", "show", "--all", "--output", str(folder)]
    process = start(argv)
    output, errors = process.communicate(timeout=60)
    assert b"left out" in errors
    first.write_bytes(whole)
    ended = subprocess.Popen([sys.executable, "-c", f"raise SystemExit({process.returncode})"])
    return finish(ended, folder)


def _damage_history(fault: Fault, folder: Path) -> Outcome:
    """The index of all results is no database: it is said, and no result is touched."""
    finish(start(fault.build(folder)), folder)
    (folder / "history.sqlite").write_bytes(b"garbage" * 2000)
    argv = [sys.executable, "-m", "bench", "history", "--output", str(folder)]
    return finish(start(argv), folder)


def _retry(fault: Fault, folder: Path) -> Outcome:
    outcome = finish(start(fault.build(folder, "--retries", "2")), folder)
    attempts = outcome.result["found"]["attempts"]
    assert [one["failure"] is None for one in attempts] == [False, True]
    # Rank 1 died in step 12 and went on from its checkpoint of step 10.
    assert attempts[1]["first_step"] == 11
    assert attempts[0]["last_step"] >= 11
    assert (folder / "runs" / outcome.result["run_id"] / "attempts/1/logs/train_1.log").is_file()
    steps = [rank["intervals"]["end_step"] for rank in outcome.result["ranks"]]
    assert min(map(min, steps)) > 11
    return outcome


RANK_TABLES: Dict[str, Callable[[Dict[str, Any]], Any]] = {
    "rank ids count twice": lambda t: _first(t).update(rank_id="1"),
    "rank id is a word": lambda t: _first(t).update(rank_id="one"),
    "device address twice": lambda t: _first(t).update(
        device_ip=t["server_list"][0]["device"][1]["device_ip"]
    ),
    "address is none": lambda t: _first(t).update(device_ip="192.168.1.999"),
    "device twice": lambda t: _first(t).update(device_id="1"),
    "device out of range": lambda t: _first(t).update(device_id="9"),
    "server count wrong": lambda t: t.update(server_count="7"),
    "status not completed": lambda t: t.update(status="initializing"),
    "a device missing": lambda t: t["server_list"][0]["device"].pop(),
    "no server list": lambda t: t.pop("server_list"),
}
"""Ten ways in which a rank table of eight cards is wrong."""


def _first(table: Dict[str, Any]) -> Dict[str, Any]:
    device: Dict[str, Any] = table["server_list"][0]["device"][0]
    return device


def _stuck_rank(fault: Fault, folder: Path) -> Outcome:
    """SIGSTOP from outside, as by a debugger."""
    process = start(fault.build(folder))
    wait_for_step(folder, process)
    ranks = _list_ranks(folder)
    _mark(folder)
    os.kill(max(ranks), signal.SIGSTOP)
    return finish(process, folder)


def _remove_folder(fault: Fault, folder: Path) -> Outcome:
    """Somebody cleans up the folder of the run while it runs."""
    process = start(fault.build(folder))
    wait_for_step(folder, process)
    (run,) = (folder / "runs").glob("*-cpu-*")
    shutil.rmtree(str(run / "logs"))
    return finish(process, folder)


HANG = dict(STRICT, last_rank_timeout_seconds=30)
_SIMULATED = ("--backend", "simulated", "--set", "trainer_command=[]")

FAULTS: Tuple[Fault, ...] = (
    Fault("nothing", 0, "valid", kept=40),
    Fault("rank killed (SIGKILL)", 4, "trainer", ("--fault sigkill",), told="SIGKILL"),
    Fault("rank crashed (SIGSEGV)", 4, "trainer", ("--fault sigsegv",), told="SIGSEGV"),
    Fault("rank out of memory", 4, "trainer", ("--fault memory",), told="out of memory"),
    Fault("rank fails, others ignore SIGTERM", 4, "trainer",
          ("--fault exit-internal --stubborn",), told="unforeseen"),
    Fault("rank refuses its flags", 2, "usage", ("--fault exit-usage",)),
    Fault("rank finds bad data", 7, "data", ("--fault exit-data",)),
    Fault("device gone", 6, "infrastructure", ("--fault exit-unavailable",)),
    Fault("rank stopped (SIGSTOP)", 5, "stalled", ("--fault sigstop",), settings=HANG,
          told="stopped by a signal"),
    Fault("rank stopped from outside", 5, "stalled", (LONG,), settings=HANG, act=_stuck_rank,
          kept=1),
    Fault("rank hangs", 5, "stalled", ("--fault hang",), settings=HANG, told="rank 1 fell silent"),
    Fault("all ranks hang", 5, "stalled", ("--fault hang --fault-rank -1",), settings=HANG),
    Fault("first compile never ends", 5, "stalled", ("--fault hang-compile --fault-rank -1",),
          settings=HANG, kept=0, told="gave no report"),
    Fault("rank hangs after its last step", 5, "stalled", ("--fault hang-end",), settings=HANG,
          told="did not end", kept=40),
    Fault("one rank never starts", 5, "stalled", ("--fault hang-compile",),
          settings=dict(STRICT, last_rank_timeout_seconds=1), told="still ran"),
    Fault("run beyond its deadline", 5, "stalled", ("--interval 0.5",),
          settings={"run_timeout_seconds": 3}, kept=0, told="longer than 3 s"),
    Fault("loss is NaN", 3, "invalid: losses finite", ("--fault nan",), kept=40),
    Fault("loss explodes", 3, "invalid: losses finite", ("--growth 1e30",), kept=40),
    Fault("overflow storm", 3, "invalid: skipped updates", flags=_SIMULATED,
          settings={"simulated.overflow_share": 0.5, "simulated.loss_scale_start": 1}, kept=40),
    Fault("rank ends early", 3, "invalid: steps reached", ("--fault short",)),
    Fault("slow rank", 0, "valid", ("--fault slow-rank",), kept=40),
    Fault("data skewed: one shard read twice", 3, "invalid: shards disjoint",
          ("--fault same-data",), kept=40),
    Fault("ranks train apart", 3, "invalid: group size", ("--fault split-group",), kept=40),
    Fault("log deleted", 3, "invalid: ranks seen", ("--fault delete-log",)),
    Fault("log rotated", 3, "invalid: ranks seen", ("--fault rotate-log",)),
    Fault("log truncated", 3, "invalid: group size", ("--fault truncate-log",)),
    Fault("folder of logs removed", 3, "invalid: ranks seen", (LONG,), act=_remove_folder, kept=0),
    Fault("garbage in the log", 0, "valid", ("--fault garbage",), kept=40),
    Fault("clock steps back an hour", 3, "invalid: clock", ("--fault clock",), kept=40),
    Fault("disk full", 6, "lost" if _can_mount() else "infrastructure", ("--fault fill-disk",),
          act=_full_disk),
    Fault("output is read-only", 6, "", act=_read_only, kept=0, told="cannot"),
    Fault("metrics port in use", 6, "", act=_port_in_use, kept=0, told="port"),
    Fault("devices missing", 6, "", flags=("--backend", "ascend"), kept=0, told="davinci"),
    Fault("50 clients scrape", 0, "valid", ("--interval 0.1",), kept=40,
          act=_with_metrics(_scrape_by_many)),
    Fault("garbage requests to the exporter", 0, "valid", ("--interval 0.1",), kept=40,
          act=_with_metrics(_send_garbage)),
    Fault("Pushgateway down", 0, "valid", ("--interval 0.1",), act=_gateway_down, kept=40),
    Fault("Prometheus down: nobody scrapes", 0, "valid", flags=("--metrics-port", "0"), kept=40),
    Fault("Ctrl-C (SIGINT)", 130, "interrupted", (LONG,), act=_send(signal.SIGINT), kept=1),
    Fault("SIGTERM to the harness", 143, "interrupted", (LONG,), act=_send(signal.SIGTERM), kept=1),
    Fault("scheduler preempts: SIGTERM to all", 143, "interrupted", (LONG,),
          act=_send(signal.SIGTERM, to_group=True), kept=1),
    Fault("terminal closed (SIGHUP)", 129, "interrupted", (LONG,), act=_send(signal.SIGHUP),
          kept=1),
    Fault("harness killed (SIGKILL), recovered", 0, "lost", (LONG,), act=_kill_and_recover, kept=1),
    Fault("parent shell gone", 0, "valid", ("--interval 0.1",), act=_lose_parent, kept=40),
    Fault("venv changed between launches", 6, "infrastructure", act=_change_environment, kept=20,
          told="cannot start"),
    Fault("two runs in one directory", 0, "valid", act=_two_at_once, kept=80),
    Fault("two resume one session", 0, "valid", ("--interval 0.1",), act=_resume_twice, kept=80),
    Fault("stored result damaged", 0, "valid", act=_damage_result, kept=80),
    Fault("history database unreadable", 7, "valid", act=_damage_history, kept=40,
          told="delete it"),
    Fault("rank killed once, --retries", 0, "valid", ("--fault once --checkpoints",), act=_retry,
          kept=40),
)  # fmt: skip
