"""npu-smi: overview and sub-queries of all generations, damaged, foreign and failing output."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices import npu_smi
from bench.devices.npu_smi import find_failure, parse_overview
from bench.devices.npu_smi_fields import (
    ChipDetails,
    build_details,
    merge_details,
    parse_card_list,
    parse_card_processes,
    parse_chips,
    parse_details,
    parse_fields,
)
from tests.fakes.npu_host import LAYOUTS, Card, build_cards, render_info, render_queries

MIB = 1 << 20

OLDEST = """\
+------------------------------------------------------------------------------------+
| npu-smi 1.8.21                   Version: 20.2.2.spc001                            |
+----------------------+---------------+---------------------------------------------+
| NPU   Name           | Health        | Power(W)   Temp(C)                          |
| Chip                 | Bus-Id        | AICore(%)  Memory-Usage(MB)  HBM-Usage(MB)  |
+======================+===============+=============================================+
| 4     910A           | OK            | 71.6       36                               |
| 0                    | 0000:C1:00.0  | 7          591  / 14795      30712/ 32768   |
+======================+===============+=============================================+
| 7     910A           | Warning       | NA         NA                               |
| 0                    | NA            | NA         303  / 15177      NA   / 32768   |
+======================+===============+=============================================+
"""

TWO_CHIPS = """\
| npu-smi 25.0.rc1                 Version: 25.0.rc1                                             |
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
| 1     Ascend910           | OK            | 171.3       36                0    / 0             |
| 0     2                   | 0000:9D:00.0  | 12          0    / 0          3125 / 65536         |
| 1     Ascend910           | OK            | -           37                0    / 0             |
| 1     3                   | 0000:9F:00.0  | 0           0    / 0          2871 / 65536         |
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
| 1       1                 | 3328327       |                          | 50119                   |
"""

INFERENCE = """\
| npu-smi 21.0.4                   Version: 21.0.4                                   |
| NPU     Name         | Health        | Power(W)    Temp(C)        Hugepages-Usage(page) |
| Chip    Device       | Bus-Id        | AICore(%)   Memory-Usage(MB)                |
| 8       310          | OK            | 12.8        41             0    / 970       |
| 1       2            | 0000:86:00.0  | 0           2703 / 8192                     |
"""


def test_the_oldest_layout_with_absent_figures():
    overview = parse_overview(OLDEST)
    assert (overview.tool_version, overview.driver_version) == ("1.8.21", "20.2.2.spc001")
    first, second = overview.chips
    assert first == npu_smi.Chip(
        4, "910A", "OK", 71.6, 36.0, "0000:C1:00.0", 0.07, 30712 * MIB, 32768 * MIB
    )
    assert second == npu_smi.Chip(7, "910A", "Warning", None, None, None, None, None, 32768 * MIB)
    assert not overview.has_process_table


def test_a_card_with_two_chips():
    overview = parse_overview(TWO_CHIPS)
    assert [(chip.npu, chip.chip, chip.device) for chip in overview.chips] == [(1, 0, 2), (1, 1, 3)]
    assert [chip.power_watts for chip in overview.chips] == [171.3, None]
    assert overview.processes == (npu_smi.CardProcess(1, 3328327, "", chip=1),)


def test_a_card_whose_name_is_a_number_and_that_has_no_hbm():
    (chip,) = parse_overview(INFERENCE).chips
    assert (chip.npu, chip.name, chip.chip, chip.device) == (8, "310", 1, 8)
    assert (chip.core_usage_ratio, chip.hbm_used_bytes, chip.hbm_total_bytes) == (0.0, None, None)


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_every_generation_says_the_same(name):
    layout = LAYOUTS[name]
    cards = build_cards(8, busy="93", hbm=("30711", "32768"), processes=((55115, "python", 30784),))
    overview = parse_overview(render_info(cards, layout))
    assert overview.driver_version == layout.driver
    assert overview.has_process_table == layout.processes
    assert [chip.device for chip in overview.chips] == list(range(8))
    for chip, card in zip(overview.chips, cards):
        assert (chip.name, chip.health, chip.bus_id) == ("910A", "OK", card.bus_id)
        assert (chip.power_watts, chip.temperature_celsius) == (68.6, 36.0)
        assert chip.core_usage_ratio == 0.93
        assert (chip.hbm_used_bytes, chip.hbm_total_bytes) == (30711 * MIB, 32768 * MIB)
    if layout.processes:
        assert [(item.npu, item.process_id) for item in overview.processes] == [
            (npu, 55115) for npu in range(8)
        ]


FIGURES = st.sampled_from(["0", "7", "68.6", "100", "12345", "NA", "-"])
PAIRS = st.tuples(
    st.sampled_from(["0", "591", "30711", "NA"]), st.sampled_from(["32768", "9", "NA"])
)


def _expect(word):
    return None if word in ("NA", "-") else float(word)


@given(
    npu=st.integers(0, 4095),
    name=st.sampled_from(["910A", "910ProB", "910B", "Ascend910", "Ascend 910A"]),
    health=st.sampled_from(["OK", "Warning", "Alarm", "Critical", "UNKNOWN"]),
    power=FIGURES,
    temperature=st.sampled_from(["-3", "0", "36", "99", "NA"]),
    hbm=PAIRS,
    layout=st.sampled_from(sorted(LAYOUTS)),
    widen=st.integers(-8, 30),
    crlf=st.booleans(),
)
def test_widths_and_blanks_do_not_matter(
    npu, name, health, power, temperature, hbm, layout, widen, crlf
):
    """Cells grow with their contents and columns move; the text stays readable."""
    shape = replace(LAYOUTS[layout], first=max(1, LAYOUTS[layout].first + widen))
    card = Card(npu, name, health, power, temperature, hbm=hbm, physical=npu)
    text = render_info([card, replace(card, npu=npu + 1, physical=npu + 1)], shape)
    # Blanks between a figure and the slash come and go with the width of the figures.
    text = re.sub(r"(\d) +/", r"\1/", text) if widen % 2 else text
    overview = parse_overview(text.replace("\n", "\r\n") if crlf else text)
    assert [chip.device for chip in overview.chips] == [npu, npu + 1]
    chip = overview.chips[0]
    assert (chip.name, chip.health) == (name, health)
    assert chip.power_watts == _expect(power)
    assert chip.temperature_celsius == _expect(temperature)
    used, total = (_expect(word) for word in hbm)
    assert chip.hbm_total_bytes == (None if total is None else total * MIB)
    assert chip.hbm_used_bytes == (None if total is None or used is None else used * MIB)


@pytest.mark.parametrize(
    ("power", "temperature"), [("", "36"), ("68.6", ""), ("", "")], ids=["power", "temp", "both"]
)
def test_a_blank_figure_leaves_the_others_in_their_columns(power, temperature):
    text = render_info([Card(0, power=power, temperature=temperature)], LAYOUTS["24.1.0"])
    (chip,) = parse_overview(text).chips
    assert chip.power_watts == (float(power) if power else None)
    assert chip.temperature_celsius == (float(temperature) if temperature else None)
    assert chip.hbm_total_bytes == 32768 * MIB


def test_a_missing_column_does_not_shift_the_others():
    text = render_info([Card(0)], LAYOUTS["24.1.0"])
    text = text.replace("Power(W)    ", "").replace("68.6        ", "")
    (chip,) = parse_overview(text).chips
    assert (chip.power_watts, chip.temperature_celsius) == (None, 36.0)


def test_sentinels_of_the_driver_are_no_figures():
    card = Card(0, power="-1", temperature="4294967295", busy="4294967295", hbm=("0", "0"))
    (chip,) = parse_overview(render_info([card], LAYOUTS["24.1.0"])).chips
    assert chip.power_watts is None
    assert chip.temperature_celsius is None
    assert chip.core_usage_ratio is None
    assert chip.hbm_total_bytes is None


def test_a_chip_whose_second_line_is_missing_is_still_shown():
    lines = render_info(build_cards(2), LAYOUTS["24.1.0"]).splitlines()
    kept = [line for line in lines if "0000:41" not in line]
    first, second = parse_overview("\n".join(kept)).chips
    assert (first.npu, first.power_watts, first.bus_id, first.hbm_total_bytes) == (
        0,
        68.6,
        None,
        None,
    )
    assert second.bus_id == "0000:42:00.0"


def test_unknown_tables_and_lines_are_passed_over():
    text = render_info(build_cards(1), LAYOUTS["24.1.0"])
    extra = (
        "[WARNING]The driver package may not be completely installed, check it\n"
        "+-----+\n| vNPU  Template | State |\n| 0     vir04    | 1     |\n| 3 |\n||\n|\n"
    )
    assert parse_overview(extra + text + extra).chips == parse_overview(text).chips


def test_a_process_name_may_hold_the_sign_of_the_table():
    text = render_info([Card(0, processes=((9, "a|b c", 7),))], LAYOUTS["24.1.0"])
    assert parse_overview(text).processes == (npu_smi.CardProcess(0, 9, "a|b c"),)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("dcmi module initialize failed. ret is -8005\n", "dcmi module initialize failed"),
        ("Invalid card id.\nUsage: npu-smi info <watch|proc|-h>\n", "Invalid card id."),
        ("Error parameter of -i\n", "Error parameter of -i"),
        ("This device does not support querying ecc.\n", "does not support"),
        ("", None),
        (OLDEST, None),
    ],
)
def test_failure_texts(text, said):
    found = find_failure(text)
    assert found is None if said is None else said in found
    if text != OLDEST:
        assert parse_overview(text).chips == ()


@given(st.text(alphabet="| 0123456789./:+-=OKNAPower(W)Temp\n\t\0²٣", max_size=400))
def test_no_text_breaks_the_overview(text):
    for chip in parse_overview(text).chips:
        assert chip.npu >= 0


@given(st.lists(st.integers(0, 60), max_size=12), st.sampled_from(sorted(LAYOUTS)))
def test_lost_lines_never_mix_two_cards(cut, layout):
    cards = build_cards(4)
    lines = render_info(cards, LAYOUTS[layout]).splitlines()
    kept = [line for at, line in enumerate(lines) if at not in cut or line[0] == "+"]
    addresses = {card.npu: card.bus_id for card in cards}
    for chip in parse_overview("\n".join(kept)).chips:
        assert chip.bus_id in (None, addresses[chip.npu])


# --- sub-queries ---------------------------------------------------------------------------------


def test_the_controller_does_not_overwrite_the_chip():
    text = render_queries(Card(0, temperature="41", frequency=900, rated=1000))["common"]
    assert text.count("Temperature(C)") == 2
    details = parse_details(text)[0]
    assert details.temperature_celsius == 41.0
    assert details.core_frequency_hertz == 900e6
    assert details.core_rated_frequency_hertz == 1000e6
    assert details.core_count == 30


def test_where_the_chip_opens_and_where_it_closes_its_section():
    opening = "NPU ID : 1\nChip Count : 2\n" + "".join(
        f"Chip ID : {chip}\nAicore Freq(MHZ) : {1000 + chip}\n" for chip in (0, 1)
    )
    closing = "NPU ID : 1\nChip Count : 2\n" + "".join(
        f"HBM Capacity(MB) : {100 + chip}\nChip ID : {chip}\n" for chip in (0, 1)
    )
    assert {
        chip: item.core_rated_frequency_hertz for chip, item in parse_details(opening).items()
    } == {
        0: 1000e6,
        1: 1001e6,
    }
    assert {chip: item.hbm_total_bytes for chip, item in parse_details(closing).items()} == {
        0: 100 * MIB,
        1: 101 * MIB,
    }
    assert parse_details("NPU ID : 3\nHBM Usage Rate(%) : 3\n") == {
        0: ChipDetails(hbm_usage_ratio=0.03)
    }


def test_sensors_after_the_chip_are_not_the_chip_s():
    text = "NPU ID : 0\nNPU Temperature (C) : 39\nChip ID : 0\nChip Name : mcu\nLM75A_TE (C) : 30\n"
    assert parse_chips(text) == {0: {"nputemperature(c)": "39"}}
    assert parse_details(text)[0].temperature_celsius == 39.0


def test_ecc_counts_the_hbm_and_not_the_ddr():
    details = parse_details(render_queries(Card(0, ecc=(12, 3)))["ecc"])[0]
    assert (details.hbm_ecc_single_bit_errors, details.hbm_ecc_double_bit_errors) == (12, 3)
    assert details.hbm_isolated_pages == 3
    assert parse_details("HBM Single Bit Error Count : 4294967295\n")[
        0
    ].hbm_ecc_single_bit_errors is None  # fmt: skip


@pytest.mark.parametrize(
    ("printed", "codes"),
    [("NA", ()), ("A4025021 8C03A000", ("A4025021", "8C03A000")), ("0x80e01801", ("80E01801",))],
)
def test_error_codes_go_on_in_lines_without_a_key(printed, codes):
    details = parse_details(render_queries(Card(0, health="Alarm", error_codes=printed))["health"])
    assert details[0].error_codes == codes
    assert details[0].health == "Alarm"


def test_versions_of_the_board_and_merging():
    queries = render_queries(Card(5, bus_id="0000:61:00.0"))
    board = parse_details(queries["board"])[0]
    assert board.firmware_version == "7.5.0.1.129"
    assert board.compatibility == "OK"
    merged = merge_details(board, parse_details(queries["usages"])[0])
    assert merged.firmware_version == "7.5.0.1.129"
    assert merged.hbm_bandwidth_usage_ratio == 0.17
    assert parse_fields(queries["board"])["PCIe Bus Info"] == "0000:61:00.0"


def test_cards_and_processes_in_lists():
    assert parse_card_list("Total Count : 2\n\n NPU ID : 4\n Chip Count : 1\n NPU ID : 5\n") == [
        4,
        5,
    ]
    text = (
        "Process id:55115 Process name:python 3 Process memory(MB):30784\n"
        "Process id : 7 Process memory(B) : 1\n"
    )
    assert parse_card_processes(text) == [(55115, "python 3"), (7, "")]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["NPU ID", "Chip ID", "Chip Name", "Temperature(C)", "HBM Capacity(MB)", ""]
            ),
            st.sampled_from(["0", "1", "NA", "", "mcu", "-", "-5", "9" * 30, "4294967295", "x y"]),
        ),
        max_size=15,
    ),
    st.integers(0, 40),
)
def test_no_lines_break_the_sub_queries(pairs, width):
    text = "".join(f"\t{key:<{width}} : {value}\n" for key, value in pairs)
    for details in parse_details(text).values():
        assert details.hbm_total_bytes is None or details.hbm_total_bytes > 0


@given(st.dictionaries(st.text(max_size=30), st.text(max_size=12), max_size=8))
def test_unknown_keys_give_nothing(found):
    known = build_details({f"?{key}": value for key, value in found.items()})
    assert known == ChipDetails()
