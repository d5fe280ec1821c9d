"""What the adapter and the device are given is what the flags ask; what is missing is said."""

from __future__ import annotations

import os
import sys
import types

import pytest

from bert.backends import ops
from bert.backends.ascend import AscendBackend
from bert.backends.rank import RankEnvironment
from bert.errors import UnavailableError, UsageError
from tests.tf.ascend_ranks import write_rank_table
from tests.tf.fake_npu import provide


@pytest.fixture
def npu(tmp_path):
    yield from provide(tmp_path)


def test_every_parameter(npu):
    dump = npu.directory / "dump"
    dump.mkdir()
    found = npu.find_parameters(
        "--npu-option",
        "op_select_implmode=high_precision",
        "--npu_option=optypelist_for_implmode=Pooling,SoftmaxV2",
        "--npu_option=variable_memory_max_size=5368709120",
        "--npu_option=enable_small_channel=1",
        "--npu_option=profiling_options=training_trace",
        "--npu_option=enable_profiling=true",
        "--npu_option=dump_mode=all",
        "--npu_option=dump_step=0|5-9",
        "--npu_option=enable_dump=true",
        f"--npu_option=dump_path={dump}",
        "--npu_option=buffer_optimize=off_optimize",
        precision_mode="allow_mix_precision",
        iterations_per_loop=2,
        save_checkpoints_steps=4,
        hcom_parallel=False,
        npu_bert_use_tdt=False,
        random_seed=7,
    )
    (arguments,) = [record["arguments"] for record in npu.find("NPURunConfig")]
    asked = {
        "iterations_per_loop": 2,
        "save_checkpoints_steps": 4,
        "save_checkpoints_secs": None,
        "save_summary_steps": 0,
        "keep_checkpoint_max": 5,
        "log_step_count_steps": None,
        "tf_random_seed": 7,
        "model_dir": str(npu.directory / "output"),
        "precision_mode": "allow_mix_precision",
        "enable_data_pre_proc": False,
        "hcom_parallel": False,
        "op_select_implmode": "high_precision",
        "profiling_config": {"enable_profiling": True, "profiling_options": "training_trace"},
    }
    assert {name: arguments[name] for name in asked} == asked
    assert found == {
        "buffer_optimize": "off_optimize",
        "dump_debug_mode": "all",
        "dump_mode": "all",
        "dump_path": str(dump),
        "dump_step": "0|5-9",
        "dynamic_graph_execute_mode": "dynamic_execute",
        "dynamic_input": False,
        "enable_compress_weight": False,
        "enable_data_pre_proc": False,
        "enable_dump": True,
        "enable_dump_debug": False,
        "enable_exception_dump": 0,
        "enable_reduce_precision": False,
        "enable_small_channel": 1,
        "graph_run_mode": 1,
        "hcom_multi_mode": False,
        "hcom_parallel": False,
        "is_tailing_optimization": False,
        "iterations_per_loop": 2,
        "job": "localhost",
        "min_group_size": True,
        "mix_compile_mode": False,
        "op_debug_level": 0,
        "op_select_implmode": "high_precision",
        "optypelist_for_implmode": "Pooling,SoftmaxV2",
        "precision_mode": "allow_mix_precision",
        "profiling_mode": True,
        "profiling_options": "training_trace",
        "task_index": 0,
        "use_off_line": True,
        "variable_format_optimize": True,
        "variable_memory_max_size": "5368709120",
    }


@pytest.mark.parametrize(
    "word",
    [
        "keep_checkpoint_every_n_hours=2",
        "log_step_count_steps=10",
        "enable_reduce_precision=true",
        "variable_format_optimize=false",
        "mix_compile_mode=true",
        "graph_memory_max_size=27917287424",
        "auto_tune_mode=RL,GA",
        "stream_max_parallel_num=DNN_VM_AICPU:3",
        "horovod_mode=false",
        "graph_run_mode=0",
        "op_debug_level=2",
        "enable_scope_fusion_passes=ScopeLayerNormPass",
        "enable_exception_dump=1",
        "enable_compress_weight=true",
        "op_compiler_cache_mode=enable",
        "hcom_multi_mode=true",
        "dynamic_input=true",
        "dynamic_graph_execute_mode=lazy_recompile",
        "local_rank_id=3",
        "local_device_list=0,1",
        "session_device_id=1",
    ],
)
def test_any_option_arrives(npu, word):
    name, _, text = word.partition("=")
    npu.find_parameters(f"--npu_option={word}")
    (arguments,) = [record["arguments"] for record in npu.find("NPURunConfig")]
    wanted = {"true": True, "false": False}.get(text, text)
    assert str(arguments[name]) in (str(wanted), f"{wanted}.0")


