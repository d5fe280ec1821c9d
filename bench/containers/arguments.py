"""The arguments with which an engine starts a container, derived from a host. Pure."""

from __future__ import annotations

import shlex
import stat
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

from bench.containers.host import MANAGERS, RUNTIME_NAME, ContainerHost, Node
from bench.containers.request import IMAGE_USER, ContainerRequest, Mount

CARDS_PER_RING = 4
_STOP_TIMEOUT_SECONDS = 60
_OWNER = stat.S_IRUSR | stat.S_IWUSR
_GROUP = stat.S_IRGRP | stat.S_IWGRP
_OTHERS = stat.S_IROTH | stat.S_IWOTH


@dataclass(frozen=True)
class Missing:
    """Something without which the container would not work.

    Attributes:
        what: what is missing.
        where: where it was looked for.
        remedy: what to do.
    """

    what: str
    where: str
    remedy: str


@dataclass(frozen=True)
class ContainerArguments:
    """The arguments, and what is to be said of them.

    Attributes:
        words: arguments of ``docker run``, without image and command.
        backend: ``"ascend"`` or ``"cpu"``.
        devices: ids of the devices.
        runtime: name of the runtime, empty for the engine's default.
        notes: what works less well, and why things are as they are.
        missing: what stands in the way.
    """

    words: Tuple[str, ...]
    backend: str
    devices: Tuple[int, ...] = ()
    runtime: str = ""
    notes: Tuple[str, ...] = ()
    missing: Tuple[Missing, ...] = ()


def build_arguments(host: ContainerHost, request: ContainerRequest) -> ContainerArguments:
    """Derives the arguments from what a host has."""
    backend, notes = _choose_backend(host, request)
    missing: List[Missing] = []
    words = ["--rm", f"--stop-timeout={_STOP_TIMEOUT_SECONDS}"]
    words += _list_restrictions(request, host)
    devices: Tuple[int, ...] = ()
    runtime = ""
    if backend == "ascend":
        devices = _choose_devices(host, request, missing, notes)
        runtime = _choose_runtime(host, request, missing, notes)
        missing += _list_missing(host)
        words += _list_device_words(host, devices, runtime)
        words += _list_groups(host, devices, request, missing)
        words += _list_volumes(_list_driver_mounts(host, runtime))
        words.append(f"--shm-size={request.shm_size}" if request.shm_size else "--ipc=host")
        words.append(f"--network={request.network or 'host'}")
        notes += _list_notes(host, request)
    else:
        words += [f"--shm-size={request.shm_size}"] if request.shm_size else []
        words += [f"--network={request.network}"] if request.network else []
    words += _list_volumes(request.mounts)
    words += [f"--env={name}={value}" for name, value in request.variables]
    return ContainerArguments(
        words=tuple(words),
        backend=backend,
        devices=devices,
        runtime=runtime,
        notes=tuple(notes) + host.problems,
        missing=tuple(missing),
    )


def render_line(words: Sequence[str]) -> str:
    """The arguments in one line, quoted for a shell where they need it."""
    return " ".join(shlex.quote(word) for word in words)


def render_command(request: ContainerRequest, arguments: ContainerArguments) -> str:
    """The whole command, one argument a line."""
    tail = " ".join(shlex.quote(word) for word in (request.image, *request.command))
    return " \\\n  ".join(
        [f"{request.engine} run", *(shlex.quote(word) for word in arguments.words), tail]
    )


def render_plain(request: ContainerRequest, arguments: ContainerArguments) -> Dict[str, Any]:
    """All of it as plain JSON values."""
    return {
        "engine": request.engine,
        "backend": arguments.backend,
        "devices": list(arguments.devices),
        "runtime": arguments.runtime or None,
        "arguments": list(arguments.words),
        "image": request.image,
        "command": list(request.command),
        "notes": list(arguments.notes),
        "missing": [
            {"what": entry.what, "where": entry.where, "remedy": entry.remedy}
            for entry in arguments.missing
        ],
    }


def format_ids(ids: Sequence[int]) -> str:
    """Ids as ``0-3,6``."""
    runs: List[List[int]] = []
    for number in sorted(ids):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _choose_backend(host: ContainerHost, request: ContainerRequest) -> Tuple[str, List[str]]:
    if request.backend != "auto":
        return request.backend, []
    if host.devices:
        return "ascend", [f"backend ascend: {len(host.devices)} /dev/davinci* node(s)"]
    return "cpu", ["backend cpu: no /dev/davinci* node; no device is handed over"]


def _list_restrictions(request: ContainerRequest, host: ContainerHost) -> List[str]:
    words = ["--cap-drop=ALL", "--security-opt=no-new-privileges"]
    if not request.writable:
        # Kernels compiled on the way lie in the working directory and may be loaded from there.
        words += ["--read-only", "--tmpfs=/tmp:exec,nosuid,nodev"]
        words.append("--tmpfs=/ascend-bert:exec,nosuid,nodev")
    if request.user:
        words.append(f"--user={request.user}")
    if request.engine == "podman":
        if request.rootless and request.user:
            words.append("--userns=keep-id")
        if host.selinux:
            words.append("--security-opt=label=disable")
    return words


