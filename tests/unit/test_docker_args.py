"""Containers on hosts of several driver generations, each built as a folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List, Sequence

import pytest

from bench.cli import main
from bench.containers.arguments import build_arguments, format_ids, render_command
from bench.containers.host import MANAGERS, parse_install_folder, parse_runtime, read_host
from bench.containers.request import (
    ContainerRequest,
    find_flags,
    find_user,
    list_mounts,
    make_paths_absolute,
    parse_cards,
    parse_devices,
)
from bench.errors import UsageError

ROOT = Path(__file__).resolve().parents[2]
RUNTIME = "/usr/local/Ascend/Ascend-Docker-Runtime/ascend-docker-runtime"


class HostTree:
    """A folder that stands for the root of a host."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.add("/dev/null", "/etc/hostname")

    def add(self, *paths: str, text: str = "", mode: int = 0o660) -> HostTree:
        """Makes files; a path that ends with a slash is a folder."""
        for path in paths:
            target = self.root / path.strip("/")
            if path.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(mode)
        return self

    def add_cards(self, ids: Sequence[int]) -> HostTree:
        """Nodes of devices and of their managers."""
        names = [f"davinci{number}" for number in ids] + list(MANAGERS)
        return self.add(*(f"/dev/{name}" for name in names))

    def add_driver(self, version: str, folder: str = "/usr/local/Ascend") -> HostTree:
        """Libraries, version and tools of the driver."""
        self.add(f"{folder}/driver/lib64/libdrv.so", f"{folder}/driver/tools/hccn_tool")
        return self.add(f"{folder}/driver/version.info", text=f"Version={version}\n")

    def build(self, **changes: Any) -> Any:
        """Reads the tree and builds the arguments."""
        values: Dict[str, Any] = {"n_cards": 8, "user": f"{os.getuid()}:{os.getgid()}", **changes}
        return build_arguments(read_host(str(self.root)), ContainerRequest(**values))


@pytest.fixture
def tree(tmp_path):
    """An empty host."""
    return HostTree(tmp_path)


def make_20_2(tree: HostTree) -> HostTree:
    """An Atlas 800 of 2021: driver 20.2, no dcmi, slog, no container runtime."""
    tree.add_cards(range(8)).add_driver("20.2.0").add("/usr/local/Ascend/add-ons/")
    tree.add("/usr/local/bin/npu-smi", "/var/log/npu/conf/slog/slog.conf", "/etc/localtime")
    return tree.add("/etc/hccn.conf", text="address_0=192.0.2.1\n", mode=0o644)


def make_21_0(tree: HostTree) -> HostTree:
    """Driver 21.0: npu-smi in sbin, and dcmi beside it."""
    tree.add_cards(range(8)).add_driver("21.0.4").add("/usr/local/sbin/npu-smi", "/usr/local/dcmi/")
    return tree.add("/etc/hccn.conf", mode=0o644).add("/var/log/npu/")


def make_24_1(tree: HostTree) -> HostTree:
    """Driver 24.1 with ascend-docker-runtime."""
    make_21_0(tree).add_driver("24.1.0").add(RUNTIME)
    daemon = {"runtimes": {"ascend": {"path": RUNTIME}}, "default-runtime": "ascend"}
    return tree.add("/etc/docker/daemon.json", text=json.dumps(daemon))


def options(words: Sequence[str], name: str) -> List[str]:
    """Values of a repeated option."""
    return [word.split("=", 1)[1] for word in words if word.startswith(f"--{name}=")]


def test_host_of_20_2(tree):
    built = make_20_2(tree).build()
    assert built.backend == "ascend" and built.devices == tuple(range(8)) and not built.missing
    nodes = [f"/dev/davinci{n}" for n in range(8)] + [f"/dev/{name}" for name in MANAGERS]
    assert options(built.words, "device") == nodes
    same = ["/usr/local/Ascend/driver", "/usr/local/Ascend/add-ons", "/usr/local/bin/npu-smi"]
    same += ["/etc/hccn.conf", "/var/log/npu/conf/slog/slog.conf", "/etc/localtime"]
    mounts = ["/var/log/npu:/var/log/npu"] + [f"{path}:{path}:ro" for path in same]
    assert options(built.words, "volume") == mounts
    assert options(built.words, "network") == ["host"] and "--ipc=host" in built.words
    assert not options(built.words, "runtime") and built.runtime == ""