def test_options_that_need_each_other_or_a_path(npu):
    found = npu.find_parameters(
        "--npu_option=mstune_mode=1",
        f"--npu_option=work_path={npu.directory}",
        f"--npu_option=op_compiler_cache_dir={npu.directory}",
        f"--npu_option=debug_dir={npu.directory}",
        "--npu_option=input_shape=x:1,-1",
        "--npu_option=dynamic_dims=1;2",
        "--npu_option=dynamic_node_type=1",
    )
    assert found["work_path"] == found["debug_dir"] == str(npu.directory)
    assert (found["input_shape"], found["dynamic_node_type"]) == ("x:1,-1", 1)


@pytest.mark.parametrize(
    "mode", ["allow_fp32_to_fp16", "force_fp16", "must_keep_origin_dtype", "allow_mix_precision"]
)
def test_precision_modes(npu, mode):
    assert npu.find_parameters(precision_mode=mode)["precision_mode"] == mode
    config = npu.build_config(precision_mode=mode)
    assert config.precision.encoder == "float32"
    assert config.loss_scale.mode == ("off" if mode == "must_keep_origin_dtype" else "dynamic")


def test_defaults_are_those_of_the_adapter(npu):
    found = npu.find_parameters()
    assert found["precision_mode"] == "allow_fp32_to_fp16"
    assert found["enable_data_pre_proc"] is found["hcom_parallel"] is True
    assert "profiling_mode" not in found
    assert not found["enable_dump"]
    config = npu.build_config()
    assert (config.precision.encoder, config.loss_scale.mode) == ("float16", "dynamic")


def test_the_overflow_dump_flag(npu):
    found = npu.find_parameters(over_dump=True, over_dump_path=str(npu.directory))
    assert (found["enable_dump_debug"], found["enable_dump"]) == (True, False)
    assert found["dump_path"] == str(npu.directory)
    assert found["dump_debug_mode"] == "all"


def test_saving_by_the_clock(npu):
    estimator = npu.build_estimator(
        "--npu_option=save_checkpoints_secs=3600", save_checkpoints_steps=0
    )
    assert estimator.config.save_checkpoints_secs == 3600
    assert estimator.config.save_checkpoints_steps is None


@pytest.mark.parametrize(("rank_id", "wanted"), [(0, 100), (1, 0)])
def test_only_rank_0_saves(npu, rank_id, wanted):
    table = write_rank_table(npu.directory / "table.json", 2)
    rank = RankEnvironment(rank_id=rank_id, rank_size=2, job_id="j", rank_table_file=str(table))
    backend = AscendBackend(npu.build_config(save_checkpoints_steps=100), rank)
    backend.check()
    run_config = backend.build_train_estimator(lambda features, labels, mode: None).config
    assert run_config.save_checkpoints_steps == wanted
    assert os.path.basename(run_config.model_dir) == (
        ".rank_1_writes_nothing" if rank_id else "output"
    )
    assert not os.path.exists(run_config.model_dir)


