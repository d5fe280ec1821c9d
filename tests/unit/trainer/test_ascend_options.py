"""Options of NPURunConfig: types, choices, and combinations that would end the process."""

from __future__ import annotations

import pytest

from bert.backends.ascend_options import (
    FLAG_OF_OPTION,
    LATER_OPTIONS,
    OPTIONS,
    REFUSED_OPTIONS,
    check_known_to_adapter,
    check_option_paths,
    check_options,
    group_options,
    parse_options,
)
from bert.errors import UsageError

# The parameters of NPURunConfig in CANN 20.2.
DOCUMENTED = """
iterations_per_loop profiling_config model_dir tf_random_seed save_summary_steps
save_checkpoints_steps save_checkpoints_secs session_config keep_checkpoint_max
keep_checkpoint_every_n_hours log_step_count_steps distribute enable_data_pre_proc precision_mode
enable_reduce_precision variable_format_optimize mix_compile_mode hcom_parallel
graph_memory_max_size variable_memory_max_size auto_tune_mode dump_config stream_max_parallel_num
is_tailing_optimization horovod_mode graph_run_mode op_debug_level enable_scope_fusion_passes
enable_exception_dump op_select_implmode optypelist_for_implmode dynamic_input_config mstune_mode
work_path buffer_optimize enable_small_channel fusion_switch_file enable_compress_weight
compress_weight_conf op_compiler_cache_mode op_compiler_cache_dir debug_dir hcom_multi_mode
dynamic_input dynamic_graph_execute_mode dynamic_inputs_shape_range train_distribute
eval_distribute local_rank_id local_device_list session_device_id
""".split()


def check(*words, n_steps=1, rank_size=1, save_steps=0):
    options = parse_options(words)
    check_options(options, n_steps, rank_size, save_steps)
    return options


def test_every_documented_option_has_its_place():
    places = [OPTIONS, FLAG_OF_OPTION, REFUSED_OPTIONS]
    for name in DOCUMENTED:
        assert sum(name in place for place in places) == 1, name
    own = [name for name, option in OPTIONS.items() if option.group == "run_config"]
    assert set(own) <= set(DOCUMENTED)
    assert not set(LATER_OPTIONS) & set(DOCUMENTED)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("op_select_implmode=high_precision", "high_precision"),
        ("buffer_optimize=off_optimize", "off_optimize"),
        ("graph_memory_max_size=27917287424", "27917287424"),
        ("enable_reduce_precision=True", True),
        ("variable_format_optimize=0", False),
        ("local_rank_id=7", 7),
        ("op_debug_level=2", 2),
        ("auto_tune_mode=RL,GA", "RL,GA"),
        ("stream_max_parallel_num=DNN_VM_AICPU:3,AIcoreEngine:1", None),
        ("keep_checkpoint_every_n_hours=0.5", 0.5),
        ("profiling_options=training_trace:task_trace", "training_trace:task_trace"),
        ('profiling_options={"output": "/p", "training_trace": "on"}', None),
        ("jit_compile=auto", "auto"),
    ],
)
def test_values_of_the_right_type(word, value):
    name, _, text = word.partition("=")
    assert check(word) == {name: text if value is None else value}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["op_select_implmode=fast"], "must be one of high_precision, high_performance"),
        (["buffer_optimize=l1"], "must be one of l2_optimize, off_optimize"),
        (["optypelist_for_implmode=Pooling"], "needs --npu_option op_select_implmode too"),
        (["compress_weight_conf=a.cfg"], "is refused: the adapter always sends"),
        (["mstune_mode=1"], "needs --npu_option work_path too"),
        (["local_rank_id=8"], "must be at most 7"),
        (["graph_run_mode=2"], "must be one of 0, 1"),
        (["op_debug_level=high"], "must be a whole number"),
        (["enable_small_channel=yes"], "must be a whole number"),
        (["hcom_multi_mode=maybe"], "must be true or false"),
        (["graph_memory_max_size=26G"], "must match"),
        (["auto_tune_mode=XX"], "must match"),
        (["enable_exception_dump=-1"], "must be at least 0"),
        (["horovod_mode=true"], "the adapter would not broadcast"),
        (["distribute=x"], "there are no parameter servers here"),
        (["session_config=x"], "give --intra_op_parallelism_threads"),
        (["iterations_per_loop=5"], "give --iterations_per_loop"),
        (["precision_mode=force_fp16"], "give --precision_mode"),
        (["input_shape=x:1"], "give all of input_shape, dynamic_dims, dynamic_node_type"),
        (["dynamic_inputs_shape_range=x"], "needs --npu_option dynamic_input too"),
        (["enable_profiling=true"], "needs profiling_options too"),
        (["profiling_options=op_trace:all"], "'all' is none of training_trace"),
        (["profiling_options={"], "not valid JSON"),
        (["enable_dump=true"], "dump_path does not say where to"),
        (["enable_dump_debug=true"], "dump_path does not say where to"),
        (["dump_step=1|x"], "'x' is no step"),
        (["dump_step=20-10"], "range 20-10 does not ascend"),
        (["dump_step=" + "|".join(map(str, range(101)))], "has 101 items; the most is 100"),
        (["op_debug_levle=1"], "no such option .did you mean 'op_debug_level'"),
        (["op_debug_level"], "must read key=value"),
        (["op_debug_level="], "must read key=value"),
        (["op_debug_level=1", "op_debug_level=2"], "op_debug_level is given twice"),
    ],
)
def test_values_that_are_refused(words, message):
    with pytest.raises(UsageError, match=message):
        check(*words)