def test_host_of_21_0_has_npu_smi_in_sbin_and_dcmi(tree):
    volumes = options(make_21_0(tree).build().words, "volume")
    assert "/usr/local/sbin/npu-smi:/usr/local/sbin/npu-smi:ro" in volumes
    assert "/usr/local/dcmi:/usr/local/dcmi:ro" in volumes


def test_container_runtime_hands_over_devices_and_what_it_forgets_is_mounted(tree):
    built = make_24_1(tree).build(n_cards=4)
    assert "--runtime=ascend" in built.words
    assert "ASCEND_VISIBLE_DEVICES=0-3" in options(built.words, "env")
    assert options(built.words, "device") == []
    volumes = options(built.words, "volume")
    driver = "/usr/local/Ascend/driver"
    assert f"{driver}/tools:{driver}/tools:ro" in volumes
    assert f"{driver}/version.info:{driver}/version.info:ro" in volumes
    assert f"{driver}:{driver}:ro" not in volumes


def test_runtime_can_be_refused_and_podman_has_none(tree):
    make_24_1(tree)
    for changes in ({"runtime": "none"}, {"engine": "podman"}):
        built = tree.build(**changes)
        assert not options(built.words, "runtime") and len(options(built.words, "device")) == 11
    assert tree.build(engine="podman", runtime="ascend").missing


@pytest.mark.parametrize(
    "text, said",
    [
        ("{", "cannot be used"),
        ("[]", "not an object"),
        ('{"runtimes": []}', "not an object"),
        ('{"runtimes": {"ascend": {}}}', "no path"),
        ('{"runtimes": {"ascend": {"path": "/nowhere"}}}', "not there"),
        ("[" * 100000, "cannot be used"),
    ],
)
def test_broken_daemon_json_is_said_and_devices_are_named(tree, text, said):
    built = make_21_0(tree).add("/etc/docker/daemon.json", text=text).build()
    assert any(said in note for note in built.notes), built.notes
    assert len(options(built.words, "device")) == 11 and not built.missing


def test_installed_runtime_that_docker_does_not_know_is_noted(tree):
    built = make_21_0(tree).add(RUNTIME).build()
    assert any("Docker is not told" in note for note in built.notes)
    forced = tree.build(runtime="ascend")
    assert "ascend-docker-runtime" in forced.missing[0].what


def test_driver_in_another_folder(tree):
    tree.add_cards(range(8)).add_driver("20.2.0", "/opt/npu")
    tree.add("/etc/ascend_install.info", text="Driver_Install_Path_Param=/opt/npu/\n")
    built = tree.build()
    assert "/opt/npu/driver:/opt/npu/driver:ro" in options(built.words, "volume")
    assert not built.missing


def test_ids_of_a_subset_stay_physical(tree):
    tree.add_cards([4, 5, 6, 7]).add_driver("20.2.0")
    built = tree.build(n_cards=2)
    assert built.devices == (4, 5)
    assert options(built.words, "device")[:2] == ["/dev/davinci4", "/dev/davinci5"]


def test_two_rings_are_noted(tree):
    make_20_2(tree)
    assert any("rings" in note for note in tree.build(n_cards=2, devices=(3, 4)).notes)
    assert not any("rings" in note for note in tree.build(n_cards=2, devices=(2, 3)).notes)


def test_what_is_missing_is_named_with_place_and_remedy(tree):
    tree.add("/dev/davinci0", "/dev/davinci_manager")
    missing = {item.what: item for item in tree.build(n_cards=2).missing}
    assert set(missing) == {
        "2 device nodes",
        "/dev/devmm_svm",
        "/dev/hisi_hdc",
        "the driver's libraries",
    }
    assert "1 found" in missing["2 device nodes"].where
    assert all(item.remedy for item in missing.values())


def test_devices_that_are_not_there_or_too_few(tree):
    make_20_2(tree)
    assert "device 9" in tree.build(n_cards=1, devices=(9,)).missing[0].what
    assert "1 more" in tree.build(n_cards=2, devices=(0,)).missing[0].what


