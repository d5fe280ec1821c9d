"""Torn, glued and foreign text: what is taken from it, and which problem it is counted as."""

import pytest

from bench.logs import LogReader
from bench.logs.problems import MAX_KEPT

ABSL = b"I0521 19:45:05.731803 281473752813584 basic_session_run_hooks.py:692] "
LOSS = b"global_step = 9, masked_lm_loss = 6.1, next_sentence_loss = 0.6, total_loss = 6.7"

MERGED, SPLIT, STRAY = {"merged_lines": 1}, {"split_loss_scale": 1}, {"stray_value": 1}


def read(data):
    reader = LogReader("x")
    reader.consume(data)
    reader.finish()
    return reader.report()


def list_rates(report):
    return report.step_rates.column("steps_per_second").tolist()


@pytest.mark.parametrize(
    ("data", "rates", "problems"),
    [
        # A number ends at the first character that cannot belong to it.
        (b"global_step/sec: 2.451loss_scale: [1.0]\n", [2.451], MERGED),
        (b"global_step/sec: 2.451)\n", [2.451], {}),
        (ABSL + b"global_step/sec: 2.451" + ABSL + b"global_step/sec: 3.5\n", [2.451, 3.5], MERGED),
        (b"global_step/sec: 2.4512020-05-21 19:45:05.732132: I a.cc:5] hello\n", [2.451], MERGED),
        (b"global_step/sec: 2.5INFO:tensorflow:global_step/sec: 3.5\n", [2.5, 3.5], MERGED),
        # Two numbers glued together are none.
        (b"global_step/sec: 2.4512.451\n", [], {"torn_line": 1}),
        (b"global_step/sec: \n", [], {"torn_line": 1}),
        (b"global_step/sec: -\n", [], {"torn_line": 1}),
        (b"global_step/sec:\n2.451\n", [], {"torn_line": 1}),
        (b"I0521 19:45:05.73\n", [], {"torn_line": 1}),
        (b"I0521 29:45:05.731803 2814 a.py:1] global_step/sec: 2.5\n", [2.5], {"torn_line": 1}),
        (b"global_step/sec: nan\n", "nan", {"non_finite": 1}),
        (b"global_step/sec: 1e999\n", [float("inf")], {}),
        (b"\xff\xfeglobal_step/sec: 2.5\xe5\n", [2.5], {"invalid_utf8": 1}),
        (b"\x00\x00global_step/sec: 2.5\x00\n", [2.5], {}),
        ("名字 global_step/sec: 2.5\n".encode(), [2.5], {}),
        (b"10%\r20%\rglobal_step/sec: 2.5\n", [2.5], {"carriage_return": 2}),
        (b"global_step/sec: 2.5\r\nglobal_step/sec: 3.5\r\n", [2.5, 3.5], {}),
        (b"global_step/sec: 2.5", [], {"unterminated_line": 1, "torn_line": 1}),
        (b"global_step/sec: 2.5\nhello", [2.5], {"unterminated_line": 1}),
        (b"global_step/sec: 2.5\r", [2.5], {}),
        (b"global_step/sec: " + b"9" * 5000 + b"\n", [], {"torn_line": 1}),
        (b"", [], {}),
        (b"\n\n \n", [], {}),
    ],
)
def test_step_rates_in_damaged_text(data, rates, problems):
    report = read(data)
    if rates == "nan":
        assert [repr(rate) for rate in list_rates(report)] == ["nan"]
    else:
        assert list_rates(report) == rates
    assert report.problem_counts == problems


@pytest.mark.parametrize(
    ("behind", "wholes"),
    [
        # 2.451 and 2.4 of 2.451 look alike where the next line begins right behind them.
        (b"\n", [True, True, True]),
        (b" \n", [True, True, True]),
        (b"\r\n", [True, True, True]),
        (b") x\n", [True, True, True]),
        (b"INFO:tensorflow:hello\n", [False, True, False]),
        (ABSL + b"hello\n", [False, True, False]),
        (b"loss_scale: [1.0]\n", [False, True, False]),
        (b"name: x\n", [False, True, False]),
        (b"\xff\n", [False, True, False]),
    ],
)
def test_a_rate_with_text_right_behind_it_may_lack_digits(behind, wholes):
    for number, whole in zip((b"2.", b"2.45098", b"245098"), wholes):
        (rate,) = read(b"global_step/sec: " + number + behind).step_rates
        assert (rate.steps_per_second, rate.is_whole) == (float(number), whole)


