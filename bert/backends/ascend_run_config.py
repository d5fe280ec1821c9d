"""NPURunConfig and its parts, built from the configuration of a run."""

from __future__ import annotations

import inspect
from typing import Any, Dict, List

import tensorflow.compat.v1 as tf

from bert.backends.ascend_bridge import Bridge
from bert.backends.ascend_options import check_known_to_adapter, group_options
from bert.backends.session_config import build_local_session_config
from bert.errors import UsageError
from bert.train_config import TrainConfig

_PART_CLASSES = {
    "profiling_config": "ProfilingConfig",
    "dump_config": "DumpConfig",
    "dynamic_input_config": "DynamicInputConfig",
}
_ADAPTER_KEEPS = 5
# A single evaluation is no place to profile, and would overwrite what training dumped.
_TRAINING_ONLY = ("profiling_config", "dump_config")


def list_parameters(bridge: Bridge) -> List[str]:
    """Returns the parameters that the installed NPURunConfig takes."""
    return list(inspect.signature(bridge.config.NPURunConfig.__init__).parameters)[1:]


def check_adapter_options(config: TrainConfig, bridge: Bridge) -> None:
    """Raises UsageError if the installed adapter lacks something that the run asks for."""
    groups = group_options(dict(config.ascend.options))
    parameters = list_parameters(bridge)
    check_known_to_adapter(list(groups.get("run_config", {})), parameters)
    if config.deterministic and "deterministic" not in parameters:
        raise UsageError(
            "--deterministic is refused: the installed npu_bridge has no deterministic mode"
        )


def build_train_run_config(
    config: TrainConfig, bridge: Bridge, model_dir: str, saves: bool, seed: int
) -> Any:
    """Returns the NPURunConfig of a training.

    Args:
        config: the run.
        bridge: the adapter.
        model_dir: directory of checkpoints and events.
        saves: whether this rank writes them; 0 as interval is the adapter's way to write none.
        seed: seed of this rank's graph.
    """
    values = _build_common(config, bridge, model_dir, seed)
    values.update(
        iterations_per_loop=config.n_steps_per_loop,
        save_checkpoints_steps=config.save_checkpoints_steps if saves else 0,
        keep_checkpoint_max=config.keep_checkpoint_max,
        save_summary_steps=config.save_summary_steps if saves else 0,
    )
    groups = group_options(dict(config.ascend.options))
    values.update(groups.pop("run_config", {}))
    for name, part in groups.items():
        values[name] = getattr(bridge.config, _PART_CLASSES[name])(**part)
    if "save_checkpoints_secs" in values:
        # The two intervals exclude each other.
        values["save_checkpoints_steps"] = None
        if not saves:
            values.update(save_checkpoints_steps=0, save_checkpoints_secs=None)
    return bridge.config.NPURunConfig(**values)


def build_eval_run_config(config: TrainConfig, bridge: Bridge, model_dir: str) -> Any:
    """Returns the NPURunConfig of an evaluation: one step per call, nothing saved."""
    values = _build_common(config, bridge, model_dir, config.random_seed)
    values.update(iterations_per_loop=1, save_checkpoints_steps=0)
    groups = group_options(dict(config.ascend.options))
    values.update(groups.pop("run_config", {}))
    values.pop("save_checkpoints_secs", None)
    for name, part in groups.items():
        if name not in _TRAINING_ONLY:
            values[name] = getattr(bridge.config, _PART_CLASSES[name])(**part)
    return bridge.config.NPURunConfig(**values)


def _build_common(config: TrainConfig, bridge: Bridge, model_dir: str, seed: int) -> Dict[str, Any]:
    values: Dict[str, Any] = {
        "model_dir": model_dir,
        "tf_random_seed": seed,
        "session_config": build_local_session_config(config),
        # The model function brings its own hooks for both log lines.
        "log_step_count_steps": None,
        "enable_data_pre_proc": config.ascend.data_queue,
        "hcom_parallel": config.ascend.parallel_allreduce,
    }
    if config.ascend.precision_mode is not None:
        values["precision_mode"] = config.ascend.precision_mode
    if config.deterministic:
        values["deterministic"] = 1
    return values


def honour_keep_checkpoint_max(estimator: tf.estimator.Estimator, most: int) -> None:
    """Makes an NPUEstimator keep as many checkpoints as its configuration says.

    The adapter gives its saving hook a saver of its own, which always keeps the five newest.

    Args:
        estimator: of the adapter; its model function is wrapped.
        most: newest checkpoints kept.
    """
    if most == _ADAPTER_KEEPS:
        return
    inner = estimator._model_fn  # the adapter's, which adds its hooks to those of ours

    def model_fn(features: Any, labels: Any, mode: str, params: Any) -> Any:
        spec = inner(features=features, labels=labels, mode=mode, params=params)
        for hook in spec.training_hooks or ():
            saver = getattr(hook, "_saver", None)
            if isinstance(hook, tf.train.CheckpointSaverHook) and saver is not None:
                saver.saver_def.max_to_keep = most
        return spec

    estimator._model_fn = model_fn