def test_nodes_of_a_group_bring_the_group_and_those_of_root_alone_are_missing(tree):
    make_20_2(tree)
    group = str((tree.root / "dev/davinci0").stat().st_gid)
    owned = tree.build(user="4321:4321")
    assert options(owned.words, "group-add") == [group] and not owned.missing
    assert tree.build(user="").missing == () and options(tree.build(user="").words, "user") == []
    (tree.root / "dev/davinci0").chmod(0o600)
    refused = tree.build(user="4321:4321").missing
    assert "access to /dev/davinci0 for uid 4321" in refused[0].what
    for name in (tree.root / "dev").iterdir():
        name.chmod(0o666)
    open_to_all = tree.build(user="4321:4321")
    assert options(open_to_all.words, "group-add") == [] and not open_to_all.missing


def test_host_without_cards_gets_no_device(tree):
    built = tree.build()
    assert built.backend == "cpu" and not built.missing
    assert options(built.words, "device") == [] and not options(built.words, "network")
    assert "--ipc=host" not in built.words
    assert tree.build(backend="ascend").missing


def test_every_container_is_restricted(tree):
    for built in (tree.build(), make_20_2(tree).build()):
        assert {"--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only"} <= set(
            built.words
        )
        assert "--privileged" not in built.words
        assert not any("docker.sock" in word for word in built.words)
    assert "--read-only" not in tree.build(writable=True).words


def test_shared_memory_of_its_own(tree):
    words = make_20_2(tree).build(shm_size="8g").words
    assert "--shm-size=8g" in words and "--ipc=host" not in words


def test_rootless_podman_keeps_the_ids_of_the_caller(tree):
    make_20_2(tree).add("/etc/selinux/config", text="SELINUX=enforcing\n")
    words = tree.build(engine="podman", rootless=True, user="4321:4321").words
    assert {"--userns=keep-id", "--group-add=keep-groups", "--security-opt=label=disable"} <= set(
        words
    )


def test_notes_say_what_works_less_well(tree):
    tree.add_cards(range(8)).add("/usr/local/Ascend/driver/lib64/")
    notes = "\n".join(tree.build().notes)
    for word in ("version.info", "npu-smi", "hccn.conf", "hccn_tool"):
        assert word in notes
    tree.add_driver("23.0.5").add("/usr/local/bin/npu-smi").add("/etc/hccn.conf", mode=0o600)
    notes = "\n".join(tree.build().notes)
    assert "/usr/local/dcmi" in notes and "for its owner alone" in notes


def test_dangling_links_of_the_host_count(tree):
    make_20_2(tree)
    (tree.root / "usr/local/bin/npu-smi").unlink()
    (tree.root / "usr/local/bin/npu-smi").symlink_to("/usr/local/Ascend/driver/tools/nothing-here")
    assert any("npu-smi" in word for word in options(tree.build().words, "volume"))


def test_paths_of_the_command_are_mounted_under_their_names(tmp_path):
    command = ["bench", "--cards", "1,8", "--data=wiki", "--set", "rank_table=t/8p.json"]
    command += ["--output", "out", "--spec", "ascend-910", "--spec=mine.yaml"]
    absolute = make_paths_absolute(command, "/here")
    assert absolute[3:] == (
        *("--data=/here/wiki", "--set", "rank_table=/here/t/8p.json", "--output", "/here/out"),
        *("--spec", "ascend-910", "--spec=/here/mine.yaml"),
    )
    flags = find_flags(command)
    assert flags["--cards"] == "1,8" and flags["rank_table"] == "t/8p.json"
    mounts = list_mounts(flags, "", "results", "", "/here")
    assert [(mount.source, mount.target, mount.writable) for mount in mounts] == [
        ("/here/out", "/here/out", True),
        ("/here/wiki", "/here/wiki", False),
        ("/here/t/8p.json", "/here/t/8p.json", False),
        ("/here/mine.yaml", "/here/mine.yaml", False),
    ]


def test_flag_at_the_end_without_a_value_is_left_alone():
    assert find_flags(["bench", "--data"]) == {}
    assert make_paths_absolute(["bench", "--data"], "/here") == ("bench", "--data")


def test_default_mounts():
    mounts = list_mounts({}, "d", "results", "/t/8p.json", "/here")
    assert [mount.target for mount in mounts] == ["/ascend-bert/results", "/data", "/t/8p.json"]
    with pytest.raises(UsageError, match="cannot be mounted"):
        list_mounts({}, "a:b", "results", "", "/here")


@pytest.mark.parametrize("text", ["", "x", "0", "1,", "-1", "9", "1,64"])
def test_wrong_cards(text):
    with pytest.raises(UsageError, match="--cards"):
        parse_cards(text)


