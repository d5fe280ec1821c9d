"""The stand-in of the adapter: its maths, its refusals, its loop, its rules."""

from __future__ import annotations

import inspect
import math
import os

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from bert.backends.ops import plain_gelu
from tests.tf.fake_npu import forget_job, provide
from tests.unit.trainer.test_ascend_options import DOCUMENTED


@pytest.fixture
def npu(tmp_path):
    yield from provide(tmp_path)


@pytest.fixture
def names(npu):
    """All names of the adapter, in the environment of a single rank."""
    import npu_bridge.npu_init

    os.environ["RANK_SIZE"] = "1"
    forget_job()
    return npu_bridge.npu_init


def evaluate(*tensors):
    with tf.Session() as session:
        session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        return session.run(tensors)


def test_gelu_and_its_gradient(names):
    x = tf.constant(np.linspace(-4.0, 4.0, 41), tf.float32)
    ours, theirs = plain_gelu(x), names.npu_unary_ops.gelu(x)
    found = evaluate(ours, theirs, tf.gradients(ours, x)[0], tf.gradients(theirs, x)[0])
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[3], found[2], atol=1e-6)


def test_fast_gelu_and_its_gradient(npu):
    from npu_bridge.estimator.npu_aicore_ops import npu_aicore_ops

    x = tf.constant(np.linspace(-3.0, 3.0, 7), tf.float64)
    y = npu_aicore_ops.fast_gelu(x)
    value, slope, shifted = evaluate(y, tf.gradients(y, x)[0], npu_aicore_ops.fast_gelu(x + 1e-6))
    at = np.linspace(-3.0, 3.0, 7)
    np.testing.assert_allclose(value, at / (1.0 + np.exp(-1.702 * at)), rtol=1e-9)
    np.testing.assert_allclose(slope, (shifted - value) / 1e-6, atol=1e-5)


@pytest.mark.parametrize("shape", [[1000], [13, 7, 3], [128]])
def test_dropout_keeps_its_share_and_its_gradient_takes_the_same_mask(names, shape):
    tf.set_random_seed(3)
    x = tf.ones(shape)
    y = names.npu_ops.dropout(x, 0.8)
    value, gradient = evaluate(y, tf.gradients(y, x)[0])
    assert set(np.unique(value)) == {0.0, np.float32(1.25)}
    kept = np.mean(value > 0)
    assert abs(kept - 0.8) < 4 * math.sqrt(0.8 * 0.2 / value.size)
    np.testing.assert_array_equal(value, gradient)


def test_masks_have_whole_blocks_of_128_bits(names):
    generate = names.npu_ops.gen_npu_ops.drop_out_gen_mask
    for n_elements, n_bytes in ((1, 16), (128, 16), (129, 32)):
        (mask,) = evaluate(generate([n_elements], 0.5))
        assert (mask.dtype, mask.shape) == (np.uint8, (n_bytes,))


def test_dropout_refuses(names):
    x = tf.ones([3])
    assert names.npu_ops.dropout(x, 1.0) is x
    for keep_prob in (0.0, -0.1, 1.1):
        with pytest.raises(ValueError, match="keep_prob"):
            names.npu_ops.dropout(x, keep_prob)
    with pytest.raises(ValueError, match="floating"):
        names.npu_ops.dropout(tf.ones([3], tf.int32), 0.5)


def test_the_run_config_has_the_documented_parameters(names):
    parameters = list(inspect.signature(names.NPURunConfig.__init__).parameters)[1:]
    assert sorted(parameters) == sorted(DOCUMENTED)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"iterations_per_loop": 1.5}, TypeError),
        ({"iterations_per_loop": 0}, ValueError),
        ({"mix_compile_mode": 1}, ValueError),
        ({"mix_compile_mode": True, "iterations_per_loop": 2}, ValueError),
        ({"horovod_mode": "no"}, ValueError),
        ({"dump_config": object()}, ValueError),
        ({"dynamic_input_config": object()}, ValueError),
        ({"graph_run_mode": 2}, ValueError),
        ({"graph_run_mode": "1"}, TypeError),
        ({"enable_exception_dump": -1}, ValueError),
        ({"no_such_option": 1}, TypeError),
    ],
)
def test_the_run_config_refuses(names, arguments, error):
    with pytest.raises(error):
        names.NPURunConfig(**arguments)


def test_the_run_config_refuses_a_cluster(names, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}}')
    with pytest.raises(ValueError, match="cluster"):
        names.NPURunConfig()


def test_checkpoints_every_hundred_steps_unless_told(names):
    assert names.NPURunConfig().save_checkpoints_steps == 100
    assert names.NPURunConfig(save_checkpoints_steps=0).save_checkpoints_steps == 0


