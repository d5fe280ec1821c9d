"""Writes the sample data sets of the downstream tasks, in their published formats.

    python -m bert.downstream.samples.generate --output_dir DIR

The shipped files are those of this command, byte for byte.
"""

from __future__ import annotations

import json
import os
import sys
from random import Random
from typing import Any, Callable, Dict, List, Optional, Sequence, Set

from bert.data.atomic import atomic_directory
from bert.data.commands import ArgumentParser, run_command
from bert.downstream.samples import sentences
from bert.errors import UsageError

# Raise it when the files change.
SAMPLES_VERSION = 1
_CLASSIFIER_ROWS = {"train": 480, "dev": 120, "test": 120}
_NER_SENTENCES = {"train": 300, "dev": 80, "test": 80}
_PASSAGES = {"train": 140, "dev": 40, "test": 40}
_VERSIONS = {"cmrc": "v1.0", "squad_v1": "1.1", "squad_v2": "v2.0"}
_XNLI_LABELS = ("contradiction", "entailment", "neutral")
_XNLI_HEADER = (
    "language gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse "
    "sentence2_parse sentence1 sentence2 promptID pairID genre label1 label2 label3 label4 label5 "
    "sentence1_tokenized sentence2_tokenized match"
).split()


def build_samples() -> Dict[str, str]:
    """Returns file name → content of all samples."""
    files: Dict[str, str] = {}
    # No example occurs twice, be it in one split or in two.
    seen: Set[Any] = set()
    for split in ("train", "dev", "test"):
        files.update(_build_xnli(split, seen))
        files.update(_build_lcqmc(split, seen))
        files.update(_build_chnsenti(split, seen))
        files.update(_build_generic(split, seen))
        files.update(_build_ner(split, seen))
        files.update(_build_reading(split, seen))
    return files


def _open_rng(task: str, split: str) -> Random:
    return Random(f"{SAMPLES_VERSION}/{task}/{split}")


def _draw_distinct(n: int, draw: Callable[[int], Any], seen: Set[Any]) -> List[Any]:
    """Returns `n` results of `draw(index)` that were not seen before, and notes them as seen."""
    found: List[Any] = []
    while len(found) < n:
        item = draw(len(found))
        if item not in seen:
            seen.add(item)
            found.append(item)
    return found


def _render_table(rows: Sequence[Sequence[str]], header: Optional[Sequence[str]] = None) -> str:
    lines = [header, *rows] if header else rows
    return "".join("\t".join(fields) + "\n" for fields in lines)


def _build_xnli(split: str, seen: Set[Any]) -> Dict[str, str]:
    rng = _open_rng("xnli", split)

    def draw(index: int) -> Any:
        label = _XNLI_LABELS[index % 3]
        return (*sentences.write_inference(rng, label, split != "train"), label)

    rows = _draw_distinct(_CLASSIFIER_ROWS[split], draw, seen)
    if split == "train":
        # The published training file names this one label otherwise than the other two.
        names = {"contradiction": "contradictory"}
        table = [(a, b, names.get(label, label)) for a, b, label in rows]
        name = "xnli/multinli/multinli.train.zh.tsv"
        return {name: _render_table(table, ("premise", "hypo", "label"))}
    lines = []
    for i, (premise, hypothesis, label) in enumerate(rows):
        # Development and test files hold one row per language.
        for language, texts in (
            ("en", (f"made-up premise {i} .", f"made-up hypothesis {i} .")),
            ("zh", (premise, hypothesis)),
        ):
            fields = dict.fromkeys(_XNLI_HEADER, "")
            fields.update(language=language, gold_label=label, genre="made-up", match="True")
            fields.update(sentence1=texts[0], sentence2=texts[1])
            fields.update(promptID=str(i), pairID=str(i))
            fields.update({f"label{n}": label for n in range(1, 6)})
            fields.update(
                sentence1_tokenized=" ".join(texts[0]), sentence2_tokenized=" ".join(texts[1])
            )
            lines.append([fields[name] for name in _XNLI_HEADER])
    return {f"xnli/xnli.{split}.tsv": _render_table(lines, _XNLI_HEADER)}


