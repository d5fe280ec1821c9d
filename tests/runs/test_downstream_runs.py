"""Fine-tuning and prediction as the harness sees them: command lines, logs, figures, tables."""

import json
from pathlib import Path

import pytest

from bench import cli
from bench.errors import DataError, UsageError
from bench.launch.downstream import build_downstream_argv, plan_downstream
from bench.spec import build_spec, for_cards, list_cases

FINE_TUNING = """\
I1122 20:29:00.000000 7 classifier.py:1] name: task_name        chnsenti
I1122 20:29:00.000010 7 classifier.py:1] name: train_batch_size        16
I1122 20:29:00.000020 7 classifier.py:1] name: max_seq_length        64
I1122 20:29:00.100000 7 loop.py:1] RANK_SIZE= 1  RANK_ID= 0
I1122 20:29:01.000000 7 estimator.py:1148] Calling model_fn.
{steps}\
I1122 20:30:05.642976 7 loop.py:214] Saving dict for global step 20: accuracy = 0.7, f1_macro = 0.69
I1122 20:30:06.808166 7 loop.py:214] Saving dict for global step 40: accuracy = 0.9, f1_macro = 0.91
I1122 20:30:07.808166 7 loop.py:214] Saving dict for global step 60: accuracy = 0.8, f1_macro = 0.81
I1122 20:30:08.808860 7 loop.py:225] best checkpoint: out/model.ckpt-40, accuracy = 0.9
"""
STEP = (
    "I1122 20:29:{0:02d}.000000 7 basic_session_run_hooks.py:692] global_step/sec: 5\n"
    "I1122 20:29:{0:02d}.000100 7 basic_session_run_hooks.py:260] "
    "loss = 0.5, step = {1} (1.000 sec)\n"
)
PREDICTION = """\
name: task_name        chnsenti
name: train_batch_size        1
name: predict_batch_size        8
name: max_seq_length        64
RANK_SIZE= 1  RANK_ID= 0
I1122 20:29:02.000000 7 basic_session_run_hooks.py:262] loss = 0.5, step = 1
"""


def _parse(capsys, *words):
    assert cli.main(["parse", *map(str, words), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def _write(tmp_path, text):
    path = tmp_path / "train_0.log"
    path.write_text(text)
    return path


def test_fine_tuning_tells_its_metric_and_the_time_to_a_target(tmp_path, capsys):
    steps = "".join(STEP.format(second, 5 * (second - 2)) for second in range(3, 15))
    log = _write(tmp_path, FINE_TUNING.format(steps=steps))
    document = _parse(capsys, log, "--target", "0.75")
    summary = document["summary"]
    assert summary["final_metric"]["value"] == 0.9
    assert summary["final_metric"]["window"] == "accuracy of the best of 3 scored checkpoints"
    # Step 40 is reported at second 10.
    assert summary["time_to_target_seconds"]["value"] == pytest.approx(10.0001)
    assert summary["sequences_per_second"]["value"] == pytest.approx(80.0)
    assert "time_to_target_seconds" not in _parse(capsys, log)["summary"]
    missed = _parse(capsys, log, "--target", "0.95")["summary"]["time_to_target_seconds"]
    assert missed["value"] is None
    assert missed["reason"] == "no checkpoint reaches 0.95"


def test_a_prediction_is_measured_by_its_batches(tmp_path, capsys):
    rounds = 4 * [*[(8, 0.008)] * 14, (3, 0.004)]
    lines = [
        f"predict: batch = {number}, examples = {examples}, seconds = {seconds:.6f}"
        for number, (examples, seconds) in enumerate(rounds, 1)
    ]
    lines.append("predict: batch_size = 8, batches = 60, examples = 460, seconds = 0.464")
    log = _write(tmp_path, PREDICTION + "\n".join(lines) + "\n")
    document = _parse(capsys, log)
    assert document["sizes"]["batch_size"] == {"value": 8, "from": "log"}
    # Batches that are not full are left out.
    assert document["summary"]["sequences_per_second"]["value"] == pytest.approx(1000.0)
    assert document["summary"]["step_time_p95_seconds"]["value"] == pytest.approx(0.008)
    reasons = document["ranks"][0]["intervals"]["reason"]
    assert reasons.count("tail") == 4
    assert document["ranks"][0]["last_step"] == 60


def _spec(**settings):
    return for_cards(build_spec([("test", settings)]), 1)


def test_command_line_of_fine_tuning():
    spec = _spec(task="ner", steps=100, batch_size=8)
    plan = plan_downstream(spec)
    assert plan.is_sample
    argv = build_downstream_argv(spec, plan, "cpu", 5, Path("out"), "python")
    assert argv[:3] == ["python", "-m", "bert.downstream.ner"]
    assert {"--max_steps=100", "--train_batch_size=8", "--save_checkpoints_steps=25"} <= set(argv)
    assert {"--do_train=true", "--do_eval=true", "--iterations_per_loop=5"} <= set(argv)


def test_command_line_of_a_prediction(tmp_path):
    spec = _spec(task="predict", steps=100, batch_size=8)
    argv = build_downstream_argv(spec, plan_downstream(spec), "cpu", 5, Path("out"))
    assert argv[2] == "bert.downstream.classifier"
    assert {"--predict_batch_size=8", "--predict_batches=100", "--do_train=true"} <= set(argv)
    spec = _spec(task="predict", **{"downstream.init_checkpoint": str(tmp_path)})
    argv = build_downstream_argv(spec, plan_downstream(spec), "cpu", 5, Path("out"))
    assert {"--do_train=false", f"--init_checkpoint={tmp_path}"} <= set(argv)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "ner", "downstream.dataset": "nothing"}, "no sample of data set 'nothing'"),
        ({"task": "ner", "model": "bert-base"}, "needs its vocabulary"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(UsageError, match=message):
        plan_downstream(_spec(**settings))


def test_an_absent_directory_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        plan_downstream(_spec(**{"task": "ner", "downstream.data_dir": str(tmp_path / "x")}))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "predict", "cards": "1,2"}, "runs on one card"),
        ({"task": "ner", "data": "x"}, "downstream.data_dir"),
        ({"batch_sizes": "8,8"}, "names a size twice"),
        ({"batch_sizes": "8", "total_batch_size": 8}, "exclude each other"),
        ({"task": "sing"}, "must be one of"),
    ],
)
def test_settings_that_contradict(settings, message):
    with pytest.raises(UsageError, match=message):
        build_spec([("test", settings)])


def test_several_batch_sizes_are_cases(tmp_path, monkeypatch, capsys):
    assert list_cases(build_spec([("test", {"cards": "1,2", "batch_sizes": "8,16"})])) == [
        (1, 8),
        (1, 16),
        (2, 8),
        (2, 16),
    ]
    monkeypatch.chdir(tmp_path)
    words = "bench --backend simulated --cards 1,2 --batch-size 8,16 --quiet".split()
    assert cli.main([*words, "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["cards"], row["global_batch"]) for row in rows] == [
        (1, 8),
        (1, 16),
        (2, 16),
        (2, 32),
    ]
    # Each size scales against itself.
    assert [row["scaling_efficiency_ratio"] for row in rows[:2]] == [1.0, 1.0]
    assert rows[2]["scaling_efficiency_ratio"] == pytest.approx(0.98, abs=0.01)
