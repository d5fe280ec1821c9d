"""What was found: the machine, its software, this checkout and what the run reads.

:func:`collect_environment` gives the facts that hold for a session, :func:`collect_state` those
that change while a machine works. Both return two mappings with plain JSON values::

    {"facts": {"kernel": "5.4.0", "npu_smi_version": null, ...},
     "absent": {"npu_smi_version": "npu-smi is not installed", ...}}

Every key of :data:`bench.environment.collect.PROBES` is in ``facts`` whatever happens, and the keys
of ``absent`` are exactly those whose fact is null.
"""

from bench.environment.collect import collect_environment, collect_state
from bench.environment.sources import Subject, World
from bench.environment.variables import redact_words

__all__ = ["Subject", "World", "collect_environment", "collect_state", "redact_words"]
