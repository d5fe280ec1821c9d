"""Checks of arguments, and the variables of the device-side loop."""

import tensorflow.compat.v1 as tf

_SCOPE = "npu_runconfig"
LOOP_VARIABLES = ("iterations_per_loop", "loop_cond", "zero", "one")


def check_not_none(value, name):
    """Raises ValueError for None."""
    if value is None:
        raise ValueError(f"{name} must not be None")


def check_positive_integer(value, name):
    """Raises TypeError or ValueError unless `value` is an int from 1 on."""
    _check_integer(value, name)
    if value <= 0:
        raise ValueError(f"{name} must be positive, not {value}")


def check_nonnegative_integer(value, name):
    """Raises TypeError or ValueError unless `value` is an int from 0 on."""
    _check_integer(value, name)
    if value < 0:
        raise ValueError(f"{name} must not be negative, not {value}")


def check_bool_type(value, name):
    """Raises TypeError unless `value` is a bool."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {value!r}")


def _check_integer(value, name):
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")


def create_or_get_var(name):
    """Returns a variable of the loop: int64, local, so that no checkpoint has it."""
    graph = tf.get_default_graph()
    collection = f"{_SCOPE}_{name}"
    found = graph.get_collection(collection)
    if found:
        return found[0]
    with tf.variable_scope(_SCOPE, reuse=tf.AUTO_REUSE):
        return tf.get_variable(
            name,
            shape=[],
            dtype=tf.int64,
            initializer=tf.zeros_initializer(),
            trainable=False,
            collections=[collection, tf.GraphKeys.LOCAL_VARIABLES],
            use_resource=True,
        )


def create_loop_variables():
    """Returns all variables of the loop."""
    return [create_or_get_var(name) for name in LOOP_VARIABLES]


def load_loop_variables(variables, session, iterations_per_loop):
    """Writes the values that make the device take `iterations_per_loop` steps per call."""
    for variable, value in zip(variables, (iterations_per_loop - 1, 0, 0, 1)):
        variable.load(value, session=session)


def set_iteration_per_loop(sess, train_op, iterations_per_loop=1):
    """Returns a training operation that takes several steps per call."""
    _check_operation(train_op)
    check_positive_integer(iterations_per_loop, "iterations_per_loop")
    if iterations_per_loop == 1:
        return train_op
    load_loop_variables(create_loop_variables(), sess, iterations_per_loop)
    return tf.group(train_op, name="IterationOp")


class IterationPerLoop:
    """The same in two parts, for graphs that are finished before there is a session."""

    def create_iteration_per_loop_var(self, train_op):
        """Makes the variables; returns the training operation."""
        _check_operation(train_op)
        self._variables = create_loop_variables()
        return tf.group(train_op, name="IterationOp")

    def load_iteration_per_loop_var(self, sess, iterations_per_loop=1):
        """Writes their values."""
        check_positive_integer(iterations_per_loop, "iterations_per_loop")
        load_loop_variables(self._variables, sess, iterations_per_loop)


def _check_operation(train_op):
    if not isinstance(train_op, tf.Operation):
        raise ValueError(f"train_op must be an Operation, not {type(train_op).__name__}")
