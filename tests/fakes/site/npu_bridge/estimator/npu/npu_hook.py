"""Session hooks of the adapter."""

import tensorflow.compat.v1 as tf

from npu_bridge._native import communication, record
from npu_bridge.estimator.npu import util
from npu_bridge.hccl import hccl_ops


class NPUBroadcastGlobalVariablesHook(tf.train.SessionRunHook):
    """Gives every rank the trainable variables of the root; slots and counters stay."""

    def __init__(self, root_rank=None, index=None):
        self._root_rank = root_rank
        self._index = index

    def begin(self):
        """Builds the operation."""
        self._broadcast = broadcast_global_variables(self._root_rank, self._index)

    def after_create_session(self, session, coord):
        """Runs it."""
        tf.logging.info("NPUBroadcastGlobalVariablesHook run...")
        session.run(self._broadcast)


def broadcast_global_variables(root_rank, index):
    """Returns the operation that assigns the root's values to all trainable variables."""
    done = []
    for variable in tf.trainable_variables():
        outputs = hccl_ops.broadcast([variable], root_rank)
        done.append(tf.assign(variable, outputs[0]).op)
    return tf.group(*done)


class NPUCheckpointSaverHook(tf.train.CheckpointSaverHook):
    """Saves checkpoints; says the global step after every call."""

    def __init__(
        self,
        checkpoint_dir,
        save_secs=None,
        save_steps=None,
        saver=None,
        checkpoint_basename="model.ckpt",
        scaffold=None,
        listeners=None,
    ):
        record.write("NPUCheckpointSaverHook", save_steps=save_steps, save_secs=save_secs)
        super().__init__(
            checkpoint_dir,
            save_secs=save_secs,
            save_steps=save_steps,
            saver=saver,
            checkpoint_basename=checkpoint_basename,
            scaffold=scaffold,
            listeners=listeners,
        )

    def after_run(self, run_context, run_values):
        """Reads the step again, after the call."""
        step = run_context.session.run(self._global_step_tensor)
        tf.logging.info("global_step...%s", step)
        super().after_run(run_context, run_values)

    def end(self, session):
        """Saves the last step."""
        tf.logging.info("NPUCheckpointSaverHook end...")
        super().end(session)


class SetIterationsVarHook(tf.train.SessionRunHook):
    """Sets the length of the device-side loop."""

    def __init__(self, iterations_per_loop=None):
        self._iterations_per_loop = iterations_per_loop

    def begin(self):
        """Makes the variables of the loop."""
        self._variables = util.create_loop_variables()

    def after_create_session(self, session, coord):
        """Writes their values."""
        util.load_loop_variables(self._variables, session, self._iterations_per_loop)
        print("load iterations_per_loop value -----------")
        print(session.run(self._variables[0]))


class NPUOutputTensorHook(tf.train.LoggingTensorHook):
    """Hands tensors to a function every few calls."""

    def __init__(self, tensors, dependencies=None, output_fn=None, output_every_n_steps=0):
        if dependencies is not None:
            if not isinstance(dependencies, (list, tuple)):
                dependencies = [dependencies]
            with tf.control_dependencies(dependencies):
                tensors = {name: tf.identity(tensor) for name, tensor in tensors.items()}
        super().__init__(tensors, every_n_iter=1 << 31)
        self._output_fn = output_fn
        self._output_every_n_steps = output_every_n_steps
        self._outputs = []
        self._n_calls = 0

    def before_run(self, run_context):
        """Asks for the tensors in every call."""
        return tf.train.SessionRunArgs(self._current_tensors)

    def after_run(self, run_context, run_values):
        """Keeps them until it is time."""
        self._outputs.append({tag: run_values.results[tag] for tag in self._tag_order})
        self._n_calls += 1
        if self._n_calls % self._output_every_n_steps == 0:
            self._flush()

    def end(self, session):
        """Hands over what is left."""
        if self._outputs:
            self._flush()

    def _flush(self):
        self._output_fn(self._outputs)
        self._outputs = []


class LeaveTogetherHook(tf.train.SessionRunHook):
    """Keeps this process, which others may still be reading from, until all are done.

    On a device HCCL does this without a hook.
    """

    def begin(self):
        """Builds the barrier."""
        self._rounds = communication.build_barrier()

    def end(self, session):
        """Waits; who fails in the second round is late, and nobody waits for it."""
        if self._rounds is None:
            return
        session.run(self._rounds[0])
        try:
            session.run(self._rounds[1])
        except tf.errors.OpError as error:
            tf.logging.debug("a peer left first: %s", error.message)
