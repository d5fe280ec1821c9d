"""hccn_tool and hccn.conf: answers, sentences in place of answers, text that means nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices import hccn_tool
from bench.devices.npu_smi import find_failure
from tests.fakes.npu_host import Card, render_hccn

ANSWERS = render_hccn(Card(3, roce_errors=(5, 7), link_ups=4))
NOTHING = ["", "\n", "Cmd execute failed!\n", "Device ID is out of the valid range.\n", "link up"]


def test_link_and_health():
    assert hccn_tool.parse_link(ANSWERS["link"]) is True
    assert hccn_tool.parse_link("link status: DOWN\n") is False
    assert hccn_tool.parse_link("link status: flapping\n") is None
    assert hccn_tool.parse_net_health(ANSWERS["net_health"]) == "Success"
    assert hccn_tool.parse_net_health("net health status: Detect ip set") == "Detect ip set"


def test_link_history_keeps_the_card_s_own_times():
    history = hccn_tool.parse_link_history(
        "[devid 0]current time        : Tue Oct 28 21:46:46 2025\n"
        "[devid 0]link up count       : 2\n"
        "[devid 0]link down count     : 1\n"
        "[devid 0]link change records :\n"
        "[devid 0]    Sun Oct  5 10:13:51 2025    LINK UP\n"
        "[devid 0]    Sun Oct  5 10:13:50 2025    LINK DOWN\n"
    )
    assert (history.up_count, history.down_count) == (2, 1)
    assert history.changes == (
        ("Sun Oct  5 10:13:51 2025", "UP"),
        ("Sun Oct  5 10:13:50 2025", "DOWN"),
    )
    assert hccn_tool.parse_link_history(ANSWERS["link_stat"]).down_count is None


def test_counters_speed_and_bandwidth():
    counts = hccn_tool.parse_statistics(ANSWERS["stat"])
    assert counts["roce_rx_err_pkt_num"] == 5
    assert counts["roce_tx_err_pkt_num"] == 7
    assert "packet statistics" not in counts
    assert hccn_tool.parse_speed(ANSWERS["speed"]) == 12.5e9
    assert hccn_tool.parse_speed("Speed: 200 Gb/s") == 25e9
    assert hccn_tool.parse_speed("Speed: unknown") is None
    assert hccn_tool.parse_bandwidth("Bandwidth TX: 1.50 MB/sec\nBandwidth RX: NA\n") == (
        1.5e6,
        None,
    )


def test_addresses():
    assert hccn_tool.parse_address(ANSWERS["ip"]) == "192.168.100.104"
    assert hccn_tool.parse_address("Get ipconf failed, because no ip was preset there!") is None
    assert hccn_tool.parse_detect_address("netdetect address: 11.12.165.1\n") == "11.12.165.1"
    assert hccn_tool.parse_gateway("default gateway:11.12.165.1, Iface:eth0\n") == "11.12.165.1"
    assert hccn_tool.parse_gateway("default gateway:none, Iface:eth0\n") is None


def test_optical_module():
    figures = hccn_tool.parse_optical(
        "optical info:\npresent              : present\ntemperature          : 53 C\n"
        "Tx Power0            : 4.4035 mW\nVcc                  : 3245.10 mV\n"
    )
    assert figures == {"temperature_c": 53.0, "tx_power0_mw": 4.4035, "vcc_mv": 3245.1}
    assert hccn_tool.parse_optical("optical info:\npresent : not present\n") == {}


def test_configuration_file():
    devices = hccn_tool.parse_hccn_conf(
        "address_0=29.1.137.205\r\nnetmask_0=255.255.0.0\nsend_arp_status_0=1\n"
        "# address_1=1.1.1.1\naddress_10 = 29.1.137.206\nnonsense\n=\naddress_x=3\n"
    )
    assert devices == {
        0: {"address": "29.1.137.205", "netmask": "255.255.0.0", "send_arp_status": "1"},
        10: {"address": "29.1.137.206"},
    }


@pytest.mark.parametrize("text", NOTHING)
def test_no_answer_is_no_value(text):
    assert hccn_tool.parse_link(text) is None
    assert hccn_tool.parse_net_health(text) is None
    assert hccn_tool.parse_link_history(text) == hccn_tool.LinkHistory(None, None)
    assert hccn_tool.parse_speed(text) is None
    assert hccn_tool.parse_address(text) is None
    assert hccn_tool.parse_statistics(text) == {}


@pytest.mark.parametrize("text", NOTHING[2:4] + ["Get ipconf failed, because no ip was preset"])
def test_sentences_are_the_reason(text):
    assert find_failure(text) == text.strip()


@given(st.text(alphabet=":[]devid 0123456789./sbMGUPLINKDOWN\n-_=", max_size=200))
def test_no_text_breaks_the_readers(text):
    hccn_tool.parse_link(text)
    hccn_tool.parse_net_health(text)
    hccn_tool.parse_link_history(text)
    hccn_tool.parse_speed(text)
    hccn_tool.parse_bandwidth(text)
    hccn_tool.parse_gateway(text)
    hccn_tool.parse_optical(text)
    hccn_tool.parse_hccn_conf(text)
    assert all(count >= 0 for count in hccn_tool.parse_statistics(text).values())