def build_estimator(names, tmp_path, **options):
    config = names.NPURunConfig(model_dir=str(tmp_path), **options)
    return names.NPUEstimator(model_fn=lambda features, labels, mode: None, config=config)


@pytest.mark.parametrize(
    "options",
    [
        {"op_select_implmode": "fast"},
        {"optypelist_for_implmode": "Pooling"},
        {"buffer_optimize": "l1_optimize"},
        {"compress_weight_conf": "a.cfg"},
        {"local_rank_id": 8},
        {"dynamic_input": True, "iterations_per_loop": 2},
    ],
)
def test_the_native_side_ends_the_process(npu, names, tmp_path, options):
    from npu_bridge._native import sessions

    estimator = build_estimator(names, tmp_path, **options)
    with pytest.raises(sessions.NativeAbort):
        tf.Session(config=estimator.config.session_config)


def test_dumping_needs_a_directory(npu, names, tmp_path):
    from npu_bridge._native import sessions

    for dump in (
        names.DumpConfig(enable_dump=True),
        names.DumpConfig(enable_dump_debug=True, dump_path=str(tmp_path / "absent")),
        names.DumpConfig(enable_dump=True, dump_path=str(tmp_path), dump_step="9-3"),
        names.DumpConfig(enable_dump=True, dump_path=str(tmp_path), dump_mode="some"),
    ):
        estimator = build_estimator(names, tmp_path, dump_config=dump)
        with pytest.raises(sessions.NativeAbort):
            tf.Session(config=estimator.config.session_config)


def test_the_estimator_refuses(names, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="NPURunConfig"):
        names.NPUEstimator(model_fn=lambda features: None, config=tf.estimator.RunConfig())
    config = names.NPURunConfig(model_dir=str(tmp_path))
    with pytest.raises(ValueError, match="different directories"):
        names.NPUEstimator(model_fn=lambda features: None, model_dir="other", config=config)
    profiling = names.ProfilingConfig(enable_profiling=True)
    with pytest.raises(ValueError, match="profiling_options"):
        build_estimator(names, tmp_path, profiling_config=profiling)


def test_without_a_job_the_adapter_breaks(npu, names, tmp_path, monkeypatch):
    monkeypatch.delenv("JOB_ID")
    with pytest.raises(AttributeError):
        build_estimator(names, tmp_path)
    monkeypatch.setenv("JOB_ID", "j")
    monkeypatch.delenv("RANK_SIZE")
    forget_job()
    with pytest.raises(AttributeError):
        build_estimator(names, tmp_path)


def test_a_loop_takes_its_steps_in_one_call_and_shows_the_last(names):
    counter = tf.get_variable("counter", initializer=0)
    step = tf.assign_add(counter, 1)
    loop = names.util.IterationPerLoop()
    train_op = loop.create_iteration_per_loop_var(tf.group(step))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        loop.load_iteration_per_loop_var(session, 5)
        assert session.run([train_op, step])[1] == 5
        assert session.run(step) == 6  # not the training operation: one step
        loop.load_iteration_per_loop_var(session, 1)
        session.run(train_op)
        assert session.run(counter) == 7
    local = [variable.op.name for variable in tf.local_variables()]
    assert local == [
        f"npu_runconfig/{n}" for n in ("iterations_per_loop", "loop_cond", "zero", "one")
    ]


def follow_rule(manager, finite):
    """Returns scale, good and bad steps after each of a row of steps."""
    is_finite = tf.placeholder(tf.bool, [])
    update = manager.update_loss_scale(is_finite)
    state = tf.global_variables()
    rows = []
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for value in finite:
            session.run(update, {is_finite: value})
            rows.append(tuple(session.run(state)))
    return rows


def test_the_rule_of_the_dynamic_scale(names):
    manager = names.ExponentialUpdateLossScaleManager(8.0, 2, decr_ratio=0.5)
    rows = follow_rule(manager, [True, False, True, False, True, True, False, False, False, False])
    assert rows == [
        (8.0, 1, 0),
        (8.0, 0, 1),
        (8.0, 1, 1),
        (4.0, 0, 0),
        (4.0, 1, 0),
        (8.0, 0, 0),
        (8.0, 0, 1),
        (4.0, 0, 0),
        (4.0, 0, 1),
        (2.0, 0, 0),
    ]
    names_of_state = [variable.op.name for variable in tf.global_variables()]
    assert names_of_state == ["loss_scale", "good_steps", "bad_steps"]


