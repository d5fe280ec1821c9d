"""How throughput grows with the number of cards."""

from __future__ import annotations

from typing import Dict, Mapping, Optional


def compute_scaling_efficiency(
    throughput: Mapping[int, Optional[float]],
) -> Dict[int, Optional[float]]:
    """Throughput per card relative to the smallest card count, weak scaling.

    ``efficiency(n) = (throughput(n) / n) / (throughput(m) / m)`` with m the smallest count that
    has a figure, so ``efficiency(m) = 1``.

    Args:
        throughput: card count → sequences per second of all cards, None where not measured.

    Returns:
        card count → ratio, None where not measured.
    """
    measured = {n: value for n, value in throughput.items() if value}
    if not measured:
        return dict.fromkeys(throughput)
    base = min(measured)
    per_card = measured[base] / base
    return {n: (measured[n] / n / per_card if n in measured else None) for n in throughput}
