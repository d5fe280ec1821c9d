"""The estimator whose sessions run on the device."""

import os
import random
import string

import tensorflow.compat.v1 as tf
from tensorflow_estimator.python.estimator import estimator as estimator_lib

from npu_bridge._native import record
from npu_bridge.estimator.npu import npu_hook
from npu_bridge.estimator.npu.npu_common import NPUBasics
from npu_bridge.estimator.npu.npu_config import NPURunConfig
from npu_bridge.estimator.npu.npu_session_config import build_session_config


class NPUEstimatorSpec(tf.estimator.EstimatorSpec):
    """An EstimatorSpec with a function that runs on the host after each step."""

    def __new__(cls, mode, host_call=None, **kwargs):
        if host_call is not None:
            _check_host_call(host_call)
        spec = super().__new__(cls, mode, **kwargs)
        spec._host_call = host_call
        return spec


def _check_host_call(host_call):
    if not isinstance(host_call, (tuple, list)) or len(host_call) != 2:
        raise ValueError("host_call must be a tuple of two elements")
    function, tensors = host_call
    if not callable(function):
        raise TypeError("host_call[0] must be callable")
    if not isinstance(tensors, (tuple, list, dict)):
        raise ValueError("host_call[1] must be a tuple, list or dict")
    if not isinstance(tensors, dict) and len(tensors) != function.__code__.co_argcount:
        raise RuntimeError("host_call[1] has not as many tensors as host_call[0] arguments")


class NPUEstimator(tf.estimator.Estimator):
    """An estimator with the hooks of the device in front of those of the model function."""

    def __init__(
        self,
        model_fn=None,
        model_dir=None,
        config=None,
        params=None,
        job_start_file="",
        warm_start_from=None,
    ):
        tf.logging.info("NPUEstimator init...")
        if not isinstance(config, NPURunConfig):
            raise ValueError("config must be an NPURunConfig")
        config = config.replace(session_config=build_session_config(config))
        job = NPUBasics(job_start_file).jobinfo
        device_info = job._device_info  # AttributeError without JOB_ID, like the original
        model_dir = _find_model_dir(model_dir, config)
        restore_from = (
            warm_start_from or job._local_checkpoint_dir or os.environ.get("RESTORE_FROM")
        )
        record.write("NPUEstimator", model_dir=model_dir, warm_start_from=restore_from)
        super().__init__(
            model_fn=_augment(model_fn, model_dir, config, device_info),
            model_dir=model_dir,
            config=config,
            params=params or {},
            warm_start_from=restore_from or None,
        )


def _find_model_dir(model_dir, config):
    if model_dir is not None and config.model_dir is not None and model_dir != config.model_dir:
        raise ValueError("NPUEstimator and NPURunConfig name different directories")
    found = model_dir or config.model_dir
    if found is None:
        letters = string.ascii_letters + string.digits
        found = os.path.join(os.getcwd(), "model_dir_" + "".join(random.sample(letters, 10)))
        tf.logging.warning("no model_dir is given; using %s", found)
        tf.gfile.MkDir(found)
    return found


def _augment(model_fn, model_dir, config, device_info):
    """Returns a model function that adds the hooks of the device."""
    names = estimator_lib.function_utils.fn_args(model_fn)

    def augmented(features, labels, mode, params):
        given = {"labels": labels, "mode": mode, "params": params, "config": config}
        spec = model_fn(features=features, **{k: v for k, v in given.items() if k in names})
        if not isinstance(spec, tf.estimator.EstimatorSpec):
            raise RuntimeError(f"the model function returned a {type(spec).__name__}")
        if mode == tf.estimator.ModeKeys.TRAIN:
            return _add_train_hooks(spec, model_dir, config, device_info)
        return spec

    return augmented


def _add_train_hooks(spec, model_dir, config, device_info):
    hooks = [npu_hook.LeaveTogetherHook()]
    rank_size = os.environ.get("RANK_SIZE", "")
    if rank_size.isdigit() and int(rank_size) > 1 and not config.horovod_mode:
        hooks.append(
            npu_hook.NPUBroadcastGlobalVariablesHook(device_info._root_rank, device_info._index)
        )
    if config.save_checkpoints_steps or config.save_checkpoints_secs:
        hooks.append(
            npu_hook.NPUCheckpointSaverHook(
                checkpoint_dir=model_dir,
                save_secs=config.save_checkpoints_secs,
                save_steps=config.save_checkpoints_steps,
                saver=tf.train.Saver(),
            )
        )
    if config.iterations_per_loop > 1:
        hooks.append(npu_hook.SetIterationsVarHook(config.iterations_per_loop))
        spec = spec._replace(train_op=tf.group(spec.train_op, name="IterationOp"))
    hooks += list(spec.training_hooks or ())
    return spec._replace(training_hooks=tuple(hooks))