def _choose_devices(
    host: ContainerHost, request: ContainerRequest, missing: List[Missing], notes: List[str]
) -> Tuple[int, ...]:
    found = [number for number, _ in host.devices]
    if request.devices is not None:
        chosen = request.devices
        absent = sorted(set(chosen) - set(found))
        if absent:
            missing.append(
                Missing(
                    f"device {format_ids(absent)}",
                    "/dev/davinci*",
                    f"choose among {format_ids(found) or 'none'} with --devices",
                )
            )
        if len(chosen) < request.n_cards:
            missing.append(
                Missing(
                    f"{request.n_cards - len(chosen)} more device(s)",
                    f"--devices {format_ids(chosen)}",
                    f"name {request.n_cards} devices, or ask for fewer --cards",
                )
            )
    else:
        chosen = tuple(found[: request.n_cards])
        if len(chosen) < request.n_cards:
            missing.append(
                Missing(
                    f"{request.n_cards} device nodes",
                    f"/dev/davinci*: {len(found)} found",
                    "ask for fewer --cards, or install the driver and reboot; "
                    "npu-smi info lists the cards that the driver sees",
                )
            )
    if 1 < len(chosen) <= CARDS_PER_RING and len({n // CARDS_PER_RING for n in chosen}) > 1:
        notes.append(
            f"devices {format_ids(chosen)} are of two rings (0-3, 4-7): they meet over PCIe only"
        )
    return tuple(chosen)


def _choose_runtime(
    host: ContainerHost, request: ContainerRequest, missing: List[Missing], notes: List[str]
) -> str:
    if request.runtime == "none":
        return ""
    if request.engine == "podman":
        if request.runtime == "ascend":
            missing.append(
                Missing("ascend-docker-runtime for podman", "podman", "leave --runtime out")
            )
        return ""
    if host.runtime:
        notes.append(f"runtime ascend ({host.runtime}) hands the devices over")
        return RUNTIME_NAME
    if request.runtime == "ascend":
        missing.append(
            Missing(
                "ascend-docker-runtime",
                "runtimes of /etc/docker/daemon.json",
                "install it, or leave --runtime out: devices are then named one by one",
            )
        )
    return ""


def _list_missing(host: ContainerHost) -> List[Missing]:
    there = {node.path for node in host.managers}
    missing = [
        Missing(f"/dev/{name}", "/dev", "load the driver: reboot after its installation")
        for name in MANAGERS
        if f"/dev/{name}" not in there
    ]
    if not host.driver:
        missing.append(
            Missing(
                "the driver's libraries",
                f"{host.driver_searched}/lib64",
                "install the Ascend driver on the host; the image does not bring it",
            )
        )
    return missing


def _list_device_words(host: ContainerHost, devices: Sequence[int], runtime: str) -> List[str]:
    if runtime:
        return [f"--runtime={runtime}", f"--env=ASCEND_VISIBLE_DEVICES={format_ids(devices)}"]
    nodes = dict(host.devices)
    words = [f"--device={nodes[number].path}" for number in devices if number in nodes]
    return words + [f"--device={node.path}" for node in host.managers]


def _list_groups(
    host: ContainerHost,
    devices: Sequence[int],
    request: ContainerRequest,
    missing: List[Missing],
) -> List[str]:
    """Groups that may open the nodes: without capabilities, root needs them as anybody does."""
    user = int(request.user.split(":")[0]) if request.user else IMAGE_USER
    nodes: List[Node] = [node for number, node in host.devices if number in devices]
    groups: List[int] = []
    for node in [*nodes, *host.managers]:
        if node.mode & _OTHERS == _OTHERS:
            continue
        if node.owner == user and node.mode & _OWNER == _OWNER:
            continue
        if node.mode & _GROUP != _GROUP:
            missing.append(
                Missing(
                    f"access to {node.path} for uid {user}",
                    f"mode {node.mode:o}, owner {node.owner}",
                    f"start with --user {node.owner}:{node.group}, or let the group of the node "
                    "read and write it",
                )
            )
            break
        if node.group not in groups:
            groups.append(node.group)
    if request.engine == "podman" and request.rootless and groups:
        return ["--group-add=keep-groups"]
    return [f"--group-add={group}" for group in groups]


def _list_driver_mounts(host: ContainerHost, runtime: str) -> List[Mount]:
    paths: List[str] = []
    if not runtime:
        paths += [host.driver, host.add_ons, host.npu_smi, host.dcmi]
    elif host.driver:
        # The runtime mounts libraries and npu-smi, but neither hccn_tool nor the version.
        paths += [f"{host.driver}/tools" if host.hccn_tool else ""]
        paths += [f"{host.driver}/version.info" if host.driver_version else "", host.add_ons]
    paths += [host.hccn_conf, host.slog_conf, host.local_time]
    mounts = [Mount(path, path) for path in paths if path]
    if host.npu_logs:
        mounts.insert(0, Mount(host.npu_logs, host.npu_logs, True))
    return mounts


def _list_volumes(mounts: Sequence[Mount]) -> List[str]:
    return [
        "--volume={}:{}{}".format(mount.source, mount.target, "" if mount.writable else ":ro")
        for mount in mounts
    ]


def _list_notes(host: ContainerHost, request: ContainerRequest) -> List[str]:
    notes = []
    if host.driver and not host.driver_version:
        notes.append(f"{host.driver}/version.info is not there: results lack the driver's version")
    if not host.npu_smi:
        notes.append(
            "npu-smi is in neither /usr/local/bin nor /usr/local/sbin: no telemetry of the cards"
        )
    elif not host.dcmi and _is_newer(host.driver_version, 21):
        notes.append("/usr/local/dcmi is not there: npu-smi of driver 21.0 and newer needs it")
    if request.n_cards > 1 and not host.hccn_conf:
        notes.append("/etc/hccn.conf is not there: several cards need a rank table from elsewhere")
    elif host.hccn_conf and not host.hccn_conf_public:
        notes.append("/etc/hccn.conf is for its owner alone: let others read it, or name a table")
    if host.driver and not host.hccn_tool:
        notes.append(f"{host.driver}/tools/hccn_tool is not there: no state of the links")
    return notes


def _is_newer(version: str, major: int) -> bool:
    head = version.split(".")[0]
    return head.isdigit() and int(head) >= major
