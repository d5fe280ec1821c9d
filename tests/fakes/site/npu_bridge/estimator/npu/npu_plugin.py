"""Opening and closing the device without an estimator."""

from npu_bridge._native import record
from npu_bridge.estimator.npu import util


def npu_resource_init(
    graph_run_mode=1,
    op_debug_level=0,
    enable_profiling=False,
    profiling_options=None,
    auto_tune_mode=None,
    precision_mode=None,
    enable_scope_fusion_passes=None,
    enable_exception_dump=0,
    mstune_mode=None,
    work_path=None,
    op_compiler_cache_mode=None,
    op_compiler_cache_dir=None,
    debug_dir=None,
    hcom_multi_mode=False,
):
    """Opens the device with some options."""
    for name, value in (
        ("graph_run_mode", graph_run_mode),
        ("enable_exception_dump", enable_exception_dump),
        ("op_debug_level", op_debug_level),
    ):
        util.check_nonnegative_integer(value, name)
    if graph_run_mode > 1:
        raise ValueError("graph_run_mode must be 0 or 1")
    util.check_bool_type(enable_profiling, "enable_profiling")
    util.check_bool_type(hcom_multi_mode, "hcom_multi_mode")
    if enable_profiling and profiling_options is None:
        raise ValueError("profiling needs profiling_options")
    if mstune_mode is not None and work_path is None:
        raise ValueError("mstune_mode needs work_path")
    record.write("npu_resource_init", precision_mode=precision_mode)


def npu_resource_shutdown():
    """Closes the device."""
    record.write("npu_resource_shutdown")
