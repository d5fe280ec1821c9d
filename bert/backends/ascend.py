"""The Ascend backend: one rank is one process on one Ascend 910 device, through npu_bridge.

The adapter takes whole training graphs to the device. `--iterations_per_loop` n makes it take n
steps per call of the host: hooks run, and tensors are seen, once per n steps.
"""

from __future__ import annotations

import os
import sys
from typing import Any, Callable, List, Optional, Sequence

import tensorflow.compat.v1 as tf

from bert.backends import ascend_optimizer
from bert.backends.ascend_bridge import Bridge, check_installed, load_bridge
from bert.backends.ascend_environment import build_environment, check_device_node
from bert.backends.ascend_gradient_split import build_split_indices
from bert.backends.ascend_hooks import SplitHook, StateBroadcastHook
from bert.backends.ascend_options import check_option_paths
from bert.backends.ascend_run_config import (
    build_eval_run_config,
    build_train_run_config,
    check_adapter_options,
    honour_keep_checkpoint_max,
)
from bert.backends.base import Backend
from bert.backends.ops import Ops, dense_gather, plain_dropout, plain_gather, plain_gelu
from bert.errors import UsageError
from bert.train_config import LossScaleConfig


class AscendBackend(Backend):
    """Ascend 910 devices; gradients are averaged by HCCL."""

    name = "ascend"

    def __init__(self, config: Any, rank: Any) -> None:
        super().__init__(config, rank)
        self._bridge: Optional[Bridge] = None
        self._split_indices: List[int] = []
        self._is_split_refused = False

    @property
    def n_steps_per_run(self) -> int:
        """Steps of one device-side loop."""
        return self.config.n_steps_per_loop

    @property
    def bridge(self) -> Bridge:
        """The adapter; it is loaded by `check`."""
        assert self._bridge is not None
        return self._bridge

    def check(self) -> None:
        """Checks adapter, environment, rank table, device and options, cheapest first.

        Raises:
            UnavailableError: if the adapter or the device is absent.
            UsageError: if environment, rank table or options are wrong.
        """
        check_installed(self.rank.rank_size)
        self._variables = build_environment(
            self.rank, self.config.ascend, self.config.connect_timeout_seconds, os.environ
        )
        check_device_node(self.config.ascend.device_root, int(self._variables["DEVICE_ID"]))
        check_option_paths(dict(self.config.ascend.options))
        self._check_tailing()
        # The adapter reads the environment as early as it likes.
        self._export_environment()
        self._bridge = load_bridge(self.rank.rank_size, self._list_native_operators())
        check_adapter_options(self.config, self._bridge)

    def start(self) -> None:
        """Nothing: communication starts with the first session."""

    def finish(self) -> None:
        """Nothing: no rank serves another one."""

    def close(self) -> None:
        """Lets the adapter release the device; the process ends without its exit handlers."""
        # Adapters of CANN 20.2 have no such function and release the device by themselves.
        plugin = sys.modules.get("npu_bridge.estimator.npu.npu_plugin")
        release = getattr(plugin, "npu_close", None)
        if release is not None:
            release()

    def build_ops(self, batch_number: Optional[tf.Tensor] = None) -> Ops:
        """Returns the device's own GELU and dropout, unless flags ask for TensorFlow's."""
        return Ops(
            gelu=self.bridge.unary_ops.gelu if self.config.fused_gelu else plain_gelu,
            dropout=self._drop if self.config.ascend.npu_dropout else plain_dropout,
            gather=dense_gather if self.config.dense_gather else plain_gather,
        )

    def average_gradients(self, optimizer: tf.train.Optimizer) -> tf.train.Optimizer:
        """Averages by HCCL, in segments set from the gradients that the model really has."""
        source = ascend_optimizer.GradientSource(optimizer, self._split_gradients)
        if self._has_tailing:
            return source
        return ascend_optimizer.average_gradients(source, self.bridge)

    def build_loss_scale(self, config: LossScaleConfig) -> ascend_optimizer.NpuLossScale:
        """Returns the adapter's fixed or dynamic loss scale."""
        return ascend_optimizer.NpuLossScale(config, self.bridge)

    def scale_loss(
        self, optimizer: tf.train.Optimizer, loss_scale: ascend_optimizer.NpuLossScale
    ) -> tf.train.Optimizer:
        """Scales, and skips overflows that the device's float status shows."""
        if self._has_tailing:
            return ascend_optimizer.average_and_scale_with_tailing(
                optimizer, loss_scale, self.bridge
            )
        return ascend_optimizer.scale_loss(optimizer, loss_scale, self.bridge, self.rank.rank_size)

    def build_hooks(self) -> List[tf.train.SessionRunHook]:
        """Returns the broadcast of what the adapter's own broadcast leaves out."""
        if self.rank.rank_size == 1:
            return []
        hooks: List[tf.train.SessionRunHook] = [StateBroadcastHook(self.bridge)]
        if self._is_split_refused:
            hooks.append(SplitHook(self._set_split))
        return hooks

    def build_train_estimator(self, model_fn: Callable[..., Any]) -> tf.estimator.Estimator:
        """Returns the estimator of this rank; only rank 0 gets a directory that it may use."""
        run_config = build_train_run_config(
            self.config,
            self.bridge,
            model_dir=self.config.output_dir if self.saves else self.unused_directory,
            saves=self.saves,
            # Each rank drops other elements; initial values are those of rank 0 all the same.
            seed=self.config.random_seed + self.rank.rank_id,
        )
        estimator = self._build_estimator(model_fn, run_config)
        if self.saves:
            honour_keep_checkpoint_max(estimator, self.config.keep_checkpoint_max)
        return estimator

    def build_eval_estimator(self, model_fn: Callable[..., Any]) -> tf.estimator.Estimator:
        """Returns the estimator that evaluates, on this rank's device alone."""
        run_config = build_eval_run_config(self.config, self.bridge, self.config.output_dir)
        return self._build_estimator(model_fn, run_config)

    def _build_estimator(self, model_fn: Callable[..., Any], run_config: Any) -> Any:
        return self.bridge.estimator.NPUEstimator(
            model_fn=model_fn,
            config=run_config,
            job_start_file=self.config.ascend.job_start_file,
        )

    @property
    def _has_tailing(self) -> bool:
        return bool(dict(self.config.ascend.options).get("is_tailing_optimization"))

    def _check_tailing(self) -> None:
        if self._has_tailing and (self.rank.rank_size == 1 or self.config.loss_scale.mode == "off"):
            raise UsageError(
                "--npu_option is_tailing_optimization=true needs several ranks and a loss scale"
            )

    def _list_native_operators(self) -> List[str]:
        names = ["gelu"] if self.config.fused_gelu else []
        bert = self.config.bert
        if self.config.ascend.npu_dropout and (
            bert.hidden_dropout_prob or bert.attention_probs_dropout_prob
        ):
            names += ["drop_out_gen_mask", "drop_out_do_mask"]
        return names

    def _export_environment(self) -> None:
        if os.environ.pop("TF_CONFIG", None) is not None:
            # The adapter takes it for a cluster of parameter servers and refuses to train.
            tf.logging.warning("TF_CONFIG is left out: on Ascend the rank table names the ranks")
        os.environ.update(self._variables)

    def _drop(self, x: tf.Tensor, rate: float) -> tf.Tensor:
        return self.bridge.ops.dropout(x, keep_prob=1.0 - rate) if rate else x

    def _split_gradients(self, variable_names: Sequence[str]) -> None:
        """Tells HCCL the segments; every rank does, as all must send the same ones."""
        if self.rank.rank_size == 1:
            return
        self._split_indices = build_split_indices(variable_names)
        tf.logging.info(
            "gradient split: %d gradients, last ones of the segments %s",
            len(variable_names),
            self._split_indices,
        )
        try:
            self._set_split()
        except (ValueError, RuntimeError) as error:
            # Documents want this after communication was set up, the field does it before.
            tf.logging.warning("HCCL does not take the gradient split yet: %s", error)
            self._is_split_refused = True

    def _set_split(self) -> None:
        self.bridge.split.set_split_strategy_by_idx(self._split_indices)
