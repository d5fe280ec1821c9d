"""The graph optimiser NpuOptimizer, as NPUEstimator puts it into a session's configuration."""

import json
import os

import tensorflow.compat.v1 as tf

_PASSES = (
    "pruning function constfold shape arithmetic loop dependency layout memory GradFusionOptimizer"
)
_BOOLS = (
    "enable_data_pre_proc mix_compile_mode is_tailing_optimization hcom_parallel "
    "enable_compress_weight hcom_multi_mode dynamic_input enable_reduce_precision "
    "variable_format_optimize"
)
_INTS = (
    "iterations_per_loop graph_run_mode op_debug_level enable_exception_dump enable_small_channel"
)
_INTS_IF_SET = "local_rank_id session_device_id"
_TEXTS_IF_SET = (
    "buffer_optimize dynamic_graph_execute_mode graph_memory_max_size variable_memory_max_size "
    "enable_scope_fusion_passes fusion_switch_file compress_weight_conf op_compiler_cache_mode "
    "op_compiler_cache_dir debug_dir dynamic_inputs_shape_range local_device_list auto_tune_mode "
    "stream_max_parallel_num op_select_implmode optypelist_for_implmode"
)


def build_session_config(config):
    """Returns the session configuration of an NPURunConfig with the NpuOptimizer in it."""
    session_config = tf.ConfigProto()
    if config.session_config is not None:
        session_config.CopyFrom(config.session_config)
    rewrite = session_config.graph_options.rewrite_options
    rewrite.optimizers.extend(_PASSES.split())
    custom = rewrite.custom_optimizers.add()
    custom.name = "NpuOptimizer"
    for name, value in build_parameters(config.options).items():
        if isinstance(value, bool):
            custom.parameter_map[name].b = value
        elif isinstance(value, int):
            custom.parameter_map[name].i = value
        else:
            custom.parameter_map[name].s = value.encode()
    return session_config


def build_parameters(options):
    """Returns the parameters of the NpuOptimizer: bool, int and str values."""
    parameters = {"use_off_line": True, "min_group_size": True}
    parameters.update({name: bool(options[name]) for name in _BOOLS.split()})
    parameters.update({name: int(options[name]) for name in _INTS.split()})
    for name in _INTS_IF_SET.split():
        if options[name] is not None:
            parameters[name] = int(options[name])
    for name in _TEXTS_IF_SET.split():
        if options[name] is not None:
            parameters[name] = str(options[name])
    trains = options["graph_run_mode"] == 1
    default = "allow_fp32_to_fp16" if trains else "force_fp16"
    parameters["precision_mode"] = options["precision_mode"] or default
    _add_task(parameters)
    _add_tuning(parameters, options)
    _add_parts(parameters, options)
    return parameters


def _add_task(parameters):
    task = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {})
    parameters["job"] = task.get("type") or "localhost"
    parameters["task_index"] = int(task.get("index", 0)) if task.get("type") else 0


def _add_tuning(parameters, options):
    if options["mstune_mode"] is None:
        return
    if options["work_path"] is None:
        raise ValueError("mstune_mode needs work_path")
    parameters["mstune_mode"] = options["mstune_mode"]
    parameters["work_path"] = options["work_path"]


def _add_parts(parameters, options):
    profiling = options["profiling_config"]
    if profiling is not None:
        parameters["profiling_mode"] = profiling._enable_profiling
        if profiling._enable_profiling:
            if profiling._profiling_options is None:
                raise ValueError("profiling needs profiling_options")
            parameters["profiling_options"] = profiling._profiling_options
    dump = options["dump_config"]
    parameters["enable_dump"] = dump is not None and dump._enable_dump
    parameters["enable_dump_debug"] = dump is not None and dump._enable_dump_debug
    if dump is not None:
        for name in ("dump_path", "dump_step", "dump_mode", "dump_debug_mode"):
            if getattr(dump, "_" + name) is not None:
                parameters[name] = getattr(dump, "_" + name)
    dynamic = options["dynamic_input_config"]
    if dynamic is not None:
        parameters["input_shape"] = dynamic._input_shape
        parameters["dynamic_dims"] = dynamic._dynamic_dims
        parameters["dynamic_node_type"] = dynamic._dynamic_node_type
