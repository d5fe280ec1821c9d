"""The benchmark harness: launches trainers, reads their logs, judges and shows the numbers.

This package never imports TensorFlow, the NPU bridge or the trainer. Everything after the launch is
a pure function of files, so results can be rebuilt and compared on any machine.
"""

__version__ = "0.1.0"
