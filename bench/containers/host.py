"""What a host offers to a container: device nodes, driver, tools, container runtime.

Layouts of driver packages 20.2 to 24: the docker start script of ModelZoo's BERT for 20.2, the
mount list of ascend-docker-runtime for later ones. Nothing is run; a folder may stand for ``/``.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

MANAGERS = ("davinci_manager", "devmm_svm", "hisi_hdc")
"""Nodes that every process on a device opens beside that of the device."""

DEFAULT_ASCEND_FOLDER = "/usr/local/Ascend"
RUNTIME_NAME = "ascend"

_DEVICE_NAME = re.compile(r"davinci(\d+)$")
# Training servers have it in bin, others in sbin.
_NPU_SMI_PATHS = ("/usr/local/bin/npu-smi", "/usr/local/sbin/npu-smi")
_RUNTIME_PATH = "/usr/local/Ascend/Ascend-Docker-Runtime/ascend-docker-runtime"


@dataclass(frozen=True)
class Node:
    """A device node.

    Attributes:
        path: on the host, such as ``/dev/davinci0``.
        owner: id of the user that it belongs to.
        group: id of the group that it belongs to.
        mode: permission bits.
    """

    path: str
    owner: int
    group: int
    mode: int


@dataclass(frozen=True)
class ContainerHost:
    """What was found; paths are the host's, empty where there is none.

    Attributes:
        devices: device id → node, by id.
        managers: those of :data:`MANAGERS` that are there.
        driver: folder of the driver, if it has libraries.
        driver_searched: where the driver was looked for.
        driver_version: version of the driver package.
        add_ons: folder of profiling and similar libraries of 20.2.
        npu_smi: the tool.
        dcmi: folder of the library that npu-smi needs from driver 21.0 on.
        hccn_tool: the tool.
        hccn_conf: addresses of the devices' network ports.
        hccn_conf_public: anybody may read it.
        slog_conf: configuration of the device log of 20.2.
        npu_logs: folder of the driver's logs.
        local_time: time zone of the host.
        runtime: binary of ascend-docker-runtime that Docker is told of.
        problems: files that are there and cannot be used, with the reason.
        selinux: SELinux is enforced.
    """

    devices: Tuple[Tuple[int, Node], ...] = ()
    managers: Tuple[Node, ...] = ()
    driver: str = ""
    driver_searched: str = f"{DEFAULT_ASCEND_FOLDER}/driver"
    driver_version: str = ""
    add_ons: str = ""
    npu_smi: str = ""
    dcmi: str = ""
    hccn_tool: str = ""
    hccn_conf: str = ""
    hccn_conf_public: bool = True
    slog_conf: str = ""
    npu_logs: str = ""
    local_time: str = ""
    runtime: str = ""
    problems: Tuple[str, ...] = ()
    selinux: bool = False


class _Tree:
    """The files of a host, below a folder that stands for its root."""

    def __init__(self, root: str) -> None:
        self._root = root.rstrip("/")

    def locate(self, path: str) -> str:
        return self._root + path

    def has(self, path: str) -> bool:
        # A link of the host may point to where only the host has something.
        return os.path.lexists(self.locate(path))

    def first(self, *paths: str) -> str:
        return next((path for path in paths if self.has(path)), "")

    def read(self, path: str) -> str:
        try:
            with open(self.locate(path), encoding="utf-8", errors="replace") as file:
                return file.read(1 << 20)
        except OSError:
            return ""

    def mode(self, path: str) -> int:
        try:
            return stat.S_IMODE(os.stat(self.locate(path)).st_mode)
        except OSError:
            return 0

    def list(self, path: str) -> List[str]:
        try:
            return sorted(os.listdir(self.locate(path)))
        except OSError:
            return []

    def node(self, path: str) -> Optional[Node]:
        try:
            found = os.stat(self.locate(path))
        except OSError:
            return None
        return Node(path, found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))


def read_host(root: str = "/") -> ContainerHost:
    """Looks at a host.

    Args:
        root: folder that stands for ``/``.
    """
    tree = _Tree(root)
    folder = parse_install_folder(tree.read("/etc/ascend_install.info")) or DEFAULT_ASCEND_FOLDER
    driver = f"{folder}/driver"
    runtime, problem = _find_runtime(tree)
    managers = (tree.node(f"/dev/{name}") for name in MANAGERS)
    return ContainerHost(
        devices=_list_devices(tree),
        managers=tuple(node for node in managers if node is not None),
        driver=driver if tree.has(f"{driver}/lib64") else "",
        driver_searched=driver,
        driver_version=parse_version(tree.read(f"{driver}/version.info")),
        add_ons=tree.first(f"{folder}/add-ons"),
        npu_smi=tree.first(*_NPU_SMI_PATHS),
        dcmi=tree.first("/usr/local/dcmi"),
        hccn_tool=tree.first(f"{driver}/tools/hccn_tool"),
        hccn_conf=tree.first("/etc/hccn.conf"),
        hccn_conf_public=bool(tree.mode("/etc/hccn.conf") & stat.S_IROTH),
        slog_conf=tree.first("/var/log/npu/conf/slog/slog.conf"),
        npu_logs=tree.first("/var/log/npu"),
        local_time=tree.first("/etc/localtime"),
        runtime=runtime,
        problems=(problem,) if problem else (),
        selinux=parse_selinux(tree.read("/etc/selinux/config")),
    )


def parse_install_folder(text: str) -> str:
    """Folder of ``ascend_install.info`` under which the driver was installed; empty if not said."""
    found = re.search(r"^Driver_Install_Path_Param=(/\S*?)/*$", text, flags=re.MULTILINE)
    return found.group(1) if found else ""


def parse_version(text: str) -> str:
    """Version of ``version.info``; empty if it has none."""
    found = re.search(r"^(?:Version|package_version)=(\S+)", text, flags=re.MULTILINE)
    return found.group(1) if found else ""


def parse_selinux(text: str) -> bool:
    """Whether ``/etc/selinux/config`` asks to enforce."""
    return re.search(r"^SELINUX=enforcing\s*$", text, flags=re.MULTILINE) is not None


def parse_runtime(text: str) -> str:
    """Path of the runtime ``ascend`` in Docker's ``daemon.json``; empty if it names none.

    Raises:
        ValueError: not JSON, or not of the documented form.
    """
    settings: Any = json.loads(text)
    if not isinstance(settings, dict):
        raise ValueError("not an object")
    runtimes: Any = settings.get("runtimes", {})
    if not isinstance(runtimes, dict):
        raise ValueError("runtimes is not an object")
    entry: Any = runtimes.get(RUNTIME_NAME)
    if entry is None:
        return ""
    path = entry.get("path") if isinstance(entry, dict) else None
    if not isinstance(path, str):
        raise ValueError(f"runtime {RUNTIME_NAME} has no path")
    return path


def _find_runtime(tree: _Tree) -> Tuple[str, str]:
    """Path of the runtime, or what is wrong with it."""
    if not tree.has("/etc/docker/daemon.json"):
        installed = tree.has(_RUNTIME_PATH)
        return "", f"{_RUNTIME_PATH} is there, but Docker is not told of it" if installed else ""
    try:
        path = parse_runtime(tree.read("/etc/docker/daemon.json"))
    except (ValueError, RecursionError) as error:
        return "", f"/etc/docker/daemon.json cannot be used: {error}"
    if path.startswith("/") and not tree.has(path):
        return "", f"/etc/docker/daemon.json names {path}, which is not there"
    return path, ""


def _list_devices(tree: _Tree) -> Tuple[Tuple[int, Node], ...]:
    found: Dict[int, Node] = {}
    for name in tree.list("/dev"):
        match = _DEVICE_NAME.match(name)
        node = tree.node(f"/dev/{name}") if match else None
        if match and node is not None:
            found[int(match.group(1))] = node
    return tuple(sorted(found.items()))
