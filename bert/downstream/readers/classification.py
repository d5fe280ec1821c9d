"""Texts and their classes: XNLI, LCQMC, ChnSentiCorp, and tables of one's own.

Tables are tab-separated without any quoting, as these data sets are published: a quotation mark is
a character of the text. Columns are found by the names in the header; files without a header are
taken by position where the data set is published so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

from bert.downstream.datasets import CLASSIFIER, GENERIC, Dataset, get_dataset
from bert.downstream.examples import ClassificationExample
from bert.downstream.labels import LabelMap
from bert.downstream.readers.json_files import check_encodable
from bert.downstream.readers.lines import get_file_stem, iterate_numbered_lines
from bert.errors import DataError, UsageError, render_suggestion

XNLI_LANGUAGE = "zh"


@dataclass(frozen=True)
class TextColumns:
    """Names of the columns (TSV) or keys (JSON lines) of a table of one's own.

    Attributes:
        text_a: of the text, or the first of a pair.
        text_b: of the second of a pair; None for single texts.
        label: of the class.
    """

    text_a: str = "text_a"
    text_b: Optional[str] = None
    label: str = "label"


@dataclass(frozen=True)
class _Form:
    """How a published table looks.

    Attributes:
        text_a, text_b, label: names that each column has in one of the published versions;
            text_b is empty for single texts.
        positions: number of columns → indices of (text_a, text_b, label) in a file without header.
        unlabelled: the same for files without labels.
        aliases: label as it stands in a file → its name.
        language: column that must hold XNLI_LANGUAGE, if it is there.
    """

    text_a: Tuple[str, ...]
    text_b: Tuple[str, ...]
    label: Tuple[str, ...]
    positions: Dict[int, Tuple[int, int, int]]
    unlabelled: Dict[int, Tuple[int, int, int]]
    aliases: Dict[str, str]
    language: str = ""


_FORMS: Dict[str, _Form] = {
    "xnli": _Form(
        ("sentence1", "premise", "text_a"),
        ("sentence2", "hypo", "hypothesis", "text_b"),
        ("gold_label", "label"),
        {3: (0, 1, 2)},
        {2: (0, 1, -1), 3: (0, 1, -1)},
        {"contradictory": "contradiction"},
        "language",
    ),
    "lcqmc": _Form(
        ("text_a", "sentence1", "question1"),
        ("text_b", "sentence2", "question2"),
        ("label",),
        {3: (0, 1, 2)},
        {2: (0, 1, -1), 3: (0, 1, -1)},
        {},
    ),
    "chnsenti": _Form(
        ("text_a", "text", "review", "sentence"),
        (),
        ("label",),
        {2: (1, -1, 0)},
        {1: (0, -1, -1), 2: (1, -1, -1)},
        {},
    ),
}


def read_classification(
    task: str,
    path: str,
    has_labels: bool,
    columns: Optional[TextColumns] = None,
    labels: Optional[LabelMap] = None,
) -> List[ClassificationExample]:
    """Reads a file of a classification task.

    Args:
        task: xnli, lcqmc, chnsenti, or generic for a TSV file with header or a JSON-lines file
            (told by the ending .jsonl or .json).
        path: the file.
        has_labels: whether every example must have a label; otherwise labels are not looked at.
        columns: names of the columns, for generic only.
        labels: the labels that may occur; None for those of the task, or any if it has none.

    Returns:
        At least one example, in the order of the file. Blank lines are left out, as are the other
        languages of XNLI.

    Raises:
        DataError: the file is unreadable, empty, not UTF-8, lacks a column, or a row of it has too
            many or too few columns, no text, or an unknown label.
        UsageError: the task is no classification task, or columns are given for a published form.
    """
    dataset = get_dataset(task)
    if dataset.kind != CLASSIFIER:
        raise UsageError(f"{dataset.name} is not a task of classification")
    if columns is not None and dataset.name != GENERIC:
        raise UsageError(f"the columns of {dataset.name} are known; name columns for {GENERIC}")
    if labels is None and dataset.labels:
        labels = LabelMap(dataset.labels)
    if dataset.name == GENERIC:
        names = columns or TextColumns()
        is_json = path.lower().endswith((".jsonl", ".json"))
        rows = _read_json_rows(path, names) if is_json else _read_generic_table(path, names)
    else:
        rows = _read_published_table(dataset, path, has_labels)
    stem = get_file_stem(path)
    examples = []
    for row in rows:
        label = _check_row(row, path, has_labels, labels)
        guid = f"{stem}-{row.line}"
        examples.append(
            ClassificationExample(guid, row.text_a, row.text_b, label, f"{path}:{row.line}")
        )
    if not examples:
        raise DataError(f"{path} has no examples; one per line is wanted")
    return examples


@dataclass(frozen=True)
class _Row:
    """One row as it stands in the file; `label` is None where the file has none."""

    line: int
    text_a: str
    text_b: Optional[str]
    label: Optional[str]


def _check_row(row: _Row, path: str, has_labels: bool, labels: Optional[LabelMap]) -> Optional[str]:
    """Returns the label of a row, or None where labels are not asked for."""
    source = f"{path}:{row.line}"
    if not row.text_a.strip() and not (row.text_b or "").strip():
        raise DataError(f"{source}: the row has no text; fill or remove it")
    if not has_labels:
        return None
    if not row.label:
        raise DataError(
            f"{source}: the row has no label; add it, or use the file for prediction only"
        )
    if labels is not None:
        labels.get_id(row.label, source)
    return row.label


def _read_published_table(dataset: Dataset, path: str, has_labels: bool) -> Iterator[_Row]:
    form = _FORMS[dataset.name]
    rows = _iterate_rows(path)
    first = next(rows, None)
    if first is None:
        return
    line, fields = first
    places = _find_by_name(form, fields, f"{path}:{line}", has_labels)
    if places is None:
        places = _find_by_position(dataset, form, fields, f"{path}:{line}", has_labels)
        rows = _prepend(first, rows)
    n_columns = len(fields)
    language = fields.index(form.language) if form.language in fields else -1
    text_a, text_b, label = places
    n_left_out = n_taken = 0
    for line, fields in rows:
        _check_width(fields, n_columns, f"{path}:{line}")
        if language >= 0 and fields[language] != XNLI_LANGUAGE:
            n_left_out += 1
            continue
        n_taken += 1
        name = fields[label].strip() if label >= 0 else None
        yield _Row(
            line,
            fields[text_a],
            fields[text_b] if text_b >= 0 else None,
            form.aliases.get(name, name) if name else None,
        )
    if n_left_out and not n_taken:
        raise DataError(f"{path} has no row whose {form.language} is {XNLI_LANGUAGE}")


def _find_by_name(
    form: _Form, header: Sequence[str], source: str, has_labels: bool
) -> Optional[Tuple[int, int, int]]:
    """Returns the places of (text_a, text_b, label) by the header; None if it is not one.

    A first line is a header as soon as one of its fields is the name of a column.
    """
    names = [name.strip() for name in header]
    known = {*form.text_a, *form.text_b, *form.label, "qid"}
    if not known.intersection(names):
        return None
    places = []
    for wanted, is_needed in ((form.text_a, True), (form.text_b, True), (form.label, has_labels)):
        found = [names.index(name) for name in wanted if name in names]
        if not found and wanted and is_needed:
            raise DataError(
                f"{source}: no column {' or '.join(wanted)} among {', '.join(names)}; "
                "name it so in the header"
            )
        places.append(found[0] if found else -1)
    return places[0], places[1], places[2]


def _find_by_position(
    dataset: Dataset, form: _Form, fields: Sequence[str], source: str, has_labels: bool
) -> Tuple[int, int, int]:
    """Returns the places of (text_a, text_b, label) in a file whose first line is a row."""
    known = form.positions if has_labels else form.unlabelled
    places = known.get(len(fields))
    if places is None:
        wanted = " ".join(names[0] for names in (form.text_a, form.text_b, form.label) if names)
        raise DataError(
            f"{source}: neither a header nor a row of {dataset.name}: {len(fields)} columns; "
            f"tab-separated columns with the header {wanted} are wanted"
        )
    return places


def _read_generic_table(path: str, columns: TextColumns) -> Iterator[_Row]:
    rows = _iterate_rows(path)
    first = next(rows, None)
    if first is None:
        return
    line, header = first
    places: List[int] = []
    for name, flag in _list_columns(columns):
        if name in header:
            places.append(header.index(name))
        elif flag == "label":
            places.append(-1)
        else:
            raise DataError(
                f"{path}:{line}: no column {name!r}{render_suggestion(name, header)} in the header "
                f"{', '.join(header)}; name it with --{flag}, tab-separated columns are wanted"
            )
    for line, fields in rows:
        _check_width(fields, len(header), f"{path}:{line}")
        values = dict(zip((flag for _, flag in _list_columns(columns)), places))
        label = values["label"]
        yield _Row(
            line,
            fields[values["text_a"]],
            fields[values["text_b"]] if "text_b" in values else None,
            fields[label].strip() if label >= 0 else None,
        )


def _list_columns(columns: TextColumns) -> List[Tuple[str, str]]:
    """Returns (name, flag) of the columns that are asked for."""
    pairs = [(columns.text_a, "text_a"), (columns.text_b, "text_b"), (columns.label, "label")]
    return [(name, flag) for name, flag in pairs if name is not None]


def _read_json_rows(path: str, columns: TextColumns) -> Iterator[_Row]:
    for line, text in iterate_numbered_lines(path):
        if not text.strip():
            continue
        source = f"{path}:{line}"
        try:
            content: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"{source}: not JSON ({error}); one object per line is wanted"
            ) from error
        if not isinstance(content, dict):
            raise DataError(f"{source}: not a JSON object; one object per line is wanted")
        values: Dict[str, Optional[str]] = {"text_b": None}
        for name, flag in _list_columns(columns):
            if name not in content and flag != "label":
                raise DataError(
                    f"{source}: no key {name!r}{render_suggestion(name, content)}; name it with "
                    f"--{flag}"
                )
            values[flag] = _get_json_text(content.get(name), name, flag, source)
        yield _Row(line, values["text_a"] or "", values["text_b"], values["label"])


def _get_json_text(value: Any, name: str, flag: str, source: str) -> Optional[str]:
    """Returns a JSON string, or of a label also a whole number or truth value, as text."""
    if value is None and flag == "label":
        return None
    if flag == "label" and isinstance(value, (bool, int)):
        return json.dumps(value)
    if not isinstance(value, str):
        raise DataError(f"{source}: {name!r} is not a string; write it in quotation marks")
    check_encodable(value, source)
    if flag != "label":
        return value
    value = value.strip()
    if "\t" in value or len(value.splitlines()) > 1:
        # It names a column of the predictions, which are a table.
        raise DataError(f"{source}: {name!r} has a tab or line break; remove it")
    return value


def _iterate_rows(path: str) -> Iterator[Tuple[int, List[str]]]:
    """Yields (line, fields) of the lines that are not blank."""
    for line, text in iterate_numbered_lines(path):
        if text.strip():
            yield line, text.split("\t")


def _prepend(
    first: Tuple[int, List[str]], rest: Iterator[Tuple[int, List[str]]]
) -> Iterator[Tuple[int, List[str]]]:
    yield first
    yield from rest


def _check_width(fields: Sequence[str], n_columns: int, source: str) -> None:
    if len(fields) != n_columns:
        cause = "a tab within a text?" if len(fields) > n_columns else "a tab is missing?"
        raise DataError(
            f"{source}: {len(fields)} columns where the first line has {n_columns} ({cause}); "
            "correct the line"
        )
