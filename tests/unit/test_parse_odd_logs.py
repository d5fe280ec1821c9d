"""Logs that no sound trainer writes: they are read all the same."""

import json

import pytest

from bench.cli import main


def _parse(tmp_path, capsys, lines):
    log = tmp_path / "train_0.log"
    log.write_text("".join(f"INFO:tensorflow:{line}\n" for line in lines))
    assert main(["parse", str(log), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("word", ["inf", "nan", "1e400", "1e-320", "1e308", "-3", "0"])
def test_a_rate_that_cannot_be_one_is_no_interval(tmp_path, capsys, word):
    rates = ["10"] * 6 + [word] + ["10"] * 6
    document = _parse(tmp_path, capsys, [f"global_step/sec: {rate}" for rate in rates])
    (record,) = document["ranks"]
    assert record["intervals"]["steps_per_second"] == [10.0] * 12
    assert document["summary"]["steps_per_second"]["value"] == pytest.approx(10.0)


@pytest.mark.parametrize("word", ["inf", "1e400", "1e308", "1e-320"])
def test_where_the_rate_is_damaged_the_loss_line_tells_the_time(tmp_path, capsys, word):
    lines = ["loss = 5.0, step = 0"]
    for index in range(1, 21):
        rate = word if index == 7 else "10"
        lines += [f"global_step/sec: {rate}", f"loss = 5.0, step = {100 * index} (10.000 sec)"]
    document = _parse(tmp_path, capsys, lines)
    assert document["summary"]["steps_per_second"]["value"] == pytest.approx(10.0)
    assert len(document["ranks"][0]["intervals"]["steps"]) == 20


@pytest.mark.parametrize("word", ["inf", "1e400", "1e308", "nan"])
def test_seconds_that_cannot_be_are_not_used(tmp_path, capsys, word):
    lines = ["loss = 5.0, step = 0"]
    for index in range(1, 21):
        seconds = word if index == 7 else "10.000"
        lines += [f"loss = 5.0, step = {100 * index} ({seconds} sec)"]
    document = _parse(tmp_path, capsys, lines)
    assert document["summary"]["steps_per_second"]["value"] == pytest.approx(10.0)