@pytest.mark.parametrize("text", ["", "a", "1-", "3-1", "-2", "0,0", "0-1,1", "0-99", "9999999"])
def test_wrong_devices(text):
    with pytest.raises(UsageError, match="--devices"):
        parse_devices(text)


def test_ids_in_words():
    assert parse_cards("1,2,8") == 8
    assert parse_devices("6,0-3") == (0, 1, 2, 3, 6)
    assert format_ids((0, 1, 2, 3, 6)) == "0-3,6" and format_ids(()) == ""
    assert parse_devices(format_ids((1, 3, 4, 5))) == (1, 3, 4, 5)


def test_caller_is_seen_through_sudo():
    assert find_user(1000, 100, {}) == "1000:100"
    assert find_user(0, 0, {"SUDO_UID": "1000", "SUDO_GID": "100"}) == "1000:100"
    assert find_user(0, 0, {"SUDO_UID": "x"}) == "0:0"
    assert find_user(1000, 100, {"SUDO_UID": "7", "SUDO_GID": "7"}) == "1000:100"


def test_parsers():
    assert parse_install_folder("UserName=a\nDriver_Install_Path_Param=/opt/npu\n") == "/opt/npu"
    assert parse_install_folder("Driver_Install_Path_Param=relative") == ""
    assert parse_runtime('{"runtimes": {"nvidia": {"path": "n"}}}') == ""


def run_verb(*words: str) -> int:
    """Runs the verb through the command line."""
    return main(["docker-args", *words])


def test_verb_prints_one_line(tree, capsys):
    make_20_2(tree)
    assert run_verb("--host-root", str(tree.root), "--cards", "8", "--user", "image") == 0
    line = capsys.readouterr().out
    assert line.count("\n") == 1 and "--device=/dev/davinci7" in line


def test_dry_run_shows_the_command_and_fails_when_something_is_missing(tree, capsys):
    words = ["--host-root", str(tree.root), "--dry-run", "--backend", "ascend"]
    assert run_verb(*words, "bench", "--cards", "8") == 6
    said = capsys.readouterr()
    assert said.out.startswith("docker run \\\n") and "bench --cards 8" in said.out
    assert "no 8 device nodes" in said.err and said.err.count("error:") == 1
    make_20_2(tree)
    assert run_verb(*words, "bench", "--cards", "8") == 0


def test_json_form(tree, capsys):
    make_24_1(tree)
    assert run_verb("--host-root", str(tree.root), "--json", "--", "bench", "--cards", "2") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["backend"] == "ascend" and found["devices"] == [0, 1]
    assert found["runtime"] == "ascend" and found["missing"] == []
    assert found["command"] == ["bench", "--cards", "2"]


@pytest.mark.parametrize(
    "words, said",
    [
        (["--cards", "99"], "--cards 99"),
        (["--host-root", "/nowhere/at/all"], "not a folder"),
        (["--user", "me"], "--user must be"),
        (["bench", "--backend", "tpu"], "--backend must be"),
        (["--engine", "lxc"], "invalid choice"),
    ],
)
def test_bad_input_is_one_line(words, said, capsys):
    assert run_verb(*words) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error


def test_rank_table_of_the_environment_goes_along(tree, capsys, monkeypatch):
    monkeypatch.setenv("RANK_TABLE_FILE", "/tables/8p.json")
    make_20_2(tree)
    assert run_verb("--host-root", str(tree.root), "--cards", "8") == 0
    line = capsys.readouterr().out
    assert "--env=RANK_TABLE_FILE=/tables/8p.json" in line
    assert "--volume=/tables/8p.json:/tables/8p.json:ro" in line


def test_words_are_quoted_for_a_shell():
    request = ContainerRequest(command=("bench", "--set", "a=b c"))
    built = build_arguments(read_host("/nowhere/at/all"), request)
    assert render_command(request, built).endswith("ascend-bert bench --set 'a=b c'")


def test_verb_needs_the_standard_library_only(tree):
    make_20_2(tree)
    words = ["-m", "bench.commands.docker_args", "--host-root", str(tree.root), "--lines"]
    done = subprocess.run(
        # -S: without any package that is installed.
        [sys.executable, "-S", *words, "bench", "--cards", "8"],
        cwd=str(ROOT),
        capture_output=True,
        check=False,
    )
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, done.stderr
    assert lines[:2] == ["docker", "run"] and lines[-3:] == ["bench", "--cards", "8"]
