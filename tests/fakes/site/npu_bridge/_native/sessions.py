"""What the native library does when a session is made and run.

It comes in through the graph optimiser NpuOptimizer of the session's configuration: reads its
parameters, ends the process where it does not like them, and takes graphs that contain a node
IterationOp through several steps per call.
"""

import os
import re

import tensorflow.compat.v1 as tf
from tensorflow.python.client import session as session_lib

from npu_bridge._native import communication, record

_OPTIMIZER = "NpuOptimizer"
_LOOP_COLLECTION = "npu_runconfig_iterations_per_loop"


class NativeAbort(RuntimeError):
    """Where the real library ends the process."""


def take_over():
    """Puts the native behaviour under every session of the process."""
    make, run = session_lib.BaseSession.__init__, session_lib.BaseSession.run

    def make_session(self, target="", graph=None, config=None):
        parameters = find_parameters(config)
        if parameters is not None:
            used_graph = tf.get_default_graph() if graph is None else graph
            record.write("NpuOptimizer", parameters=parameters)
            check_parameters(parameters)
            _check_graph(used_graph, parameters)
            config = _without_rewriting(config)
            if communication.is_needed(used_graph):
                target, config = communication.connect(config)
        make(self, target, graph, config)

    def run_session(self, fetches, feed_dict=None, options=None, run_metadata=None):
        n_further = _count_further_steps(self, fetches, run)
        if n_further:
            record.write("loop", n_steps=n_further + 1)
        for _ in range(n_further):
            run(self, self.graph.get_operation_by_name("IterationOp"), feed_dict)
        return run(self, fetches, feed_dict, options, run_metadata)

    session_lib.BaseSession.__init__ = make_session
    session_lib.BaseSession.run = run_session


def _without_rewriting(config):
    """On a device its own compiler has the graph; TensorFlow's only costs time here."""
    changed = tf.ConfigProto()
    changed.CopyFrom(config)
    changed.graph_options.ClearField("rewrite_options")
    changed.graph_options.rewrite_options.disable_meta_optimizer = True
    return changed


def find_parameters(config):
    """Returns name → value of the NpuOptimizer in a ConfigProto, None without one."""
    if config is None:
        return None
    for optimizer in config.graph_options.rewrite_options.custom_optimizers:
        if optimizer.name == _OPTIMIZER:
            return {
                name: _read_value(value) for name, value in sorted(optimizer.parameter_map.items())
            }
    return None


def _read_value(value):
    kind = value.WhichOneof("value")
    content = getattr(value, kind)
    return content.decode() if kind == "s" else content


def _count_further_steps(session, fetches, run):
    """Steps that the device takes before the one whose tensors the host gets to see."""
    if not any(getattr(f, "op", f).name == "IterationOp" for f in _list_nodes(fetches)):
        return 0
    variables = session.graph.get_collection(_LOOP_COLLECTION)
    return int(run(session, variables[0])) if variables else 0


def _list_nodes(fetches):
    if isinstance(fetches, dict):
        fetches = list(fetches.values())
    if isinstance(fetches, (list, tuple)):
        return [node for item in fetches for node in _list_nodes(item)]
    if isinstance(fetches, (tf.Operation, tf.Tensor)):
        return [fetches]
    return []


def check_parameters(parameters):
    """Raises NativeAbort for values that the native side refuses."""
    get = parameters.get
    if get("graph_run_mode", 1) > 1:
        _abort("graph_run_mode must be 0 or 1")
    if get("op_select_implmode", "high_performance") not in ("high_precision", "high_performance"):
        _abort(f"op_select_implmode {get('op_select_implmode')}")
    if get("optypelist_for_implmode") and not get("op_select_implmode"):
        _abort("optypelist_for_implmode without op_select_implmode")
    if get("buffer_optimize", "l2_optimize") not in ("l2_optimize", "off_optimize"):
        _abort(f"buffer_optimize {get('buffer_optimize')}")
    if "compress_weight_conf" in parameters and "enable_compress_weight" in parameters:
        _abort("enable_compress_weight and compress_weight_conf exclude each other")
    if not 0 <= get("local_rank_id", 0) <= 7:
        _abort(f"local_rank_id {get('local_rank_id')}")
    dynamic = [n in parameters for n in ("input_shape", "dynamic_dims", "dynamic_node_type")]
    if any(dynamic) and not all(dynamic):
        _abort("input_shape, dynamic_dims and dynamic_node_type must come together")
    if get("dynamic_input") and get("iterations_per_loop", 1) > 1:
        _abort("dynamic input with iterations_per_loop above 1")
    _check_dump(parameters)


def _check_dump(parameters):
    if not (parameters.get("enable_dump") or parameters.get("enable_dump_debug")):
        return
    path = parameters.get("dump_path", "")
    if not (os.path.isdir(path) and os.access(path, os.R_OK | os.W_OK)):
        _abort(f"dump_path {path!r} is no directory that can be read and written")
    items = [item for item in parameters.get("dump_step", "").split("|") if item]
    if len(items) > 100:
        _abort("dump_step has more than 100 items")
    for item in items:
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", item)
        if not match or (match.group(2) and int(match.group(1)) >= int(match.group(2))):
            _abort(f"dump_step {item}")
    if parameters.get("dump_mode", "output") not in ("input", "output", "all"):
        _abort(f"dump_mode {parameters['dump_mode']}")
    modes = ("aicore_overflow", "atomic_overflow", "all")
    if parameters.get("dump_debug_mode", "all") not in modes:
        _abort(f"dump_debug_mode {parameters['dump_debug_mode']}")


def _check_graph(graph, parameters):
    if parameters.get("iterations_per_loop", 1) > 1:
        for operation in graph.get_operations():
            if operation.type == "OneShotIterator":
                _abort("a one-shot iterator with iterations_per_loop above 1")


def _abort(reason):
    raise NativeAbort(f"the native library ends the process here: {reason}")
