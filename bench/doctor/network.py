"""The network between the cards: addresses, links, the cards' own test, and the rank table."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence

from bench.devices import hccn_tool, npu_smi
from bench.devices.ascend import list_device_ids
from bench.devices.vendor_tools import HCCN_TOOL_PATHS, find_tool
from bench.doctor.model import FAIL, OK, WARN, Finding, Patient, join_numbers, skip
from bench.environment.sources import AbsentFactError, locate, read_text
from bench.errors import BenchError
from bench.ranktable.model import RankTable, group_by_server
from bench.ranktable.parse import read_rank_table
from bench.ranktable.rules import compare_addresses, list_findings

_HCCN_CONF = "/etc/hccn.conf"
_UNTESTED = ("init", "unknown")


def examine_network(patient: Patient) -> List[Finding]:
    """Addresses, links and the cards' own test of the network."""
    devices = list_device_ids(locate(patient.world, "/dev"))
    if not devices:
        return [skip("card network", "there are no cards")]
    findings = [_judge_addresses(devices, read_addresses(patient))]
    tool = find_tool(HCCN_TOOL_PATHS, patient.world.root)
    if tool is None:
        return findings + [
            Finding(
                "card network",
                WARN,
                "hccn_tool is not installed",
                "mount /usr/local/Ascend/driver/tools into the container",
            )
        ]
    spans_hosts = _spans_hosts(patient)
    links = _ask(patient, tool, devices, "link")
    tests = _ask(patient, tool, devices, "net_health")
    return findings + [_judge_links(links, spans_hosts), _judge_tests(tests, spans_hosts)]


def examine_rank_table(patient: Patient) -> List[Finding]:
    """Whether the rank table keeps the rules, and names the addresses that this host has."""
    name = "rank table"
    path = patient.rank_table or patient.world.variables.get("RANK_TABLE_FILE")
    if not path:
        return [skip(name, "none is named; runs of several cards need one (--rank-table FILE)")]
    remedy = "make one with 'ascend-bert ranktable create', or see 'ascend-bert ranktable check'"
    try:
        table = read_rank_table(Path(path))
    except BenchError as error:
        return [Finding(name, FAIL, str(error), remedy)]
    problems = list_findings(table)
    server = _find_own_server(table, read_addresses(patient))
    if server is not None:
        problems += list(compare_addresses(table, server))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return [Finding(name, FAIL, problems[0] + more, remedy)]
    servers = len(group_by_server(table))
    figure = f"{table.n_ranks} rank(s) on {servers} server(s)"
    return [Finding(name, OK, figure + ("" if server is None else ", addresses as on this host"))]


def read_addresses(patient: Patient) -> Dict[int, str]:
    """Device → address of its port, from ``/etc/hccn.conf``; empty without the file."""
    try:
        conf = hccn_tool.parse_hccn_conf(read_text(patient.world, _HCCN_CONF))
    except AbsentFactError:
        return {}
    return {device: keys["address"] for device, keys in conf.items() if "address" in keys}


def _find_own_server(
    table: RankTable, addresses: Mapping[int, str]
) -> Optional[Dict[str, Dict[int, str]]]:
    """This host's addresses under the server of the table that shares one with it."""
    ours = set(addresses.values())
    for server_id, entries in group_by_server(table).items():
        if ours & {entry.device_ip for entry in entries}:
            return {server_id: dict(addresses)}
    return None


def _spans_hosts(patient: Patient) -> bool:
    """Whether the rank table names several servers; only then do cards use their ports."""
    path = patient.rank_table or patient.world.variables.get("RANK_TABLE_FILE")
    if not path:
        return False
    try:
        return len(group_by_server(read_rank_table(Path(path)))) > 1
    except BenchError:
        return False


def _ask(patient: Patient, tool: str, devices: Sequence[int], query: str) -> Dict[int, str]:
    """Device → what the tool says; a failure in its words."""

    def ask(device: int) -> str:
        answer = patient.run([tool, "-i", str(device), f"-{query}", "-g"])
        if query == "link":
            up = hccn_tool.parse_link(answer.output)
            word = None if up is None else ("UP" if up else "DOWN")
        else:
            word = hccn_tool.parse_net_health(answer.output)
        failure = npu_smi.find_failure(answer.output + "\n" + answer.errors)
        return word or failure or answer.reason or "no answer"

    with ThreadPoolExecutor(max_workers=max(1, len(devices))) as pool:
        return dict(zip(devices, pool.map(ask, devices)))


def _judge_addresses(devices: Sequence[int], addresses: Mapping[int, str]) -> Finding:
    name = "card addresses"
    absent = [device for device in devices if device not in addresses]
    if not absent:
        return Finding(name, OK, f"{len(devices)} in {_HCCN_CONF}")
    if len(absent) == len(devices):
        figure = f"no address in {_HCCN_CONF}"
    else:
        figure = f"no address for card {join_numbers(absent)}"
    return Finding(
        name,
        WARN,
        figure,
        "set them with 'hccn_tool -i N -ip -s address … netmask …', or mount /etc/hccn.conf; "
        "rank tables need them",
    )


def _judge_links(links: Mapping[int, str], spans_hosts: bool) -> Finding:
    return _judge(
        "card links",
        links,
        [device for device, word in links.items() if word != "UP"],
        spans_hosts,
        "look at cables, optical modules and the switch",
    )


def _judge_tests(tests: Mapping[int, str], spans_hosts: bool) -> Finding:
    untested = [device for device, word in tests.items() if word.lower() in _UNTESTED]
    if tests and len(untested) == len(tests) and not spans_hosts:
        return skip("network health", "the cards have not tested it: no address to reach is set")
    return _judge(
        "network health",
        tests,
        [device for device, word in tests.items() if word != "Success"],
        spans_hosts,
        "set an address to reach with 'hccn_tool -i N -netdetect -s address …' and look again",
    )


def _judge(
    name: str, words: Mapping[int, str], bad: Sequence[int], spans_hosts: bool, remedy: str
) -> Finding:
    if not bad:
        return Finding(name, OK, f"{len(words)} of {len(words)}: {words[min(words)]}")
    cards_of: Dict[str, List[int]] = {}
    for device in bad:
        cards_of.setdefault(words[device], []).append(device)
    figure = "; ".join(f"card {join_numbers(cards)}: {word}" for word, cards in cards_of.items())
    if spans_hosts:
        return Finding(name, FAIL, figure, remedy)
    return Finding(name, WARN, figure, f"{remedy}; cards of one host do without")
