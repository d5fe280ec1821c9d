"""How a container starts so that it gets a host's devices, driver and folders; pure but for reads.

Standard library only: a host without the harness's dependencies can run it from a checkout.
"""
