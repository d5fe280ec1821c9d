"""Stand-in for the TensorFlow adapter of CANN 20.2, on TensorFlow's CPU device.

See README.md beside `site/` for what it does, and for the variables that steer it.
"""

from npu_bridge._native import sessions

sessions.take_over()
