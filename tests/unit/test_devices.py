"""Backends: what they find, how they share cores, and that none is taken in silence."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices.ascend import AscendBackend, list_device_ids
from bench.devices.base import Availability, Backend, resolve_iterations_per_loop
from bench.devices.choose import build_backends, choose_backend
from bench.devices.cpu import CpuBackend, find_free_ports, share_cores
from bench.devices.simulated import SimulatedBackend
from bench.errors import BackendUnavailableError, UsageError
from bench.ranktable.create import build_rank_table
from bench.ranktable.render import render_rank_table
from bench.spec import build_spec


def _spec(**values):
    return build_spec([("test", values)])


def test_one_card_gets_the_share_it_has_in_the_largest_run():
    one = share_cores((0, 1, 2, 3), 1, sweep=(1, 2))
    two = share_cores((0, 1, 2, 3), 2, sweep=(1, 2))
    assert [place.cores for place in one.placements] == [(0, 1)]
    assert [place.cores for place in two.placements] == [(0, 1), (2, 3)]
    assert not one.oversubscribed
    assert not two.oversubscribed


def test_more_cards_than_cores_is_marked():
    four = share_cores((0, 1), 4, sweep=(1, 4))
    assert [place.cores for place in four.placements] == [(0,), (1,), (0,), (1,)]
    assert four.oversubscribed
    assert not share_cores((0, 1), 1, sweep=(1, 4)).oversubscribed


@given(
    st.lists(st.integers(0, 255), min_size=1, max_size=64, unique=True),
    st.lists(st.integers(1, 64), min_size=1, max_size=4),
)
def test_every_card_has_the_same_number_of_cores(cores, sweep):
    allocations = [share_cores(cores, n_cards, sweep) for n_cards in sweep]
    shares = {len(place.cores) for run in allocations for place in run.placements}
    assert len(shares) == 1
    for run in allocations:
        used = [core for place in run.placements for core in place.cores]
        assert run.oversubscribed == (len(set(used)) < len(used))


def test_cpu_ranks_get_one_cluster_in_tensorflows_form():
    backend, spec = CpuBackend(), _spec(cards="2")
    allocation = backend.allocate(spec, (2,))
    shared = backend.prepare_shared(spec, allocation)
    configs = [
        json.loads(backend.build_rank_environment(spec, allocation, rank, shared)["TF_CONFIG"])
        for rank in (0, 1)
    ]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    assert len(set(configs[0]["cluster"]["worker"])) == 2
    assert [config["task"] for config in configs] == [
        {"type": "worker", "index": 0},
        {"type": "worker", "index": 1},
    ]


def test_single_cpu_rank_joins_no_cluster():
    backend, spec = CpuBackend(), _spec(cards="1")
    allocation = backend.allocate(spec, (1,))
    shared = backend.prepare_shared(spec, allocation)
    assert backend.build_rank_environment(spec, allocation, 0, shared) == {}


def test_free_ports_differ():
    ports = find_free_ports(20)
    assert len(set(ports)) == 20


def test_device_nodes_are_counted_in_order(tmp_path):
    for name in ("davinci10", "davinci2", "davinci_manager", "davinci0", "hisi_hdc"):
        (tmp_path / name).touch()
    assert list_device_ids(str(tmp_path)) == [0, 2, 10]
    assert list_device_ids(str(tmp_path / "absent")) == []


def _fake_python(tmp_path, exit_code):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\nexit {exit_code}\n", encoding="utf-8")
    python.chmod(0o755)
    return str(python)


def test_ascend_needs_devices_and_the_adapter(tmp_path):
    dev = tmp_path / "dev"
    dev.mkdir()
    with_bridge, without = _fake_python(tmp_path, 0), None
    assert AscendBackend(str(dev), with_bridge).probe() == Availability(
        False, 0, f"no {dev}/davinci* device"
    )
    (dev / "davinci0").touch()
    assert AscendBackend(str(dev), with_bridge).probe().available
    without = _fake_python(tmp_path, 1)
    found = AscendBackend(str(dev), without).probe()
    assert not found.available
    assert "npu_bridge" in found.reason


def test_ascend_takes_no_more_cards_than_there_are(tmp_path):
    for device in (4, 5, 6, 7):
        (tmp_path / f"davinci{device}").touch()
    backend = AscendBackend(str(tmp_path))
    allocation = backend.allocate(_spec(cards="2"), (2,))
    assert [place.device for place in allocation.placements] == [4, 5]
    with pytest.raises(BackendUnavailableError, match="8 cards asked, 4 found"):
        backend.allocate(_spec(cards="8"), (8,))


def test_several_ascend_cards_need_a_rank_table(tmp_path, monkeypatch):
    monkeypatch.delenv("RANK_TABLE_FILE", raising=False)
    for device in (0, 1):
        (tmp_path / f"davinci{device}").touch()
    backend = AscendBackend(str(tmp_path), hccn_conf=str(tmp_path / "absent"))
    spec = _spec(cards="2")
    allocation = backend.allocate(spec, (2,))
    with pytest.raises(BackendUnavailableError, match="none is given"):
        backend.prepare_shared(spec, allocation)
    table = tmp_path / "hccl.json"
    made = build_rank_table({"10.0.0.1": {0: "10.1.0.1", 1: "10.1.0.2"}}, 2)
    table.write_text(render_rank_table(made), encoding="utf-8")
    named = _spec(cards="2", rank_table=str(table))
    shared = backend.prepare_shared(named, allocation)
    variables = backend.build_rank_environment(named, allocation, 1, shared)
    assert variables["RANK_TABLE_FILE"] == str(table)
    assert variables["ASCEND_DEVICE_ID"] == "1"


def test_the_table_of_one_host_is_made_from_its_own_addresses(tmp_path, monkeypatch):
    monkeypatch.delenv("RANK_TABLE_FILE", raising=False)
    for device in range(8):
        (tmp_path / f"davinci{device}").touch()
    conf = tmp_path / "hccn.conf"
    lines = [
        f"address_{i}=192.168.{i % 4}.{1 + i // 4}\nnetmask_{i}=255.255.255.0" for i in range(8)
    ]
    conf.write_text("\n".join(lines) + "\n")
    backend = AscendBackend(str(tmp_path), hccn_conf=str(conf))
    spec = _spec(cards="8")
    allocation = backend.allocate(spec, (8,))
    shared = backend.prepare_shared(spec, allocation, (), tmp_path)
    (server,) = json.loads((tmp_path / "rank_table.json").read_text())["server_list"]
    assert [card["device_id"] for card in server["device"]] == [str(i) for i in range(8)]
    assert server["device"][5]["device_ip"] == "192.168.1.2"
    variables = backend.build_rank_environment(spec, allocation, 7, shared)
    assert variables["RANK_TABLE_FILE"] == str(tmp_path / "rank_table.json")
    conf.write_text("address_0=192.168.0.1\n")
    with pytest.raises(UsageError, match="no address for device 1"):
        backend.allocate(spec, (8,))


class _There(Backend):
    def __init__(self, name, available):
        self.name = name
        self._available = available

    def probe(self):
        return Availability(self._available, int(self._available), self.name + " looked at")


@pytest.mark.parametrize(("ascend", "chosen"), [(True, "ascend"), (False, "cpu")])
def test_auto_says_which_and_why(ascend, chosen):
    backends = {
        "ascend": _There("ascend", ascend),
        "cpu": _There("cpu", True),
        "simulated": _There("simulated", True),
    }
    backend, reason = choose_backend("auto", backends)
    assert backend.name == chosen
    assert reason.startswith(f"backend {chosen} chosen")
    if not ascend:
        assert "not ascend: ascend looked at" in reason


def test_a_named_backend_that_is_absent_is_an_error():
    backends = {"ascend": _There("ascend", False), "cpu": _There("cpu", True)}
    with pytest.raises(BackendUnavailableError, match="asked for and is not there"):
        choose_backend("ascend", backends)


def test_auto_never_takes_simulated_cards():
    backends = {name: _There(name, name == "simulated") for name in build_backends()}
    with pytest.raises(BackendUnavailableError):
        choose_backend("auto", backends)


@given(st.integers(1, 1000))
def test_default_loop_divides_the_steps(steps):
    loop = resolve_iterations_per_loop(_spec(steps=steps, warmup_steps=0), SimulatedBackend())
    assert steps % loop == 0
    assert 1 <= loop <= SimulatedBackend.default_iterations_per_loop
