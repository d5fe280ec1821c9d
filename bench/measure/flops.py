"""Model FLOPs of BERT and NEZHA pre-training, and how much of a card's peak they use.

Counted are the multiply-adds of the matrix products that the model needs, two operations each, and
nothing that an implementation adds to them: no recomputation, no embedding look-ups (also where
they are done as one-hot products), no soft-max, normalisation, activation, dropout or optimiser.
These are "model FLOPs" as in the PaLM paper (Chowdhery et al. 2022, appendix B); their share of the
peak is the model FLOPs utilisation, MFU. The shapes are those of BERT (Devlin et al. 2018) and
NEZHA (Wei et al. 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Optional

BACKWARD_FACTOR = 2.0
"""A product Y = X W costs as much again for the gradient of X and once more for that of W."""

ASCEND_910_SOURCE = (
    "Huawei, launch of the Ascend 910 on 23 August 2019: 256 TFLOPS at half precision (FP16)"
)
TERA = 1e12


@dataclass(frozen=True)
class ModelFlops:
    """FLOPs of one sequence, by part, forward only unless named otherwise.

    Attributes:
        projections: query, key, value and output of all layers.
        attention: scores and their product with the values, all layers.
        relative_positions: NEZHA's products with the relative-position vectors, all layers.
        feed_forward: the two dense layers of all layers.
        pooler: dense layer on the first token.
        mlm_head: transform and vocabulary projection of the masked positions.
        nsp_head: two-way classifier.
    """

    projections: float
    attention: float
    relative_positions: float
    feed_forward: float
    pooler: float
    mlm_head: float
    nsp_head: float

    @property
    def forward(self) -> float:
        """All of the forward pass."""
        return self._trained + self.relative_positions

    @property
    def training(self) -> float:
        """Forward and backward.

        The relative-position vectors are constants: their products need no gradient for one side,
        so the backward pass costs as much as the forward pass and not twice as much.
        """
        return (1.0 + BACKWARD_FACTOR) * self._trained + 2.0 * self.relative_positions

    @property
    def _trained(self) -> float:
        return (
            self.projections
            + self.attention
            + self.feed_forward
            + self.pooler
            + self.mlm_head
            + self.nsp_head
        )


@dataclass(frozen=True)
class PeakFlops:
    """Peak of a card.

    Attributes:
        per_second: FLOP/s; None when not known.
        source: who states it.
        reason: why it is not known.
    """

    per_second: Optional[float]
    source: Optional[str] = None
    reason: Optional[str] = None


def count_model_flops(config: Mapping[str, Any], seq_length: int, n_predictions: int) -> ModelFlops:
    """FLOPs of one sequence of pre-training.

    With S tokens, H hidden size, I intermediate size, L layers, P masked positions, V vocabulary,
    a product of [m, k] and [k, n] being 2 m k n: projections 8 S H² L, attention 4 S² H L, relative
    positions 4 S² H L, feed-forward 4 S H I L, pooler 2 H², MLM head 2 P H² + 2 P H V, NSP head
    4 H. Padding tokens are computed like others and counted.

    Args:
        config: standard BERT configuration; ``use_relative_position`` makes it NEZHA.
        seq_length: S.
        n_predictions: P, masked positions per sequence, padded ones included.

    Raises:
        KeyError: the configuration lacks a size.
    """
    s, p = float(seq_length), float(n_predictions)
    h, i = float(config["hidden_size"]), float(config["intermediate_size"])
    layers, vocabulary = float(config["num_hidden_layers"]), float(config["vocab_size"])
    attention = 4.0 * s * s * h * layers
    return ModelFlops(
        projections=8.0 * s * h * h * layers,
        attention=attention,
        relative_positions=attention if config.get("use_relative_position") else 0.0,
        feed_forward=4.0 * s * h * i * layers,
        pooler=2.0 * h * h,
        mlm_head=2.0 * p * h * h + 2.0 * p * h * vocabulary,
        nsp_head=4.0 * h,
    )


def find_peak_flops(card: Optional[str], precision: str) -> PeakFlops:
    """The published peak of a card at a precision.

    Args:
        card: name of the processor as the driver gives it, for example ``"910A"`` or
            ``"Ascend910A"``; None if not known.
        precision: ``"fp16"`` or ``"mixed"`` for half-precision products, else another name.
    """
    if not card:
        return PeakFlops(None, reason="the card is not known")
    name = card.strip().lower().replace("ascend", "").replace("-", "").replace(" ", "")
    if name not in ("910", "910a"):
        detail = {
            "910b": "the name stands for two generations of chips with different peaks",
            "910proa": "no figure of its own was published",
            "910prob": "no figure of its own was published",
            "910premiuma": "no figure of its own was published",
        }.get(name, "no published figure is on file")
        return PeakFlops(None, reason=f"peak of {card}: {detail}; state it yourself")
    if precision not in ("fp16", "mixed"):
        return PeakFlops(None, reason=f"peak of {card} is published for fp16, not for {precision}")
    return PeakFlops(256.0 * TERA, ASCEND_910_SOURCE)


def compute_utilisation(
    sequences_per_second_per_card: float, flops: ModelFlops, peak: PeakFlops
) -> Optional[float]:
    """Model FLOPs per second of a card as a share of its peak; None where the peak is not known.

    Args:
        sequences_per_second_per_card: measured.
        flops: of one sequence.
        peak: of one card.
    """
    if not peak.per_second:
        return None
    return sequences_per_second_per_card * flops.training / peak.per_second
