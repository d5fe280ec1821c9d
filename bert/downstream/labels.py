"""Labels and their ids: the same in every process, saved beside the model, checked when loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Tuple

from bert.data.atomic import atomic_file
from bert.errors import DataError, render_suggestion

LABEL_MAP_NAME = "label_map.json"
OUTSIDE = "O"
_SHOWN_LABELS = 12


@dataclass(frozen=True)
class LabelMap:
    """Labels in the order of their ids.

    Attributes:
        labels: all different, at least one; the id of a label is its index.
        ids: label → id.
    """

    labels: Tuple[str, ...]
    ids: Dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", {label: i for i, label in enumerate(self.labels)})
        if not self.labels or len(self.ids) != len(self.labels):
            raise DataError(f"labels must be there and all different: {list(self.labels)}")

    def __len__(self) -> int:
        return len(self.labels)

    def get_id(self, label: str, source: str) -> int:
        """Returns the id of a label.

        Args:
            label: the label.
            source: where it stands, for the message.

        Raises:
            DataError: the label is not one of the map.
        """
        try:
            return self.ids[label]
        except KeyError:
            raise DataError(
                f"{source}: unknown label {label!r}{render_suggestion(label, self.labels)}; the "
                f"labels are {render_labels(self.labels)}; correct the line, or train with data "
                "that have this label"
            ) from None


def render_labels(labels: Iterable[str]) -> str:
    """Returns labels as a list for a message, cut if it is long."""
    names = list(labels)
    shown = ", ".join(map(repr, names[:_SHOWN_LABELS]))
    return shown + (f" and {len(names) - _SHOWN_LABELS} more" if names[_SHOWN_LABELS:] else "")


def build_label_map(labels: Iterable[str]) -> LabelMap:
    """Builds the map of the classes found in training data.

    The order does not depend on that of the data: whole numbers by their value, then all other
    labels by code point.

    Raises:
        DataError: there are none.
    """
    return LabelMap(tuple(sorted(set(labels), key=_get_sort_key)))


def _get_sort_key(label: str) -> Tuple[int, int, str]:
    is_whole = label.isascii() and label.lstrip("-").isdigit() and label.rfind("-") <= 0
    return (0, int(label), label) if is_whole else (1, 0, label)


def build_tag_map(tags: Iterable[str]) -> LabelMap:
    """Builds the map of the tags found in training data for sequence labelling.

    O is first and always there; then come the types by code point, each with every prefix that
    any type has: if there is I-PER and B-LOC, then there are B-PER, I-PER, B-LOC and I-LOC, for a
    rare type need not show all its forms in training.

    Raises:
        DataError: a tag is neither O nor `prefix-type`.
    """
    prefixes, types = set(), set()
    for tag in set(tags):
        if tag == OUTSIDE:
            continue
        prefix, dash, kind = tag.partition("-")
        if not (prefix and dash and kind):
            raise DataError(f"the tag {tag!r} is neither {OUTSIDE} nor like B-PER")
        prefixes.add(prefix)
        types.add(kind)
    combined = [f"{prefix}-{kind}" for kind in sorted(types) for prefix in sorted(prefixes)]
    return LabelMap((OUTSIDE, *combined))


def write_label_map(path: str, label_map: LabelMap) -> None:
    """Writes a map as JSON: `{"labels": [...]}`, the index being the id.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_file(path, "w", encoding="utf-8") as stream:
        json.dump({"labels": list(label_map.labels)}, stream, ensure_ascii=False, indent=2)
        stream.write("\n")


def read_label_map(path: str) -> LabelMap:
    """Reads what `write_label_map` wrote.

    Raises:
        DataError: the file is absent or is not such a file.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            content: Any = json.load(stream)
    except OSError as error:
        raise DataError(
            f"cannot read the label map {path}: {error.strerror}; it is written by training, "
            "beside the checkpoints"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"the label map {path} is not JSON: {error}") from error
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError(f'the label map {path} is not of the form {{"labels": ["…", …]}}')
    try:
        return LabelMap(tuple(labels))
    except DataError as error:
        raise DataError(f"the label map {path}: {error}") from None


def check_label_map(found: LabelMap, expected: LabelMap, path: str) -> None:
    """Raises DataError unless a stored map is the one that task and data ask for.

    Args:
        found: the map read from `path`, with which the checkpoint was trained.
        expected: the map of the task or of the training data.
        path: for the message.
    """
    if found == expected:
        return
    missing = [label for label in expected.labels if label not in found.ids]
    extra = [label for label in found.labels if label not in expected.ids]
    parts: List[str] = []
    if missing:
        parts.append(f"it lacks {render_labels(missing)}")
    if extra:
        parts.append(f"it has {render_labels(extra)}")
    if not parts:
        parts.append("its order is another one")
    raise DataError(
        f"the label map {path} does not fit the data: {' and '.join(parts)}; use the data that the "
        "checkpoint was trained on, or another output directory"
    )
