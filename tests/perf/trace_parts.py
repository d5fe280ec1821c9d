"""Adds up the operators of a traced training step by part of the model."""

from __future__ import annotations

from typing import Any, Dict

# The first that a name begins with decides; names of gradients have lost their prefix.
_PARTS = (
    ("cls/predictions/transform", "masked-word transform"),
    ("cls/predictions", "vocabulary head"),
    ("cls/", "next-sentence head"),
    ("bert/embeddings", "embeddings"),
    ("bert/", "encoder and pooler"),
    ("AdamWeightDecayOptimizer", "optimiser"),
    ("LambOptimizer", "optimiser"),
    ("global_norm", "optimiser"),
    ("Iterator", "input"),
    ("OneShotIterator", "input"),
)
_PREFIXES = ("gradients/", "_retval_", "ConstantFolding/", "ArithmeticOptimizer/")
PARTS = (
    "vocabulary head",
    "masked-word transform",
    "next-sentence head",
    "encoder and pooler",
    "embeddings",
    "optimiser",
    "input",
    "other",
)


def find_part(name: str) -> str:
    """Returns the part that an operator of this name belongs to."""
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            name = name[len(prefix) :]
    # The sum of both gradients of the word table is the last of these.
    if name.startswith("AddN"):
        return "other"
    for beginning, part in _PARTS:
        if name.startswith(beginning):
            return part
    # What stands between gradients and update: clipping, learning rate, loss scale.
    if name.startswith(("mul", "clip", "Mul", "IsFinite", "truediv", "Maximum")):
        return "optimiser"
    return "other"


def sum_parts(step_stats: Any) -> Dict[str, float]:
    """Returns part → seconds of a StepStats, added up over all threads."""
    seconds = dict.fromkeys(PARTS, 0.0)
    for device in step_stats.dev_stats:
        for node in device.node_stats:
            micros = node.op_end_rel_micros - node.op_start_rel_micros
            seconds[find_part(node.node_name)] += micros * 1e-6
    return seconds
