"""Shows records as tokens, and checks whole directories of them.

    python -m bert.data.inspect FILE --vocab_file vocab.txt          shows the first records
    python -m bert.data.inspect DIRECTORY --vocab_file vocab.txt     checks every record

A check reads everything: framing and checksums, features and their lengths, padding, positions, ids
within the vocabulary; and it measures what a wrong preparation gets wrong: the share of masked
tokens, how they were replaced, the balance of the next-sentence labels, how full sequences are.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from bert.data.commands import ArgumentParser, run_command
from bert.data.examples import parse_example
from bert.data.record_files import find_record_files
from bert.data.records import iterate_intact_records, iterate_records
from bert.data.schema import (
    INPUT_IDS,
    INPUT_MASK,
    MASKED_LM_IDS,
    MASKED_LM_POSITIONS,
    MASKED_LM_WEIGHTS,
    NEXT_SENTENCE_LABELS,
    PRETRAINING_FEATURES,
    SEGMENT_IDS,
)
from bert.data.vocabulary import MASK, Vocabulary, read_vocabulary
from bert.errors import DataError, UsageError

# Problems shown; one wrong flag makes one problem per record.
_SHOWN_PROBLEMS = 10


class RecordSet(NamedTuple):
    """What a check has found.

    Attributes:
        files: number of files.
        records: intact records.
        seq_length: S of all records, 0 if there is none.
        max_predictions: P of all records.
        sums: tokens, masked, unmasked_records, random_next; with a vocabulary became_mask, kept.
        highest_id: the largest token id.
        problems: what is wrong, with file and record or offset.
    """

    files: int
    records: int
    seq_length: int
    max_predictions: int
    sums: Dict[str, int]
    highest_id: int
    problems: List[str]


def check_record_files(files: Sequence[str], vocabulary: Optional[Vocabulary]) -> RecordSet:
    """Reads every record of every file.

    Raises:
        DataError: a file cannot be read at all.
    """
    sums: Counter[str] = Counter()
    problems: List[str] = []
    lengths: Optional[Tuple[int, int]] = None
    n_records = highest_id = 0
    for path in files:
        damage: List[Tuple[int, str]] = []
        for i, payload in enumerate(iterate_intact_records(path, damage)):
            n_records += 1
            try:
                example = _parse_record(payload)
            except DataError as error:
                problems.append(f"{path}: record {i}: {error}")
                continue
            found = len(example[INPUT_IDS]), len(example[MASKED_LM_IDS])
            lengths = lengths or found
            for problem in _find_problems(example, lengths, vocabulary):
                problems.append(f"{path}: record {i}: {problem}")
            highest_id = max(highest_id, int(example[INPUT_IDS].max(initial=0)))
            _add_sums(sums, example, vocabulary)
        problems.extend(f"{path}: {reason} at byte offset {at}" for at, reason in damage)
    seq_length, max_predictions = lengths or (0, 0)
    return RecordSet(
        len(files), n_records, seq_length, max_predictions, dict(sums), highest_id, problems
    )


def render_record_set(found: RecordSet) -> str:
    """Returns a report of a check."""
    sums = found.sums
    lines = [f"{found.records} records in {found.files} file(s)"]
    if found.records and sums.get("tokens"):
        share = sums["masked"] / sums["tokens"]
        lines += [
            f"sequence length {found.seq_length}, filled to "
            f"{sums['tokens'] / (found.records * found.seq_length):.1%} on average",
            f"predictions per sequence {found.max_predictions}, "
            f"{sums['masked'] / found.records:.2f} used on average, {share:.2%} of the tokens",
            f"records with nothing masked: {sums['unmasked_records']}",
            f"next-sentence labels: {sums['random_next'] / found.records:.2%} random",
            f"highest token id {found.highest_id}",
        ]
        if "became_mask" in sums:
            lines.append(
                f"masked tokens: {sums['became_mask'] / sums['masked']:.2%} became {MASK}, "
                f"{sums['kept'] / sums['masked']:.2%} kept (a random token may be the same)"
            )
    lines += [f"PROBLEM {problem}" for problem in found.problems[:_SHOWN_PROBLEMS]]
    if len(found.problems) > _SHOWN_PROBLEMS:
        lines.append(f"… and {len(found.problems) - _SHOWN_PROBLEMS} more problems")
    lines.append(f"{len(found.problems)} problem(s)" if found.problems else "no problems")
    return "\n".join(lines)


def render_record(example: Dict[str, np.ndarray], tokens: Sequence[str]) -> str:
    """Returns one record as text: tokens with their segments; masked ones as new←original."""
    originals = {
        int(position): int(label)
        for position, label, weight in zip(
            example[MASKED_LM_POSITIONS], example[MASKED_LM_IDS], example[MASKED_LM_WEIGHTS]
        )
        if weight > 0
    }
    segments: Dict[int, List[str]] = {0: [], 1: []}
    for place in range(int(example[INPUT_MASK].sum())):
        text = _name_token(int(example[INPUT_IDS][place]), tokens)
        if place in originals:
            text = f"{text}←{_name_token(originals[place], tokens)}"
        segments[int(example[SEGMENT_IDS][place])].append(text)
    label = "random" if example[NEXT_SENTENCE_LABELS][0] else "next"
    return f"A: {' '.join(segments[0])}\nB ({label}): {' '.join(segments[1])}"


def _parse_record(payload: bytes) -> Dict[str, np.ndarray]:
    example = parse_example(payload)
    for feature in PRETRAINING_FEATURES:
        if feature.name not in example:
            raise DataError(f"no feature {feature.name}")
        if (example[feature.name].dtype == np.float32) != feature.is_float:
            raise DataError(f"feature {feature.name} has values of the wrong type")
    return example


def _find_problems(
    example: Dict[str, np.ndarray], lengths: Tuple[int, int], vocabulary: Optional[Vocabulary]
) -> Iterator[str]:
    """Yields what is wrong with one record."""
    for feature in PRETRAINING_FEATURES:
        wanted = feature.length(*lengths)
        if len(example[feature.name]) != wanted:
            yield f"{feature.name} has {len(example[feature.name])} values, not {wanted}"
            return
    mask, ids = example[INPUT_MASK], example[INPUT_IDS]
    n_tokens = int(mask.sum())
    if not np.array_equal(mask, np.arange(len(mask)) < n_tokens):
        yield "input_mask is not ones followed by zeros"
    if ids[n_tokens:].any():
        yield "input_ids are not 0 where input_mask is"
    if not set(np.unique(example[SEGMENT_IDS])) <= {0, 1}:
        yield "segment_ids are not 0 and 1"
    if example[NEXT_SENTENCE_LABELS][0] not in (0, 1):
        yield "next_sentence_labels is not 0 or 1"
    used = example[MASKED_LM_WEIGHTS] > 0
    if example[MASKED_LM_POSITIONS][used].max(initial=0) >= n_tokens:
        yield "a masked position is beyond the sequence"
    if example[MASKED_LM_IDS][~used].any() or example[MASKED_LM_POSITIONS][~used].any():
        yield "unused predictions are not 0"
    highest = max(ids.max(initial=0), example[MASKED_LM_IDS].max(initial=0))
    if vocabulary is not None and highest >= vocabulary.size:
        yield f"token id {highest} is beyond the vocabulary of {vocabulary.size}"


def _add_sums(
    sums: Counter[str], example: Dict[str, np.ndarray], vocabulary: Optional[Vocabulary]
) -> None:
    used = example[MASKED_LM_WEIGHTS] > 0
    sums["tokens"] += int(example[INPUT_MASK].sum())
    sums["masked"] += int(used.sum())
    sums["unmasked_records"] += int(not used.any())
    sums["random_next"] += int(example[NEXT_SENTENCE_LABELS][:1].sum())
    if vocabulary is not None and MASK in vocabulary.ids:
        at = np.minimum(example[MASKED_LM_POSITIONS][used], len(example[INPUT_IDS]) - 1)
        now = example[INPUT_IDS][at]
        sums["became_mask"] += int((now == vocabulary.ids[MASK]).sum())
        sums["kept"] += int((now == example[MASKED_LM_IDS][used]).sum())


def _name_token(token_id: int, tokens: Sequence[str]) -> str:
    return tokens[token_id] if token_id < len(tokens) else str(token_id)


def _list_tokens(vocabulary: Optional[Vocabulary]) -> List[str]:
    if vocabulary is None:
        return []
    tokens = [""] * vocabulary.size
    for token, token_id in vocabulary.ids.items():
        tokens[token_id] = token
    return tokens


def main(arguments: List[str]) -> int:
    """Shows or checks; exit code 65 if a check finds problems."""
    parser = ArgumentParser(prog="python -m bert.data.inspect", description=__doc__.split("\n")[0])
    parser.add_argument("path", help="a TFRecord file, or a directory of them to check")
    parser.add_argument("--vocab_file", help="vocabulary, to show tokens and check ids")
    parser.add_argument("--count", type=int, default=3, help="records of a file to show")
    parser.add_boolean("check", False, "check a file too, as a directory is checked")
    flags = parser.parse_args(arguments)
    if flags.count < 0:
        raise UsageError(f"count must not be negative: {flags.count}")
    vocabulary = read_vocabulary(flags.vocab_file) if flags.vocab_file else None
    if not os.path.isdir(flags.path) and not flags.check:
        tokens = _list_tokens(vocabulary)
        for i, payload in enumerate(iterate_records(flags.path)):
            if i == flags.count:
                break
            print(f"record {i}\n{render_record(_parse_record(payload), tokens)}\n")
        return 0
    files = find_record_files(flags.path) if os.path.isdir(flags.path) else [flags.path]
    found = check_record_files(files, vocabulary)
    print(render_record_set(found))
    return DataError.exit_code if found.problems else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
