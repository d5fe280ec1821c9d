"""Where the vendor's tools lie, on hosts and in containers of several driver generations."""

from __future__ import annotations

import os
import shutil
from typing import Optional, Sequence

NPU_SMI_PATHS = (
    "/usr/local/bin/npu-smi",
    "/usr/local/sbin/npu-smi",
    "/usr/local/Ascend/driver/tools/npu-smi",
)
HCCN_TOOL_PATHS = (
    "/usr/local/Ascend/driver/tools/hccn_tool",
    "/usr/local/bin/hccn_tool",
    "/usr/local/sbin/hccn_tool",
)


def find_tool(paths: Sequence[str], root: str = "/") -> Optional[str]:
    """The first of the paths that is there, else what ``PATH`` has of the name.

    Args:
        paths: absolute, all with the same last part.
        root: folder that stands for ``/``; ``PATH`` counts for the real one only.
    """
    for path in paths:
        full = os.path.join(root, path.lstrip("/"))
        if os.path.isfile(full):
            return full
    return shutil.which(os.path.basename(paths[0])) if root == "/" else None