def test_the_scale_stays_within_its_bounds(names):
    manager = names.ExponentialUpdateLossScaleManager(1.5, 1, 1, decr_ratio=0.5)
    assert follow_rule(manager, [False])[0][0] == 1.0
    tf.reset_default_graph()
    manager = names.ExponentialUpdateLossScaleManager(2.0**127, 1)
    assert follow_rule(manager, [True])[0][0] == 2.0**127


def test_a_fixed_scale_below_one_is_refused(names):
    with pytest.raises(ValueError, match="at least 1"):
        names.FixedLossScaleManager(0.5)


@pytest.mark.parametrize("value", [1.0, float("inf"), float("nan")])
def test_an_overflow_is_found_in_the_gradients(names, value):
    weight = tf.get_variable("weight", initializer=1.0)
    tf.train.create_global_step()
    optimizer = names.NPULossScaleOptimizer(
        names.NPUDistributedOptimizer(tf.train.GradientDescentOptimizer(0.25)),
        names.FixedLossScaleManager(2.0),
    )
    pairs = optimizer.compute_gradients(weight * tf.constant(value), [weight])
    train_op = optimizer.apply_gradients(pairs, tf.train.get_global_step())
    with tf.Session() as session:
        session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        session.run(train_op)
        after = session.run([weight, tf.train.get_global_step()])
    assert after == ([0.75, 1] if math.isfinite(value) else [1.0, 0])


@pytest.mark.parametrize("bad", [[], (0, 1), [1, 1], [2, 1], [-1], [2**32], [0.5], list(range(9))])
def test_splits_that_are_refused(names, bad):
    with pytest.raises(ValueError):
        names.set_split_strategy_by_idx(bad)


def test_groups_and_splits_by_size(names, monkeypatch):
    monkeypatch.setenv("RANK_SIZE", "16")
    monkeypatch.setenv("RANK_ID", "9")
    assert (names.get_rank_size(), names.get_rank_id()) == (16, 9)
    assert (names.get_local_rank_size(), names.get_local_rank_id()) == (8, 1)
    names.create_group("pair", 2, [3, 9])
    assert names.get_rank_id("pair") == names.get_group_rank_from_world_rank(9, "pair") == 1
    assert names.get_world_rank_from_group_rank("pair", 0) == 3
    names.destroy_group("pair")
    for bad in ("", "x" * 128, 3, "pair"):
        with pytest.raises(ValueError):
            names.get_rank_size(bad)
    names.set_split_strategy_by_size([60, 20, 20])
    for bad in ([50], [-10, 110], ["100"], []):
        with pytest.raises(ValueError):
            names.set_split_strategy_by_size(bad)


def test_collectives_refuse(names):
    with pytest.raises(ValueError, match="reduction"):
        names.hccl_ops.allreduce(tf.ones([2]), "mean")
    with pytest.raises(ValueError, match="fusion"):
        names.hccl_ops.allreduce(tf.ones([2]), "sum", fusion=3)
    with pytest.raises(TypeError, match="int64"):
        names.hccl_ops.allreduce(tf.ones([2], tf.int64), "sum")
    with pytest.raises(TypeError, match="int64"):
        names.hccl_ops.broadcast([tf.ones([2], tf.int64)], 0)
    with pytest.raises(TypeError, match="list"):
        names.hccl_ops.broadcast(tf.ones([2]), 0)


def test_host_calls_are_checked(names):
    def build(host_call):
        mode = tf.estimator.ModeKeys.PREDICT
        return names.NPUEstimatorSpec(mode, predictions=tf.ones([1]), host_call=host_call)

    build((lambda a, b: a, [1, 2]))
    for host_call, error in (
        (1, ValueError),
        ((len,), ValueError),
        ((1, []), TypeError),
        ((len, 1), ValueError),
        ((lambda a: a, [1, 2]), RuntimeError),
    ):
        with pytest.raises(error):
            build(host_call)


def test_scopes_mark_operators(names):
    with names.npu_scope.keep_dtype_scope():
        marked = tf.no_op()
    assert marked.get_attr("_keep_dtype") is True
    with names.npu_scope.npu_stage_scope(2):
        assert tf.no_op().get_attr("_stage_level") == b"2"


def test_resources_are_opened_with_checks(npu):
    from npu_bridge.estimator.npu import npu_plugin

    npu_plugin.npu_resource_init(precision_mode="force_fp16")
    npu_plugin.npu_resource_shutdown()
    for arguments, error in (
        ({"graph_run_mode": 2}, ValueError),
        ({"op_debug_level": "1"}, TypeError),
        ({"enable_profiling": 1}, TypeError),
        ({"enable_profiling": True}, ValueError),
        ({"mstune_mode": "1"}, ValueError),
    ):
        with pytest.raises(error):
            npu_plugin.npu_resource_init(**arguments)
    assert os.path.exists(npu.record)