def test_a_torn_exponent_is_no_whole_rate():
    for number in (b"1.23457e-0", b"1.23457e"):
        report = read(b"global_step/sec: " + number + b"INFO:tensorflow:x\n")
        assert [rate.is_whole for rate in report.step_rates] == [False]


@pytest.mark.parametrize(
    ("data", "n_losses", "problems"),
    [
        (LOSS + b" (81.600 sec)\n", 1, {}),
        (LOSS + b" (81.600 sec)[65536.0]\n", 1, {**STRAY, **MERGED}),
        (LOSS + b" (81.6\n", 1, {"torn_line": 1}),
        # The total lost its last digits and the line its end; so many digits do, in any case.
        (LOSS + b"INFO:tensorflow:hello\n", 0, {"torn_line": 1}),
        (LOSS + b"28282INFO:tensorflow:hello\n", 1, MERGED),
        (LOSS.replace(b"6.7", b"nan") + b"INFO:tensorflow:x\n", 1, {"non_finite": 1, **MERGED}),
        (LOSS[:-6] + b"\n", 0, {"torn_line": 1}),
        (LOSS[18:] + b"\n", 0, {"torn_line": 1}),
        (LOSS[:30] + b"\n" + LOSS[30:] + b"\n", 0, {"torn_line": 1}),
        (LOSS + b" (81.600 sec)" + LOSS + b" (81.600 sec)\n", 2, MERGED),
        (LOSS.replace(b"6.7", b"nan") + b"\n", 1, {"non_finite": 1}),
        (b"  masked_lm_loss = 0.61\n", 0, {}),
        (b"global_step = 5, total_loss = 1.5, what = 7 (1.000 sec)\n", 1, {}),
        (b"total_loss = 1.5, what = 7\n", 0, {"torn_line": 1}),
        (LOSS + b" (81.600 sec)", 1, {"unterminated_line": 1}),
        (LOSS, 0, {"unterminated_line": 1, "torn_line": 1}),
        (LOSS + b" (81.60", 0, {"unterminated_line": 1, "torn_line": 1}),
    ],
)
def test_losses_in_damaged_text(data, n_losses, problems):
    report = read(data)
    assert len(report.losses) == n_losses
    assert report.problem_counts == problems


@pytest.mark.parametrize(
    ("data", "values", "problems"),
    [
        (
            b"loss_scale: loss_scale:[65536.0] \n[32768.0]\n",
            [65536.0, 32768.0],
            {**MERGED, **SPLIT},
        ),
        (b"loss_scale:\n[65536.0] [32768.0]\n", [65536.0], {**MERGED, **SPLIT, **STRAY}),
        (b"[65536.0]\nloss_scale: \n", [], {**STRAY, **SPLIT}),
        (b"loss_scale:\ntensor [65536.0]\n", [], SPLIT),
        (b"loss_scale:\n[10/100]\n[ 7us]\n[7]\n", [], SPLIT),
        (b"loss_scale: [inf]\n", [float("inf")], {"non_finite": 1}),
    ],
)
def test_loss_scales_are_counted_as_tokens(data, values, problems):
    report = read(data)
    assert report.loss_scales.column("value").tolist() == values
    assert report.problem_counts == problems


def test_a_prefix_belongs_to_the_message_behind_it_alone():
    events = list(read(ABSL + b"global_step/sec: 2.5 global_step/sec: 3.5\n").step_rates)
    assert [event.thread_id for event in events] == [281473752813584, None]


def test_the_first_problems_are_kept_by_line_and_all_are_counted():
    report = read(b"global_step/sec: x\n" * 5 + b"ok\n" + b"global_step/sec: \n" * 100)
    assert report.problem_counts == {"torn_line": 105}
    assert len(report.problems) == MAX_KEPT
    assert [problem.line_number for problem in report.problems[:7]] == [1, 2, 3, 4, 5, 7, 8]
    assert report.problems[0].text == "global_step/sec: x"


def test_counts_of_lines_and_bytes():
    for data, n_lines in ((b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"\n\n", 2)):
        report = read(data)
        assert (report.n_lines, report.n_bytes) == (n_lines, len(data))
