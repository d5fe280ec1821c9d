"""The pure functions of the probes, one text each."""

import json
import sys
from pathlib import Path

import pytest

from bench.devices import npu_smi
from bench.environment import (
    ascend,
    container,
    cpu,
    files,
    memory,
    software,
    state,
    storage,
    system,
)
from bench.environment.sources import AbsentFactError, Subject, run_command
from tests.unit.environment.machine import build_world

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "environment"
TABLE_V1 = {
    "status": "completed",
    "server_list": [{"device": [{"device_id": "0"}, {"device_id": "1"}]}, {"device": [{}]}],
}
TABLE_LAB = {"group_list": [{"instance_list": [{"devices": [{}]}, {"devices": [{}, {}]}]}]}


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("processor: 0\nmodel name\t: Some CPU @ 2.60GHz\n", "Some CPU @ 2.60GHz"),
        ("CPU implementer\t: 0x48\nCPU part\t: 0xd01\n", "HiSilicon TaiShan v110 (Kunpeng 920)"),
        ("CPU implementer\t: 0x41\nCPU part\t: 0xd0c\n", "ARM implementer 0x41 part 0xd0c"),
        ("processor: 0\n", None),
        ("model name\t:\n", None),
    ],
)
def test_cpu_model(text, model):
    assert cpu.parse_cpu_model(text) == model


def test_cpu_lists():
    assert cpu.parse_cpu_list("0-3,8,10-11\n") == [0, 1, 2, 3, 8, 10, 11]
    assert cpu.parse_cpu_list("\n") == []


@pytest.mark.parametrize(("text", "size"), [("32K", 32768), ("1M\n", 1 << 20), ("512", 512)])
def test_sizes(text, size):
    assert cpu.parse_size(text) == size


def test_meminfo_counts_are_no_kilobytes():
    found = memory.parse_meminfo("MemTotal:  10 kB\nHugePages_Total:   7\nodd line\n")
    assert found == {"MemTotal": 10240, "HugePages_Total": 7}


def test_limits_keep_the_soft_one():
    text = (
        "Limit                     Soft Limit           Hard Limit           Units     \n"
        "Max cpu time              unlimited            unlimited            seconds   \n"
        "Max open files            1024                 4096                 files     \n"
    )
    assert memory.parse_limits(text) == {"Max cpu time": "unlimited", "Max open files": 1024}


@pytest.mark.parametrize(
    ("cgroup", "marks", "variable", "runtime"),
    [
        ("0::/kubepods/burstable/pod1/x", ["/.dockerenv"], None, "kubernetes"),
        ("5:cpu:/docker/abc", [], None, "docker"),
        ("0::/", ["/.dockerenv"], None, "docker"),
        ("0::/", ["/run/.containerenv"], "oci", "podman"),
        ("0::/", [], "lxc", "lxc"),
        ("0::/init.scope", [], None, "none"),
    ],
)
def test_container_runtimes(cgroup, marks, variable, runtime):
    assert container.parse_runtime(cgroup, marks, variable) == runtime


def test_cgroup_limits_of_both_versions():
    assert container.parse_cpu_max("150000 100000") == 1.5
    assert container.parse_cpu_max("max 100000") == "unlimited"
    assert container.parse_cfs_quota("-1", "100000") == "unlimited"
    assert container.parse_cfs_quota("50000", "100000") == 0.5
    assert container.parse_limit("9223372036854771712\n") == "unlimited"
    assert container.parse_limit("max") == "unlimited"
    assert container.parse_limit("1024") == 1024


def test_the_tightest_group_above_counts(tmp_path):
    world = build_world(
        """=== /proc/self/cgroup
0::/jobs/one
=== /sys/fs/cgroup/cgroup.controllers
cpu memory
=== /sys/fs/cgroup/jobs/cpu.max
200000 100000
=== /sys/fs/cgroup/jobs/one/cpu.max
max 100000
=== /sys/fs/cgroup/jobs/one/memory.max
4096
=== /sys/fs/cgroup/jobs/memory.max
8192
=== /sys/fs/cgroup/jobs/cpuset.cpus.effective
0-7
""",
        tmp_path,
    )
    facts = container.collect_container(world)
    assert facts["cgroup_version"].value == 2
    assert facts["cgroup_cpu_limit_cores"].value == 2.0
    assert facts["cgroup_memory_limit_bytes"].value == 4096
    assert facts["cgroup_cpuset"].value == "0-7"
    assert facts["cgroup_pids_limit"].reason == "no control group limits processes"


