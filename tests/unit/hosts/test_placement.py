"""Which rank runs on which device of which host, and at which address it listens."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices.ascend import AscendBackend
from bench.devices.cpu import CpuBackend
from bench.devices.hosts import (
    Host,
    choose_addresses,
    list_workers,
    place_on_cores,
    place_on_devices,
    spread_ranks,
)
from bench.devices.simulated import SimulatedBackend
from bench.errors import BackendUnavailableError, InfrastructureError, UsageError
from bench.launch.plan import build_plan
from bench.ranktable.create import build_rank_table
from bench.ranktable.parse import read_rank_table
from bench.ranktable.render import render_rank_table
from bench.spec import build_spec


def make_hosts(count, cores=(0, 1, 2, 3), one_machine=False, **more):
    return tuple(
        Host(
            index=index,
            name=f"node{index}",
            networks=("172.17.0.1/16", f"10.0.0.{index + 1}/24"),
            cores=tuple(cores),
            devices=tuple(range(8)),
            machine="m" if one_machine else f"m{index}",
            network_namespace="n",
            ports=tuple(range(5000, 5064)),
            **more,
        )
        for index in range(count)
    )


def make_spec(**values):
    return build_spec([("test", values)])


@given(st.integers(1, 20), st.integers(1, 64))
def test_ranks_are_spread_evenly_and_neighbours_stay_together(n_hosts, n_cards):
    owners = spread_ranks(make_hosts(n_hosts), n_cards, None, fill=False)
    counts = [owners.count(index) for index in range(n_hosts)]
    assert list(owners) == sorted(owners)
    assert sum(counts) == n_cards
    assert max(counts) == -(-n_cards // n_hosts)


def test_ascend_fills_a_host_before_the_next():
    hosts = make_hosts(8)
    assert set(spread_ranks(hosts, 8, None, fill=True)) == {0}
    assert [spread_ranks(hosts, 64, None, fill=True).count(i) for i in range(8)] == [8] * 8
    with pytest.raises(UsageError, match=r"72 cards do not fit on 8 host\(s\) with 8 each"):
        spread_ranks(hosts, 72, None, fill=True)


def test_agents_for_one_rank_get_one():
    hosts = make_hosts(4, max_ranks=1)
    assert spread_ranks(hosts, 2, None, fill=True) == (0, 1)
    assert spread_ranks(hosts, 4, None, fill=False) == (0, 1, 2, 3)
    with pytest.raises(UsageError):
        spread_ranks(hosts, 5, None, fill=False)


def test_hosts_have_the_same_cores_each_for_itself():
    two = place_on_cores(make_hosts(2), 2, sweep=(1, 2))
    assert [(p.host, p.device, p.cores) for p in two.placements] == [
        (0, 0, (0, 1, 2, 3)),
        (1, 0, (0, 1, 2, 3)),
    ]
    assert [p.device_index for p in two.placements] == [0, 1]
    assert not two.oversubscribed


def test_agents_on_one_machine_share_its_cores():
    two = place_on_cores(make_hosts(2, one_machine=True), 2, sweep=(1, 2))
    assert [p.cores for p in two.placements] == [(0, 1), (2, 3)]
    one = place_on_cores(make_hosts(2, one_machine=True), 1, sweep=(1, 2))
    assert [p.cores for p in one.placements] == [(0, 1)]
    eight = place_on_cores(make_hosts(2, one_machine=True), 8, sweep=(8,))
    assert eight.oversubscribed


def test_agents_that_are_bound_keep_to_their_cores():
    hosts = (
        make_hosts(1, cores=(0, 1), one_machine=True)[0],
        dataclasses.replace(make_hosts(2, cores=(2, 3), one_machine=True)[1]),
    )
    two = place_on_cores(hosts, 2, sweep=(2,))
    assert [p.cores for p in two.placements] == [(0, 1), (2, 3)]


@given(st.integers(1, 6), st.lists(st.integers(1, 24), min_size=1, max_size=3), st.booleans())
def test_a_card_is_the_same_in_every_run(n_hosts, sweep, one_machine):
    hosts = make_hosts(n_hosts, cores=range(16), one_machine=one_machine)
    runs = [place_on_cores(hosts, n_cards, sweep) for n_cards in sweep]
    assert len({len(p.cores) for run in runs for p in run.placements}) == 1
    for run in runs:
        used = [(hosts[p.host].machine, core) for p in run.placements for core in p.cores]
        assert run.oversubscribed == (len(set(used)) < len(used))


def make_table(n_cards, names):
    hosts = {
        name: {device: f"10.{index + 1}.0.{device + 1}" for device in range(8)}
        for index, name in enumerate(names)
    }
    return build_rank_table(hosts, n_cards)


def test_the_rank_table_says_which_host():
    hosts = make_hosts(2)
    by_name = place_on_devices(hosts, 16, table=make_table(16, ["node1", "node0"]))
    assert [p.host for p in by_name.placements] == [1] * 8 + [0] * 8
    assert [p.device_index for p in by_name.placements] == [*range(8, 16), *range(8)]
    by_address = place_on_devices(hosts, 16, table=make_table(16, ["10.0.0.1", "10.0.0.2"]))
    assert [p.host for p in by_address.placements] == [0] * 8 + [1] * 8
    with pytest.raises(InfrastructureError, match="server other of rank 8 is none of the hosts"):
        place_on_devices(hosts, 16, table=make_table(16, ["node0", "other"]))


def test_devices_that_are_not_there():
    hosts = (dataclasses.replace(make_hosts(1)[0], devices=(0, 1)),)
    with pytest.raises(BackendUnavailableError, match=r"node0 has 2 device\(s\), rank 2"):
        place_on_devices(hosts, 4)
    with pytest.raises(BackendUnavailableError, match="has no device 2"):
        place_on_devices(hosts, 4, table=make_table(4, ["node0"]))


def test_ascend_makes_the_table_from_what_the_hosts_know(tmp_path, monkeypatch):
    monkeypatch.delenv("RANK_TABLE_FILE", raising=False)
    hosts = tuple(
        dataclasses.replace(
            host, device_addresses=tuple((d, f"10.{host.index + 1}.0.{d + 1}") for d in range(8))
        )
        for host in make_hosts(2)
    )
    backend, spec = AscendBackend(), make_spec(cards="16")
    allocation = backend.allocate(spec, (16,), hosts)
    shared = backend.prepare_shared(spec, allocation, hosts, tmp_path)
    table = read_rank_table(tmp_path / "rank_table.json")
    assert shared == {"rank_table": str(tmp_path / "rank_table.json")}
    assert [table.entries[0].server_id, table.entries[8].server_id] == ["10.0.0.1", "10.0.0.2"]
    assert backend.build_rank_environment(spec, allocation, 9, shared)["ASCEND_DEVICE_ID"] == "1"


def test_ascend_cuts_the_table_to_the_run(tmp_path):
    file = tmp_path / "64p.json"
    file.write_text(render_rank_table(make_table(16, ["node0", "node1"])), encoding="utf-8")
    backend, hosts = AscendBackend(), make_hosts(2)
    for n_cards in (4, 8, 16):
        spec = make_spec(cards=str(n_cards), rank_table=str(file))
        allocation = backend.allocate(spec, (n_cards,), hosts)
        backend.prepare_shared(spec, allocation, hosts, tmp_path)
        assert read_rank_table(tmp_path / "rank_table.json").n_ranks == n_cards
        assert len(allocation.placements) == n_cards
    with pytest.raises(UsageError, match="32 cards asked, the rank table lists 16"):
        backend.allocate(make_spec(cards="32", rank_table=str(file)), (32,), hosts)


def test_ranks_of_one_machine_meet_on_loopback():
    assert choose_addresses(make_hosts(2, one_machine=True), None) == dict.fromkeys(
        (0, 1), "127.0.0.1"
    )


def test_hosts_meet_in_the_network_that_tells_them_apart():
    # The bridge of a container engine has one address on all of them.
    assert choose_addresses(make_hosts(2), None) == {0: "10.0.0.1", 1: "10.0.0.2"}
    assert choose_addresses(make_hosts(2), "10.0.0.0/8") == {0: "10.0.0.1", 1: "10.0.0.2"}
    with pytest.raises(InfrastructureError, match="node0 has no address in hosts.network 10.1"):
        choose_addresses(make_hosts(2), "10.1.0.0/24")
    with pytest.raises(UsageError, match="no network like"):
        choose_addresses(make_hosts(2), "10.0.0.1/8/9")
    lonely = dataclasses.replace(make_hosts(2)[1], networks=())
    with pytest.raises(InfrastructureError, match="no network in common"):
        choose_addresses((make_hosts(1)[0], lonely), None)


def test_pods_with_a_subnet_for_each_node():
    pods = tuple(
        dataclasses.replace(host, networks=(f"10.244.{host.index}.7/24",)) for host in make_hosts(3)
    )
    assert choose_addresses(pods, None) == {index: f"10.244.{index}.7" for index in range(3)}
    same = tuple(dataclasses.replace(host, networks=("10.244.0.7/24",)) for host in make_hosts(2))
    with pytest.raises(InfrastructureError, match="no network in common"):
        choose_addresses(same, None)


def test_namespaces_of_one_machine_are_hosts():
    hosts = tuple(
        dataclasses.replace(host, network_namespace=str(host.index))
        for host in make_hosts(2, one_machine=True)
    )
    assert choose_addresses(hosts, None) == {0: "10.0.0.1", 1: "10.0.0.2"}


def test_workers_have_an_address_and_port_each():
    hosts = make_hosts(2)
    spec = make_spec(cards="4")
    allocation = CpuBackend().allocate(spec, (4,), hosts)
    assert list_workers(hosts, allocation, None) == [
        "10.0.0.1:5000",
        "10.0.0.1:5001",
        "10.0.0.2:5000",
        "10.0.0.2:5001",
    ]
    few = tuple(dataclasses.replace(host, ports=(1,)) for host in hosts)
    with pytest.raises(InfrastructureError, match="too few free ports"):
        list_workers(few, allocation, None)
    same = tuple(
        dataclasses.replace(host, ports=(1, 2)) for host in make_hosts(2, one_machine=True)
    )
    with pytest.raises(InfrastructureError, match="same address and port"):
        list_workers(same, allocation, None)


@pytest.mark.parametrize("backend", [CpuBackend(), SimulatedBackend()])
def test_plan_over_hosts(tmp_path, backend):
    hosts, spec = make_hosts(2), make_spec(cards="4", backend=backend.name)
    allocation = backend.allocate(spec, (4,), hosts)
    shared = backend.prepare_shared(spec, allocation, hosts, tmp_path)
    plan = build_plan(spec, backend, allocation, ["t"], "r", tmp_path, {}, shared, tmp_path)
    assert [rank.host for rank in plan.ranks] == [0, 0, 1, 1]
    assert [rank.environment["RANK_INDEX"] for rank in plan.ranks] == ["0", "0", "1", "1"]
    assert [rank.log_path.name for rank in plan.ranks] == [f"train_{i}.log" for i in range(4)]