def _build_lcqmc(split: str, seen: Set[Any]) -> Dict[str, str]:
    rng = _open_rng("lcqmc", split)

    def draw(index: int) -> Any:
        label = str(index % 2)
        return (*sentences.write_question_pair(rng, label, split != "train"), label)

    rows = _draw_distinct(_CLASSIFIER_ROWS[split], draw, seen)
    return {f"lcqmc/{split}.tsv": _render_table(rows, ("text_a", "text_b", "label"))}


def _build_chnsenti(split: str, seen: Set[Any]) -> Dict[str, str]:
    rng = _open_rng("chnsenti", split)

    def draw(index: int) -> Any:
        return str(index % 2), sentences.write_review(rng, str(index % 2))

    rows = _draw_distinct(_CLASSIFIER_ROWS[split], draw, seen)
    name = f"chnsenti/{split}.tsv"
    if split == "train":
        return {name: _render_table(rows, ("label", "text_a"))}
    numbered = [(str(i), *row) for i, row in enumerate(rows)]
    return {name: _render_table(numbered, ("qid", "label", "text_a"))}


def _build_generic(split: str, seen: Set[Any]) -> Dict[str, str]:
    rng = _open_rng("generic", split)

    def draw(index: int) -> Any:
        label = sentences.TOPIC_LABELS[index % 3]
        return sentences.write_topic(rng, label, split != "train"), label

    rows = _draw_distinct(_CLASSIFIER_ROWS[split], draw, seen)
    records = [{"text_a": text, "label": label} for text, label in rows]
    lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in records]
    return {f"generic/{split}.jsonl": "".join(lines)}


def _build_ner(split: str, seen: Set[Any]) -> Dict[str, str]:
    rng = _open_rng("ner", split)

    def draw(index: int) -> Any:
        return tuple(sentences.write_tagged_sentence(rng, split != "train"))

    tagged = _draw_distinct(_NER_SENTENCES[split], draw, seen)
    blocks = ["".join(f"{char} {tag}\n" for char, tag in sentence) for sentence in tagged]
    return {f"ner/{split}.txt": "\n".join(blocks)}


def _build_reading(split: str, seen: Set[Any]) -> Dict[str, str]:
    return {
        f"cmrc/cmrc2018_{split}.json": _render_articles("cmrc", split, seen),
        f"squad_v1/{split}-v1.1.json": _render_articles("squad_v1", split, seen),
        f"squad_v2/{split}-v2.0.json": _render_articles("squad_v2", split, seen),
    }


def _render_articles(task: str, split: str, seen: Set[Any]) -> str:
    """Returns a data set in SQuAD's form, one article per line."""
    rng = _open_rng(task, split)
    is_version_2 = task == "squad_v2"

    def draw(index: int) -> Any:
        leaves_out = is_version_2 and index % 2 == 0
        passage = sentences.write_passage(rng, split != "train", leaves_out)
        return passage.context, tuple(passage.questions)

    # Published development sets have three answers of different people to a question.
    n_answers = 1 if split == "train" else 3
    articles = []
    for i, (context, questions) in enumerate(_draw_distinct(_PASSAGES[split], draw, seen)):
        name = f"{split.upper()}_{i}"
        entries = []
        for n, (question, answer) in enumerate(questions):
            start = context.find(answer)
            answers = [{"text": answer, "answer_start": start}] * n_answers if answer else []
            entry: Dict[str, Any] = {"id": f"{name}_QUERY_{n}", "question": question}
            if is_version_2:
                entry["is_impossible"] = not answer
            entry["answers"] = answers
            entries.append(entry)
        paragraph = {"id": name, "context": context, "qas": entries}
        articles.append({"title": f"made-up {i}", "id": name, "paragraphs": [paragraph]})
    lines = ",\n".join(json.dumps(article, ensure_ascii=False) for article in articles)
    return f'{{"version": "{_VERSIONS[task]}", "data": [\n{lines}\n]}}\n'


def main(arguments: List[str]) -> int:
    """Writes all samples into a new directory."""
    parser = ArgumentParser(
        prog="python -m bert.downstream.samples.generate", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--output_dir", required=True, help="directory to make")
    output = parser.parse_args(arguments).output_dir
    if os.path.lexists(output):
        raise UsageError(f"{output} is there already; remove it or name another")
    with atomic_directory(output) as directory:
        for name, content in build_samples().items():
            path = os.path.join(directory, *name.split("/"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8", newline="\n") as stream:
                stream.write(content)
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