def test_virtualisation_by_tool_or_flag():
    assert system.parse_virtualisation("kvm\n", "") == "kvm"
    assert system.parse_virtualisation(None, "flags : fpu hypervisor\n") == (
        "a hypervisor without a name"
    )
    assert system.parse_virtualisation("none\n", "flags : fpu\n") == "none"


def test_clock_and_zone():
    assert system.parse_synchronised("NTPSynchronized=yes\n") is True
    assert system.parse_synchronised("NTPSynchronized=no\n") is False
    assert system.parse_synchronised("") is None
    assert system.parse_zone_link("/usr/share/zoneinfo/Asia/Shanghai") == "Asia/Shanghai"
    assert system.parse_zone_link("/etc/other") is None


def test_locale_in_the_order_of_posix():
    assert system.parse_locale({"LANG": "de_DE", "LC_ALL": "C.UTF-8"}) == "C.UTF-8"
    assert system.parse_locale({"LC_ALL": "", "LANG": "de_DE"}) == "de_DE"
    assert system.parse_locale({}) == "C"


def test_boot_parameters_name_no_disk_and_no_secret():
    text = "root=/dev/sda1 isolcpus=1-3 nohz_full=1 token=abc mitigations=off quiet"
    assert system.parse_boot_parameters(text) == ["isolcpus=1-3", "nohz_full=1", "mitigations=off"]


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/", "ext4"), ("/data set/x", "nfs"), ("/data", "ext4"), ("/output", "xfs")],
)
def test_the_longest_and_last_mount_counts(path, kind):
    text = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "2 1 0:5 / /data\\040set rw - nfs host:/x rw\n"
        "3 1 8:2 / /output rw - ext4 /dev/sdb rw\n"
        "4 1 8:3 / /output rw opt:1 - xfs /dev/sdc rw\n"
        "broken line\n"
    )
    assert storage.find_mount(storage.parse_mounts(text), path).kind == kind


def test_no_mount():
    with pytest.raises(AbsentFactError, match="no mount holds /x"):
        storage.find_mount([], "/x")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("Version=20.2.0\npackage_version=20.2.rc1\n", "20.2.0"),
        ('package_version = "21.0.2"\n', "21.0.2"),
        ("arch=aarch64\n", None),
        ("", None),
    ],
)
def test_ascend_version_files(text, version):
    assert ascend.parse_version(text) == version


def test_rank_tables_of_both_forms():
    found = ascend.describe_rank_table(json.dumps(TABLE_V1))
    assert (found["devices"], found["status"]) == (3, "completed")
    assert len(found["sha256"]) == 64
    assert ascend.describe_rank_table(json.dumps(TABLE_LAB))["devices"] == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not JSON"), ("[]", "not an object"), ("{}", "neither server_list nor group_list")],
)
def test_bad_rank_tables(text, words):
    with pytest.raises(AbsentFactError, match=words):
        ascend.describe_rank_table(text)


def test_npu_smi_of_a_later_version():
    overview = npu_smi.parse_overview((GOLDEN / "npu_smi_24.txt").read_text(encoding="utf-8"))
    assert (overview.tool_version, overview.driver_version) == ("24.1.0", "24.1.0")
    assert [chip.npu for chip in overview.chips] == [0, 7]
    first, second = overview.chips
    assert (first.name, first.health, first.power_watts) == ("910B", "OK", 69.0)
    assert (first.temperature_celsius, first.core_usage_ratio) == (35.0, 0.12)
    assert (first.hbm_used_bytes, first.hbm_total_bytes) == (1365 << 20, 32768 << 20)
    assert (second.health, second.power_watts, second.bus_id) == ("Alarm", None, "0000:02:00.0")
    assert overview.processes == (npu_smi.CardProcess(7, 812, "python"),)


