"""Each shape of line: what is read from it, in each form that it comes in."""

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.logs import LogReader, patterns, write
from tests.log_corpus import THREAD, WHEN

INF = math.inf


def read_all(data):
    reader = LogReader("x")
    found = reader.feed(data)
    return found + reader.close(), reader.report()


def read_one(line):
    """Class name and own fields of the single event of a line."""
    found, report = read_all(line.encode() + b"\n")
    assert len(found) == 1, found
    own = {field.name: getattr(found[0], field.name) for field in fields(found[0])}
    for name in ("line_number", "thread_id", "wall_seconds"):
        del own[name]
    return type(found[0]).__name__, tuple(own.values()), report.problem_counts


MESSAGES = [
    ("global_step/sec: 2.4512", "StepRate", (2.4512, True)),
    ("global_step/sec: 1e-05", "StepRate", (1e-05, True)),
    ("global_step/sec: 100", "StepRate", (100.0, True)),
    (
        "global_step = 200, masked_lm_loss = 6.1, next_sentence_loss = 0.69, "
        "total_loss = 6.79 (81.600 sec)",
        "LossReport",
        (200, 6.1, 0.69, 6.79, 81.6),
    ),
    (
        "global_step = 0, masked_lm_loss = 6.1, next_sentence_loss = 9.5e-07, total_loss = 6.79",
        "LossReport",
        (0, 6.1, 9.5e-07, 6.79, None),
    ),
    ("loss = 8.1234, step = 100", "LossReport", (100, None, None, 8.1234, None)),
    ("loss = 7.9, step = 200 (40.810 sec)", "LossReport", (200, None, None, 7.9, 40.81)),
    ("loss = -inf, step = 3", "LossReport", (3, None, None, -INF, None)),
    (
        "global_step = 7, learning_rate = 1e-06, loss = 2.5 (1.000 sec)",
        "LossReport",
        (7, None, None, 2.5, 1.0),
    ),
    (
        "Saving checkpoints for 10000 into ./output/model.ckpt.",
        "CheckpointSaved",
        (10000, "./output/model.ckpt"),
    ),
    ("Loss for final step: 1.234.", "FinalLoss", (1.234,)),
    ("Loss for final step: 7.", "FinalLoss", (7.0,)),
    ("Loss for final step: None.", "FinalLoss", (None,)),
    ("Starting evaluation at 2020-05-21T19:45:05Z", "EvalProgress", ("started", None, None)),
    ("Evaluation [10/100]", "EvalProgress", ("batch", 10, 100)),
    ("Finished evaluation at 2020-05-21-19:45:05", "EvalProgress", ("finished", None, None)),
    (
        "Saving dict for global step 1000: global_step = 1000, loss = 2.1, accuracy = 0.6",
        "EvalResult",
        (1000, "global_step = 1000, loss = 2.1, accuracy = 0.6"),
    ),
    ("Calling model_fn.", "Phase", ("Calling model_fn",)),
    ("Done calling model_fn.", "Phase", ("Done calling model_fn",)),
    ("Graph was finalized.", "Phase", ("Graph was finalized",)),
    ("Running local_init_op.", "Phase", ("Running local_init_op",)),
    ("Restoring parameters from ./model.ckpt-100", "Phase", ("Restoring parameters",)),
]
PRINTS = [
    ("loss_scale: [65536.0]", "LossScale", (65536.0, True)),
    ("loss_scale:[65536.0] ", "LossScale", (65536.0, True)),
    ("loss_scale: [1.0]", "LossScale", (1.0, True)),
    ("loss_scale: 65536.0", "LossScale", (65536.0, True)),
    ("global_step...100", "AdapterStep", (100,)),
    ("RANK_SIZE= 8  RANK_ID= 3", "RankLine", (8, 3)),
    ("name: train_batch_size        128", "FlagValue", ("train_batch_size", "128")),
    ("TF flags:name: do_train   True", "FlagValue", ("do_train", "True")),
    (
        "Step =    100 Throughput =       312.5 MLM Loss = 7.1000e+00 NSP Loss = 6.9000e-01 "
        "Loss =  7.790000 Average Loss =  7.790000 LR = 1.0000e-06 Loss scale = 6.5536e+04 "
        "isFinite =      1",
        "TrainerPrint",
        (100, 312.5, 7.1, 0.69, 7.79, 7.79, 1e-06, 65536.0, True, None),
    ),
    (
        "Rank =  3 :: Step = 1234567 Throughput =       312.5 MLM Loss = 7.1000e+00 NSP Loss = "
        "6.9000e-01 Loss =  7.790000 Average Loss =  7.790000 LR = 1.0000e-06",
        "TrainerPrint",
        (1234567, 312.5, 7.1, 0.69, 7.79, 7.79, 1e-06, None, None, 3),
    ),
    ("Throughput Average (sentences/sec) = 71.27", "InferenceSummary", (71.27,)),
    ("turing train success", "ShellResult", (True,)),
    ("turing train fail", "ShellResult", (False,)),
    ("ERROR: data: a.tfrecord: cut short", "ErrorLine", ("data", "a.tfrecord: cut short")),
    ("Traceback (most recent call last):", "ErrorLine", ("traceback", "")),
]
FORMS = {
    "absl": lambda message: write.render_absl(message, WHEN, THREAD, "estimator.py:371"),
    "short thread": lambda message: write.render_absl(message, WHEN, 7, "estimator.py:371"),
    "logger": write.render_logger,
    "bare": str,
}


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize(("message", "name", "values"), MESSAGES)
def test_messages_of_the_estimator(form, message, name, values):
    counts = {"non_finite": 1} if "inf" in message else {}
    assert read_one(FORMS[form](message)) == (name, values, counts)


