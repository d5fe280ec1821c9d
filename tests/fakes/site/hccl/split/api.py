"""In which segments gradients are sent."""

import os

from npu_bridge._native import communication, record

from hccl._checks import WORLD_GROUP, check_group

_MOST_SEGMENTS = 8
_UINT32_MAX = 2**32 - 1


def set_split_strategy_by_idx(idxList, group=WORLD_GROUP):
    """Splits by the index of the last gradient of every segment."""
    check_group(group)
    if not isinstance(idxList, list) or not idxList:
        raise ValueError(f"idxList must be a non-empty list, not {idxList!r}")
    for index in idxList:
        if not isinstance(index, int) or not 0 <= index <= _UINT32_MAX:
            raise ValueError(f"index {index!r} is no unsigned 32-bit int")
    if any(a >= b for a, b in zip(idxList, idxList[1:])):
        raise ValueError(f"indices must ascend strictly: {idxList}")
    _check_native(len(idxList))
    record.write("set_split_strategy_by_idx", indices=idxList, group=group)


def set_split_strategy_by_size(dataSizeList, group=WORLD_GROUP):
    """Splits by shares of the data in percent."""
    check_group(group)
    if not isinstance(dataSizeList, list) or not dataSizeList:
        raise ValueError(f"dataSizeList must be a non-empty list, not {dataSizeList!r}")
    for size in dataSizeList:
        if not isinstance(size, (int, float)) or size < 0:
            raise ValueError(f"size {size!r} is no number from 0 on")
    if sum(dataSizeList) != 100:
        raise ValueError(f"sizes must sum up to 100, not {sum(dataSizeList)}")
    _check_native(len(dataSizeList))
    record.write("set_split_strategy_by_size", sizes=dataSizeList, group=group)


def _check_native(n_segments):
    if n_segments > _MOST_SEGMENTS:
        raise ValueError(f"{n_segments} segments; the most is {_MOST_SEGMENTS}")
    if os.getenv("FAKE_HCCL_LATE_SPLIT") and not communication.is_connected():
        raise ValueError("communication is not set up yet")