@pytest.mark.parametrize("text", ["", "dcmi module initialize failed. ret is -8005\n", "| 0 |"])
def test_npu_smi_that_shows_nothing(text):
    assert npu_smi.parse_overview(text).chips == ()


def test_npu_smi_failure_text_becomes_the_reason(tmp_path):
    said = "dcmi module initialize failed. ret is -8005"
    world = build_world(f"=== $ npu-smi info\n{said}\n", tmp_path)
    facts = ascend.collect_ascend_cards(world)
    assert facts["npu_names"].reason == f"npu-smi shows no card; it says: {said}"


def test_ticks_pressure_and_frequency():
    assert state.parse_ticks("cpu  1 2 3 4 5 6 7 8 9\ncpu0 1\n")["steal"] == 8
    assert state.parse_ticks("") is None
    assert state.parse_pressure("some avg10=1.00 avg60=2.50 avg300=0 total=1\n") == 2.5
    assert state.parse_megahertz("cpu MHz\t: 2400.5\ncpu MHz : 1000\n") == [2400.5, 1000.0]


def test_packages_are_listed_without_being_imported(tmp_path):
    site = tmp_path / "site"
    (site / "npu_bridge-1.15.0.dist-info").mkdir(parents=True)
    (site / "Foo_Bar-2.0-py3.7.egg-info").mkdir()
    (site / "npu_bridge").mkdir()
    (site / "npu_bridge" / "__init__.py").write_text("raise SystemExit('imported')\n")
    script = Path(software.__file__).with_name("list_packages.py")
    argv = ["env", f"PYTHONPATH={site}", sys.executable, str(script)]
    found = software.parse_packages(run_command(argv, 20.0))
    assert found["packages"]["npu-bridge"] == "1.15.0"
    assert found["packages"]["foo-bar"] == "2.0"
    assert found["modules"]["npu_bridge"] is True
    assert software.get_version(found, ("npu-bridge",)) == "1.15.0"


def test_versions_that_cannot_be_told():
    found = {"packages": {}, "modules": {"npu_bridge": True}}
    with pytest.raises(AbsentFactError, match="left no version"):
        software.get_version(found, ("npu-bridge",))
    with pytest.raises(AbsentFactError, match="tensorflow is not installed"):
        software.get_version(found, ("tensorflow",))
    with pytest.raises(AbsentFactError, match="gave no list"):
        software.parse_packages("hello\n")


def test_data_is_named_by_what_is_affordable(tmp_path, monkeypatch):
    (tmp_path / "a.tfrecord").write_bytes(b"one")
    by_contents = files.describe_data(str(tmp_path))
    assert (by_contents["method"], by_contents["files"], by_contents["bytes"]) == ("contents", 1, 3)
    (tmp_path / "a.tfrecord").write_bytes(b"two")
    assert files.describe_data(str(tmp_path))["sha256"] != by_contents["sha256"]
    monkeypatch.setattr(files, "MAX_HASHED_BYTES", 2)
    by_sizes = files.describe_data(str(tmp_path))
    (tmp_path / "a.tfrecord").write_bytes(b"six")
    assert files.describe_data(str(tmp_path)) == by_sizes
    assert by_sizes["method"] == "sizes"
    (tmp_path / "manifest.json").write_text("{}")
    by_manifest = files.describe_data(str(tmp_path))
    assert by_manifest["method"] == "manifest"
    (tmp_path / "b.tfrecord").write_bytes(b"more")
    assert files.describe_data(str(tmp_path))["sha256"] != by_manifest["sha256"]


def test_no_data_says_so(tmp_path):
    facts = files.collect_files(Subject(data=str(tmp_path)))
    assert facts["data_sha256"].reason == f"{tmp_path} holds no *.tfrecord file"
    assert files.collect_files(Subject())["data_bytes"].reason == "the run reads no data"