@pytest.mark.parametrize(("line", "name", "values"), PRINTS)
def test_what_trainers_print(line, name, values):
    assert read_one(line) == (name, values, {})


def test_native_lines_and_warnings():
    line = write.render_native(
        "[GEOP] RunGraphAsync callback, status:-3, kernel_name:G[ 7us]", WHEN, "a.cc:1"
    )
    assert read_one(line) == ("GeopCallback", (-3, "G", 7), {})
    line = write.render_native("Out of memory", WHEN, "a/b.cc:12", "E")
    assert read_one(line) == ("Notice", ("E", "Out of memory"), {})
    text = "It seems that global step (tf.train.get_global_step) has not been increased."
    assert read_one(write.render_logger(text, "W")) == ("Notice", ("W", text), {})
    assert read_one(write.render_absl(text, WHEN, THREAD, "a.py:1", "W")) == (
        "Notice",
        ("W", text),
        {},
    )


def test_places():
    line = write.render_absl("global_step/sec: 2.5", WHEN, THREAD, "a.py:1").encode()
    (event,), _ = read_all(b"\n\n" + line + b"\r\n")
    assert (event.line_number, event.thread_id) == (3, THREAD)
    assert event.wall_seconds == pytest.approx((31 + 29 + 31 + 30 + 20) * 86400 + 71105.731803)
    (event,), _ = read_all(b"global_step/sec: 2.5\n")
    assert (event.line_number, event.thread_id, event.wall_seconds) == (1, None, None)


def test_every_trigger_and_label_holds_a_hint():
    triggers = [shape.trigger for shape in patterns.SHAPES] + [patterns.LOSS_SCALE_LABEL]
    for text in (*triggers, *patterns.LABELS):
        assert any(hint in text for hint in patterns.HINTS), text


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
STEPS = st.integers(0, 10**12)


@given(STEPS, FLOATS, FLOATS, FLOATS, st.one_of(st.none(), st.integers(0, 10**9)))
def test_what_is_rendered_is_read_back(step, masked, following, total, millis):
    elapsed = None if millis is None else millis / 1000
    line = write.render_losses(step, masked, following, total, elapsed)
    _, values, _ = read_one(line)
    wanted = [float(write.render_number(value)) for value in (masked, following, total)]
    assert values == (step, *wanted, elapsed)


@given(STEPS, st.floats(0, 1e6), st.floats(0, 1e3), st.booleans())
def test_trainer_prints_are_read_back(step, rate, loss, finite):
    line = write.render_trainer_print(step, rate, loss, loss, loss, 1e-6, 2.0**32, finite)
    name, values, _ = read_one(line)
    assert name == "TrainerPrint"
    assert values[:2] == (step, float(f"{rate:.1f}"))
    assert values[-3:] == (float("4.2950e+09"), finite, None)


def test_other_renderers_are_read_back():
    assert read_one(write.render_checkpoint(5, "m/model.ckpt"))[1] == (5, "m/model.ckpt")
    assert read_one(write.render_final_loss(None))[1] == (None,)
    assert read_one(write.render_final_loss(2.5))[1] == (2.5,)
    assert read_one(write.render_rank_line(8, 7))[1] == (8, 7)
    assert read_one(write.render_flag("x", "a b"))[1] == ("x", "a b")
    assert read_one(write.render_loss(4, 1.5, 2.0))[1] == (4, None, None, 1.5, 2.0)
    _, report = read_all(write.render_eval_result(9, {"b": 0.5, "a": 2}).encode() + b"\n")
    (result,) = report.eval_results
    assert (result.global_step, result.metrics) == (9, {"a": 2.0, "b": 0.5})
