"""The adapter npu_bridge, imported late and checked: the one door to it for the trainer.

Only documented module paths are imported. What later adapters added, or earlier ones lack, is
never imported by name.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, NamedTuple, Optional, Sequence

from bert.errors import UnavailableError

_WHERE = (
    "it comes with the TF adapter of CANN (tfplugin); source scripts/npu_set_env.sh, or train "
    "with --backend=cpu"
)


class Bridge(NamedTuple):
    """What the trainer uses of the adapter.

    Attributes:
        config: module with NPURunConfig, ProfilingConfig, DumpConfig, DynamicInputConfig.
        estimator: module with NPUEstimator.
        optimizer: module with NPUDistributedOptimizer and NPUOptimizer.
        loss_scale_manager: module with the managers of the loss scale.
        loss_scale_optimizer: module with NPULossScaleOptimizer.
        unary_ops: the native operators, for gelu.
        ops: module with dropout.
        hccl_ops: module with broadcast and all-reduce operators.
        split: module hccl.split.api, None for a single rank.
    """

    config: Any
    estimator: Any
    optimizer: Any
    loss_scale_manager: Any
    loss_scale_optimizer: Any
    unary_ops: Any
    ops: Any
    hccl_ops: Any
    split: Optional[Any]


def check_installed(rank_size: int) -> None:
    """Raises UnavailableError if a package is absent; several ranks need HCCL's too."""
    _check_found("npu_bridge")
    if rank_size > 1:
        _check_found("hccl")


def load_bridge(rank_size: int, native_operators: Sequence[str]) -> Bridge:
    """Imports the adapter.

    Args:
        rank_size: number of ranks.
        native_operators: names that the native library must bring for this run.

    Raises:
        UnavailableError: if it does not load here, or lacks an operator.
    """
    unary_ops = _load("npu_bridge.estimator.npu_unary_ops").npu_unary_ops
    missing = [name for name in native_operators if not hasattr(unary_ops, name)]
    if missing:
        raise UnavailableError(
            f"npu_bridge is here, but its native library lacks {', '.join(missing)}; the adapter "
            "does not fit this TensorFlow or this CANN"
        )
    return Bridge(
        config=_load("npu_bridge.estimator.npu.npu_config"),
        estimator=_load("npu_bridge.estimator.npu.npu_estimator"),
        optimizer=_load("npu_bridge.estimator.npu.npu_optimizer"),
        loss_scale_manager=_load("npu_bridge.estimator.npu.npu_loss_scale_manager"),
        loss_scale_optimizer=_load("npu_bridge.estimator.npu.npu_loss_scale_optimizer"),
        unary_ops=unary_ops,
        ops=_load("npu_bridge.estimator.npu_ops"),
        hccl_ops=_load("npu_bridge.hccl.hccl_ops"),
        split=_load("hccl.split.api") if rank_size > 1 else None,
    )


def _check_found(package: str) -> None:
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise UnavailableError(f"the package {package} is not installed here; {_WHERE}")


def _load(module: str) -> Any:
    """Imports a module; the adapter fails in many ways when its native library does not load."""
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise UnavailableError(
            f"{module} does not load: {type(error).__name__}: {error}; {_WHERE}"
        ) from error
