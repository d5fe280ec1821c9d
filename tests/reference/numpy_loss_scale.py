"""Loss scaling of mixed-precision training (arXiv:1710.03740, section 3.2) in plain Python.

Both kinds are values: `updated` returns the scale that the next step uses.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FLOAT32_MAX = 3.4028234663852886e38


@dataclass(frozen=True)
class StaticLossScale:
    """A scale that no overflow changes."""

    scale: float

    def updated(self, finite: bool) -> StaticLossScale:
        """Returns itself."""
        del finite
        return self


@dataclass(frozen=True)
class DynamicLossScale:
    """A scale that grows after many finite steps, and shrinks after a few others.

    A finite step does not forgive an earlier overflow: `bad_steps` is cleared only by a change of
    the scale; an overflow does start the count of good steps anew.

    Attributes:
        scale: multiplies the loss.
        growth_interval: finite steps in a row before the scale grows.
        shrink_interval: overflows before it shrinks.
        growth_ratio: factor of a growth, which is left out where it would pass float32.
        shrink_ratio: factor of a shrinkage, never below a scale of 1.
        good_steps: finite steps since the last change or overflow.
        bad_steps: overflows since the last change.
    """

    scale: float = 65536.0
    growth_interval: int = 1000
    shrink_interval: int = 2
    growth_ratio: float = 2.0
    shrink_ratio: float = 0.5
    good_steps: int = 0
    bad_steps: int = 0

    def updated(self, finite: bool) -> DynamicLossScale:
        """The scale after one step, given whether all its gradients were finite."""
        if finite:
            if self.good_steps + 1 < self.growth_interval:
                return replace(self, good_steps=self.good_steps + 1)
            grown = self.scale * self.growth_ratio
            scale = grown if grown < FLOAT32_MAX else self.scale
            return replace(self, scale=scale, good_steps=0, bad_steps=0)
        if self.bad_steps + 1 < self.shrink_interval:
            return replace(self, good_steps=0, bad_steps=self.bad_steps + 1)
        scale = max(1.0, self.scale * self.shrink_ratio)
        return replace(self, scale=scale, good_steps=0, bad_steps=0)
