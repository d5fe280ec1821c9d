"""Scores of sequence labelling: of whole entities as conlleval counts them, and of single tokens.

conlleval is the scorer of the CoNLL-2000 and 2003 shared tasks (Tjong Kim Sang); an entity is right
if its type, its first and its last token are. Its rules also say what a broken sequence means: an
inside tag after O, or after another type, begins an entity.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from bert.downstream.labels import OUTSIDE

# BMES and BILOU have other letters for the middle, the last and the only token of an entity.
_CANONICAL_PREFIXES = {"M": "I", "L": "E", "U": "S"}


class Entity(NamedTuple):
    """An entity of one sentence: tokens `start` to `end`, both included."""

    kind: str
    start: int
    end: int


def find_entities(tags: Sequence[str]) -> List[Entity]:
    """Returns the entities of one sentence, in order.

    An entity begins at B and S, at any tag of another type than the tag before, and at any tag
    after O, E or S. It ends before the next one begins, before O, and with E and S. M, L and U are
    taken for I, E and S.

    Args:
        tags: O or `prefix-type`.
    """
    found: List[Entity] = []
    kind: Optional[str] = None  # of the entity that is open
    start = 0
    for i, tag in enumerate(tags):
        prefix, own_kind = _split_tag(tag)
        if kind is not None and (own_kind != kind or prefix in "BS"):
            found.append(Entity(kind, start, i - 1))
            kind = None
        if own_kind is None:
            continue
        if kind is None:
            kind, start = own_kind, i
        if prefix in "ES":
            found.append(Entity(kind, start, i))
            kind = None
    if kind is not None:
        found.append(Entity(kind, start, len(tags) - 1))
    return found


def _split_tag(tag: str) -> Tuple[str, Optional[str]]:
    """Returns prefix and type; the type of O is None."""
    if tag == OUTSIDE:
        return OUTSIDE, None
    prefix, _, kind = tag.partition("-")
    return _CANONICAL_PREFIXES.get(prefix, prefix), kind


def compute_entity_metrics(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> Dict[str, object]:
    """Computes the scores of a sequence labeller.

    Args:
        references: right tags of every sentence.
        predictions: predicted tags, as many for each sentence.

    Returns:
        precision, recall, f1: of entities, over all types together.
        token_precision, token_recall, token_f1: see `compute_token_metrics`.
        token_accuracy: share of tokens with the right tag, O included.
        reference_entities, predicted_entities, right_entities: counts.
        sentences: how many there were.
        types: type → its precision, recall, f1, reference_entities, predicted_entities and
            right_entities.

    Raises:
        ValueError: there are not as many tags in both.
    """
    _check_lengths(references, predictions)
    counts: Dict[str, List[int]] = {}
    for reference, prediction in zip(references, predictions):
        wanted, got = set(find_entities(reference)), set(find_entities(prediction))
        for column, entities in enumerate((wanted, got, wanted & got)):
            for entity in entities:
                counts.setdefault(entity.kind, [0, 0, 0])[column] += 1
    total = [sum(column) for column in zip(*counts.values())] or [0, 0, 0]
    metrics: Dict[str, object] = dict(_build_scores(*total))
    metrics.update(compute_token_metrics(references, predictions))
    metrics["sentences"] = len(references)
    metrics["types"] = {kind: _build_scores(*counts[kind]) for kind in sorted(counts)}
    return metrics


def compute_token_metrics(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> Dict[str, float]:
    """Computes the figures that the original trainer gives as eval_precision, eval_recall, eval_f.

    They count single tokens, not entities: precision is the share of right ones among tokens with
    a predicted tag other than O, recall among those with a right tag other than O. The original
    also counts padding that is predicted as part of an entity; here there are only real tokens.

    Args:
        references: right tags of every sentence.
        predictions: predicted tags, as many for each sentence.

    Raises:
        ValueError: there are not as many tags in both.
    """
    _check_lengths(references, predictions)
    n_wanted = n_got = n_right = n_equal = n_tokens = 0
    for reference, prediction in zip(references, predictions):
        for wanted, got in zip(reference, prediction):
            n_tokens += 1
            n_wanted += wanted != OUTSIDE
            n_got += got != OUTSIDE
            n_equal += wanted == got
            n_right += wanted == got != OUTSIDE
    precision, recall, f1 = compute_precision_recall_f1(n_wanted, n_got, n_right)
    return {
        "token_precision": precision,
        "token_recall": recall,
        "token_f1": f1,
        "token_accuracy": n_equal / n_tokens if n_tokens else 0.0,
    }


def compute_precision_recall_f1(
    n_wanted: int, n_got: int, n_right: int
) -> Tuple[float, float, float]:
    """Returns right/got, right/wanted and their harmonic mean; a quotient by nothing is 0."""
    precision = n_right / n_got if n_got else 0.0
    recall = n_right / n_wanted if n_wanted else 0.0
    f1 = 2.0 * precision * recall / (precision + recall) if n_right else 0.0
    return precision, recall, f1


def _build_scores(n_wanted: int, n_got: int, n_right: int) -> Dict[str, float]:
    precision, recall, f1 = compute_precision_recall_f1(n_wanted, n_got, n_right)
    return {
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "reference_entities": n_wanted,
        "predicted_entities": n_got,
        "right_entities": n_right,
    }


def _check_lengths(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> None:
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} sentences but {len(predictions)} predictions")
    for i, (reference, prediction) in enumerate(zip(references, predictions)):
        if len(reference) != len(prediction):
            raise ValueError(
                f"sentence {i} has {len(reference)} tags but {len(prediction)} predicted ones"
            )
