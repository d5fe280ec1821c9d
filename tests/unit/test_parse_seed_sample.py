"""The training-log sample of the ModelZoo document, read without being told anything."""

import json
from collections import Counter
from pathlib import Path

import pytest

from bench.cli import main

SAMPLE = Path(__file__).resolve().parent.parent / "golden" / "logs" / "seed_sample.log"
THREADS = {
    281473752813584,
    281473228546064,
    281473117769744,
    281473584246800,
    281472971046928,
    281473385623568,
    281473416220688,
}


@pytest.fixture(scope="module")
def document():
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main(["parse", str(SAMPLE), "--format", "json"]) == 0
    return json.loads(out.getvalue())


def test_seven_ranks_by_thread(document):
    assert document["ranks_seen"] == 7
    assert {record["label"] for record in document["ranks"]} == {f"thread {id_}" for id_ in THREADS}
    assert document["sizes"]["cards"] == {"value": 7, "from": "ranks seen"}


def test_five_step_rates(document):
    rates = Counter(
        rate for record in document["ranks"] for rate in record["intervals"]["steps_per_second"]
    )
    assert rates == {2.451: 4, 2.45098: 1}
    assert document["counts"]["step_rates"] == 5


def test_six_loss_records_at_one_step(document):
    steps = Counter(step for record in document["ranks"] for step in record["losses"]["step"])
    assert steps == {1323600: 6}
    mlm = sorted(value for record in document["ranks"] for value in record["losses"]["mlm"])
    assert mlm == [0.738043, 0.74314255, 0.7687549, 0.7797201, 0.8004036, 0.94164073]


def test_interval_length_follows_from_rate_and_seconds(document):
    paired = [
        (record["intervals"]["steps"], record["intervals"]["end_step"])
        for record in document["ranks"]
        if record["intervals"]["steps"] and record["losses"]["step"]
    ]
    assert paired == [([200], [1323600])] * 4


def test_loss_scales_and_device_callbacks(document):
    assert document["counts"]["loss_scales"] == 5
    assert document["loss_scales"] == [{"value": 65536.0, "count": 5}]
    assert document["counts"]["geops"] == 2


def test_rate_per_card_at_the_documents_batch(document):
    assert document["sizes"]["batch_size"] == {"value": 128, "from": "assumed"}
    per_card = document["summary"]["sequences_per_second_per_card"]["value"]
    assert per_card == pytest.approx(313.7, abs=0.05)
    # Equal weights: five intervals of 200 steps each.
    exact = 128 * 1000 / (4 * 200 / 2.451 + 200 / 2.45098)
    assert per_card == pytest.approx(exact, rel=1e-12)


def test_estimators_own_loss_report_is_not_counted_again(capsys):
    log = SAMPLE.parent / "tf_1_15_estimator.log"
    assert main(["parse", str(log), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (record,) = document["ranks"]
    steps = record["losses"]["step"]
    assert len(set(steps)) == len(steps)
    assert None not in record["losses"]["mlm"]
    assert len(record["intervals"]["reason"]) == document["counts"]["step_rates"]
    assert None not in record["intervals"]["end_step"]


def test_table_for_people(capsys):
    assert main(["parse", str(SAMPLE)]) == 0
    out = capsys.readouterr().out
    assert "7 ranks; 17 lines; 5 step rates" in out
    assert "6 loss records, 5 loss-scale values, 2 GEOP callbacks" in out
    assert "Step rates: 2.451 × 4, 2.45098 × 1." in out
    assert "Loss scales: 65536 × 5." in out
    assert "batch size 128 (assumed)" in out
    assert "313.7" in out