@pytest.mark.parametrize(
    "words",
    [
        ["mix_compile_mode=true"],
        ["dynamic_input=true"],
        ["input_shape=x:1,-1", "dynamic_dims=1;2", "dynamic_node_type=0"],
    ],
)
def test_options_that_a_device_side_loop_excludes(words):
    check(*words, n_steps=1)
    with pytest.raises(UsageError, match="needs --iterations_per_loop=1"):
        check(*words, n_steps=2)


def test_saving_by_the_clock_needs_a_single_rank_and_no_other_interval():
    check("save_checkpoints_secs=60")
    for further in ({"rank_size": 2}, {"save_steps": 100}):
        with pytest.raises(UsageError, match="needs a single rank and --save_checkpoints_steps=0"):
            check("save_checkpoints_secs=60", **further)


def test_paths_must_be_there(tmp_path):
    (tmp_path / "switch.cfg").touch()
    check_option_paths(
        parse_options([f"fusion_switch_file={tmp_path}/switch.cfg", f"dump_path={tmp_path}"])
    )
    with pytest.raises(UsageError, match="absent.cfg: there is no such file"):
        check_option_paths(parse_options([f"fusion_switch_file={tmp_path}/absent.cfg"]))
    with pytest.raises(UsageError, match="absent: not an existing, writable directory"):
        check_option_paths(parse_options([f"dump_path={tmp_path}/absent"]))
    with pytest.raises(UsageError, match="not an existing, writable directory"):
        check_option_paths(parse_options([f"debug_dir={tmp_path}/switch.cfg"]))


def test_options_go_to_the_object_that_carries_them():
    options = parse_options(
        ["op_debug_level=1", "enable_dump=true", "dump_mode=all", "profiling_options=op_trace"]
    )
    assert group_options(options) == {
        "run_config": {"op_debug_level": 1},
        "dump_config": {"enable_dump": True, "dump_mode": "all"},
        "profiling_config": {"profiling_options": "op_trace"},
    }


def test_an_option_that_the_installed_adapter_lacks():
    check_known_to_adapter(["op_debug_level"], ["op_debug_level", "work_path"])
    with pytest.raises(UsageError, match="jit_compile: the installed npu_bridge has no such"):
        check_known_to_adapter(["jit_compile"], ["op_debug_level"])
