"""A real Slurm of its own on this machine: one slurmctld and several slurmd, ended by id."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Dict, List

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
# No munged here: everybody on this machine's loopback is this user.
AuthType=auth/none
CredType=cred/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmctldParameters=idle_on_node_suspend
SlurmdParameters=config_overrides
SchedulerParameters=defer_batch,sched_min_interval=100000
MailProg=/bin/true
KillWait=20
InactiveLimit=0
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
SlurmdLogFile={folder}/%n.log
{nodes}
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=EXCLUSIVE
"""


def find_ports(count: int) -> List[int]:
    """Free TCP ports of the loopback interface."""
    keepers = [socket.socket() for _ in range(count)]
    try:
        for keeper in keepers:
            keeper.bind(("127.0.0.1", 0))
        return [keeper.getsockname()[1] for keeper in keepers]
    finally:
        for keeper in keepers:
            keeper.close()


class SlurmCluster:
    """Started by entering, ended by leaving.

    Args:
        folder: where all its files go.
        n_nodes: nodes, all of them this machine.
    """

    def __init__(self, folder: Path, n_nodes: int = 2) -> None:
        self.folder = folder
        self._names = [f"node{index}" for index in range(n_nodes)]
        self._processes: List[subprocess.Popen[bytes]] = []

    @property
    def environment(self) -> Dict[str, str]:
        """Variables for Slurm's commands."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> SlurmCluster:
        self.folder.mkdir(parents=True)
        host = socket.gethostname().split(".")[0]
        ports = find_ports(1 + len(self._names))
        nodes = [
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={os.cpu_count()} State=UNKNOWN"
            for name, port in zip(self._names, ports[1:])
        ]
        text = CONFIG.format(
            host=host,
            controller_port=ports[0],
            user=os.environ.get("USER") or "root",
            folder=self.folder,
            nodes="\n".join(nodes),
        )
        (self.folder / "slurm.conf").write_text(text, encoding="utf-8")
        for name in ("state", *self._names):
            (self.folder / name).mkdir()
        try:
            self._start("slurmctld", "-D")
            for name in self._names:
                self._start("slurmd", "-D", "-N", name)
            self._wait_until_idle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def run(self, *argv: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Runs one of Slurm's commands."""
        return subprocess.run(
            argv,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def _start(self, *argv: str) -> None:
        with (self.folder / f"{'-'.join(argv)}.out").open("wb") as out:
            self._processes.append(
                subprocess.Popen(argv, env=self.environment, stdout=out, stderr=out)
            )

    def _wait_until_idle(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            states = self.run("sinfo", "--noheader", "--Node", "--format=%T").stdout.split()
            if states == ["idle"] * len(self._names):
                return
            if any(process.poll() is not None for process in self._processes):
                break
            time.sleep(0.2)
        logs = [path.read_text("utf-8", "replace")[-800:] for path in self.folder.glob("*.log")]
        raise RuntimeError("Slurm does not come up:\n" + "\n".join(logs))