def test_the_job_file_is_handed_on(npu, monkeypatch):
    monkeypatch.delenv("JOB_ID")
    job = npu.directory / "job.json"
    job.write_text('{"device_info": {"Index": 0}, "rank_table_file": "", "rank_size": 1}')
    npu.build_estimator(npu_bert_job_start_file=str(job))
    assert npu.find("NPUEstimator")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_train_steps": 9, "iterations_per_loop": 2}, "num_train_steps=9 is not a multiple"),
        (
            {"save_checkpoints_steps": 3, "iterations_per_loop": 2},
            "save_checkpoints_steps=3 is not a multiple of --iterations_per_loop=2",
        ),
        (
            {"display_loss_steps": 3, "iterations_per_loop": 2},
            "display_loss_steps=3 is not a multiple",
        ),
        (
            {"save_summary_steps": 2, "iterations_per_loop": 2},
            "save_summary_steps needs --iterations_per_loop=1",
        ),
        ({"use_xla": True}, "use_xla is for --backend=cpu"),
        ({"over_dump": True}, "over_dump needs --over_dump_path"),
        ({"over_dump_path": "/"}, "over_dump_path has no effect without --over_dump"),
        ({"connect_timeout_seconds": 60}, "HCCL takes 120 to 7200"),
        ({"npu_option": "nothing"}, "'nothing' must read key=value"),
        ({"deterministic": True}, "installed npu_bridge has no deterministic mode"),
        ({"npu_option": "jit_compile=auto"}, "the installed npu_bridge has no such option"),
        (
            {"npu_option": "is_tailing_optimization=true"},
            "needs several ranks and a loss scale",
        ),
        ({"over_dump": True, "over_dump_path": "absent"}, "not an existing, writable directory"),
    ],
)
def test_what_is_refused_before_any_graph(npu, changes, message):
    with pytest.raises(UsageError, match=message):
        npu.build_estimator(**changes)


def test_operators_of_tensorflow_if_asked_for(npu):
    changes = {"npu_bert_fused_gelu": False, "npu_bert_npu_dropout": False, "npu_gather": False}
    for given, wanted in ({}, False), (changes, True):
        backend = AscendBackend(npu.build_config(**given), RankEnvironment(job_id="j"))
        backend.check()
        built = backend.build_ops()
        assert (built.gelu is ops.plain_gelu) == wanted
        assert (built.dropout is ops.plain_dropout) == wanted
        assert (built.gather is ops.plain_gather) == wanted


def test_the_job_id_is_missing(npu, monkeypatch):
    monkeypatch.delenv("JOB_ID")
    with pytest.raises(UsageError, match="JOB_ID is missing"):
        npu.build_estimator()


def test_the_device_is_absent(npu):
    with pytest.raises(UnavailableError, match="Ascend device 0 is absent"):
        npu.build_estimator(npu_device_root=str(npu.directory / "nowhere"))


def test_the_adapter_is_absent(npu, monkeypatch):
    hide(monkeypatch, "npu_bridge")
    with pytest.raises(UnavailableError, match="the package npu_bridge is not installed here"):
        AscendBackend(npu.build_config(), RankEnvironment()).check()


def test_hccl_is_needed_for_several_ranks_only(npu, monkeypatch):
    hide(monkeypatch, "hccl")
    npu.build_estimator()
    with pytest.raises(UnavailableError, match="the package hccl is not installed here"):
        AscendBackend(npu.build_config(), RankEnvironment(rank_size=2)).check()


def hide(monkeypatch, package):
    for name in [n for n in sys.modules if n.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    found = [path for path in sys.path if not os.path.isdir(os.path.join(path, package))]
    monkeypatch.setattr(sys, "path", found)


def test_an_adapter_whose_native_library_does_not_load(npu, monkeypatch):
    broken = types.ModuleType("npu_bridge.estimator.npu_unary_ops")
    broken.npu_unary_ops = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, broken.__name__, broken)
    with pytest.raises(UnavailableError, match="its native library lacks gelu"):
        npu.build_estimator()
    monkeypatch.setitem(sys.modules, "npu_bridge.estimator.npu_ops", None)
    with pytest.raises(UnavailableError, match="npu_ops does not load: "):
        npu.build_estimator(npu_bert_fused_gelu=False)


def test_the_environment_is_complete_and_tf_config_gone(npu, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1"]}}')
    npu.build_estimator(connect_timeout_seconds=300)
    assert os.environ["RANK_SIZE"] == "1"
    assert os.environ["DEVICE_ID"] == os.environ["ASCEND_DEVICE_ID"] == "0"
    assert os.environ["HCCL_CONNECT_TIMEOUT"] == "300"
    assert "TF_CONFIG" not in os.environ


def test_the_device_is_released_if_the_adapter_can(npu, monkeypatch):
    released = []
    backend = AscendBackend(npu.build_config(), RankEnvironment(job_id="j"))
    backend.close()  # the adapter of CANN 20.2 has nothing to call
    plugin = types.ModuleType("npu_plugin")
    plugin.npu_close = lambda: released.append(True)
    monkeypatch.setitem(sys.modules, "npu_bridge.estimator.npu.npu_plugin", plugin)
    backend.close()
    assert released == [True]
