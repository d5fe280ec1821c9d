"""The configuration of an NPUEstimator."""

import enum
import json
import os

import tensorflow.compat.v1 as tf

from npu_bridge._native import record
from npu_bridge.estimator.npu import util

_NOT_RECORDED = ("self", "__class__", "session_config")


class NPURunConfig(tf.estimator.RunConfig):
    """A RunConfig with the options of the device."""

    def __init__(
        self,
        iterations_per_loop=1,
        profiling_config=None,
        model_dir=None,
        tf_random_seed=None,
        save_summary_steps=0,
        save_checkpoints_steps=None,
        save_checkpoints_secs=None,
        session_config=None,
        keep_checkpoint_max=5,
        keep_checkpoint_every_n_hours=10000,
        log_step_count_steps=100,
        distribute=None,
        enable_data_pre_proc=True,
        precision_mode=None,
        enable_reduce_precision=False,
        variable_format_optimize=True,
        mix_compile_mode=False,
        hcom_parallel=False,
        graph_memory_max_size=None,
        variable_memory_max_size=None,
        auto_tune_mode=None,
        dump_config=None,
        stream_max_parallel_num=None,
        is_tailing_optimization=False,
        horovod_mode=False,
        graph_run_mode=1,
        op_debug_level=0,
        enable_scope_fusion_passes=None,
        enable_exception_dump=0,
        op_select_implmode=None,
        optypelist_for_implmode=None,
        dynamic_input_config=None,
        mstune_mode=None,
        work_path=None,
        buffer_optimize="l2_optimize",
        enable_small_channel=0,
        fusion_switch_file=None,
        enable_compress_weight=False,
        compress_weight_conf=None,
        op_compiler_cache_mode=None,
        op_compiler_cache_dir=None,
        debug_dir=None,
        hcom_multi_mode=False,
        dynamic_input=False,
        dynamic_graph_execute_mode="dynamic_execute",
        dynamic_inputs_shape_range=None,
        train_distribute=None,
        eval_distribute=None,
        local_rank_id=None,
        local_device_list=None,
        session_device_id=None,
    ):
        options = {name: value for name, value in locals().items() if name not in _NOT_RECORDED}
        _check_loop(iterations_per_loop, mix_compile_mode)
        _check_cluster(distribute, mix_compile_mode)
        _check_class(dump_config, DumpConfig, "dump_config")
        _check_class(dynamic_input_config, DynamicInputConfig, "dynamic_input_config")
        if not isinstance(horovod_mode, bool):
            raise ValueError("horovod_mode must be a bool")
        util.check_nonnegative_integer(graph_run_mode, "graph_run_mode")
        if graph_run_mode > 1:
            raise ValueError("graph_run_mode must be 0 or 1")
        util.check_nonnegative_integer(enable_exception_dump, "enable_exception_dump")
        if save_checkpoints_secs is None and save_checkpoints_steps is None:
            save_checkpoints_steps = 100
        self.iterations_per_loop = iterations_per_loop
        self.horovod_mode = horovod_mode
        self.options = options
        record.write("NPURunConfig", arguments=options)
        super().__init__(
            model_dir=model_dir,
            tf_random_seed=tf_random_seed,
            save_summary_steps=save_summary_steps,
            save_checkpoints_steps=save_checkpoints_steps,
            save_checkpoints_secs=save_checkpoints_secs,
            session_config=session_config,
            keep_checkpoint_max=keep_checkpoint_max,
            keep_checkpoint_every_n_hours=keep_checkpoint_every_n_hours,
            log_step_count_steps=log_step_count_steps,
            train_distribute=train_distribute,
            eval_distribute=eval_distribute,
        )


def _check_loop(iterations_per_loop, mix_compile_mode):
    util.check_positive_integer(iterations_per_loop, "iterations_per_loop")
    if not isinstance(mix_compile_mode, bool):
        raise ValueError("mix_compile_mode must be a bool")
    if mix_compile_mode and iterations_per_loop != 1:
        raise ValueError("mix_compile_mode needs iterations_per_loop 1")


def _check_cluster(distribute, mix_compile_mode):
    cluster = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster")
    serves = isinstance(distribute, tf.distribute.experimental.ParameterServerStrategy)
    if bool(cluster) != serves:
        raise ValueError("a cluster in TF_CONFIG and a ParameterServerStrategy need each other")
    if cluster and not mix_compile_mode:
        raise ValueError("a cluster in TF_CONFIG needs mix_compile_mode")


def _check_class(value, wanted, name):
    if value is not None and not isinstance(value, wanted):
        raise ValueError(f"{name} must be a {wanted.__name__}")


class ProfilingConfig:
    """What to profile."""

    def __init__(self, enable_profiling=False, profiling_options=None):
        self._enable_profiling = enable_profiling
        self._profiling_options = profiling_options


class DumpConfig:
    """Which tensors to write to files."""

    def __init__(
        self,
        enable_dump=False,
        dump_path=None,
        dump_step=None,
        dump_mode="output",
        enable_dump_debug=False,
        dump_debug_mode="all",
    ):
        self._enable_dump = enable_dump
        self._dump_path = dump_path
        self._dump_step = dump_step
        self._dump_mode = dump_mode
        self._enable_dump_debug = enable_dump_debug
        self._dump_debug_mode = dump_debug_mode


class DynamicInputConfig:
    """Sets of shapes of the input."""

    def __init__(self, input_shape, dynamic_dims, dynamic_node_type):
        self._input_shape = input_shape
        self._dynamic_dims = dynamic_dims
        self._dynamic_node_type = dynamic_node_type


class NpuExecutePlacement(enum.Enum):
    """Where an operator may run."""

    ALL = "all"
    CUBE = "cube"
    VECTOR = "vector"
    TAISHAN = "taishan"
    DVPP = "dvpp"
    HOST = "host"
