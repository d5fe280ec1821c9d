"""Which files of a directory are records, and which rank reads what of them."""

from __future__ import annotations

import os
from typing import List, NamedTuple, Sequence

from bert.data import records
from bert.data.examples import parse_example
from bert.data.schema import PRETRAINING_FEATURES
from bert.errors import DataError, UsageError

# The name that these tools give; other tools name their files freely (find_record_files).
RECORD_SUFFIX = ".tfrecord"
_NO_RECORD_SUFFIXES = (".txt", ".json", ".md", ".yaml", ".index", ".gz", ".zst")


class FileShare(NamedTuple):
    """One file as one rank reads it: every `n_shares`-th record, from record `share` on."""

    path: str
    n_shares: int
    share: int


def find_record_files(directories: str) -> List[str]:
    """Returns the record files of a comma-separated list of directories, sorted by name.

    Files named `*.tfrecord*` are taken; a directory without any gives all its files but hidden
    ones and texts, as data sets made by other tools name their files freely.

    Raises:
        DataError: a directory is absent, unreadable or without files.
    """
    files: List[str] = []
    for directory in filter(None, (name.strip() for name in directories.split(","))):
        if not os.path.isdir(directory):
            raise DataError(
                f"{directory} is not a directory; name the one that holds the *.tfrecord files"
            )
        try:
            names = sorted(name for name in os.listdir(directory) if not name.startswith("."))
        except OSError as error:
            raise DataError(f"cannot read {directory}: {error.strerror}") from error
        paths = [os.path.join(directory, name) for name in names]
        plain = [path for path in paths if os.path.isfile(path)]
        chosen = [path for path in plain if RECORD_SUFFIX in os.path.basename(path)]
        if not chosen:
            chosen = [path for path in plain if not path.endswith(_NO_RECORD_SUFFIXES)]
        if not chosen:
            raise DataError(f"{directory} holds no *.tfrecord file; make data with bert.data")
        files.extend(chosen)
    if not files:
        raise DataError("no data directory is given; name at least one")
    return sorted(files)


def build_file_shares(files: Sequence[str], rank: int, size: int) -> List[FileShare]:
    """Returns what rank `rank` of `size` reads: equal shares, disjoint, together everything.

    As many whole files as divide evenly among the ranks go by file; the rest (all of them when
    there are fewer files than ranks) are read by every rank, each taking its own records. The
    first record of a shared file falls to another rank in each file.

    Raises:
        UsageError: the rank is outside 0..size-1.
    """
    if not 0 <= rank < size:
        raise UsageError(f"rank {rank} is not within 0..{size - 1}")
    n_whole = len(files) // size * size
    shares = [FileShare(path, 1, 0) for path in files[rank:n_whole:size]]
    for i, path in enumerate(files[n_whole:]):
        shares.append(FileShare(path, size, (rank + i) % size))
    return shares


def render_shares(shares: Sequence[FileShare]) -> str:
    """Returns `directory/file:share/n_shares` of each, so that ranks can be held side by side."""
    words = []
    for path, n_shares, share in shares:
        directory, name = os.path.split(path)
        place = os.path.join(os.path.basename(directory), name).replace(" ", "_")
        words.append(f"{place}:{share}/{n_shares}")
    return " ".join(words)


def check_first_record(
    path: str, seq_length: int, max_predictions: int, tolerant: bool = False
) -> None:
    """Checks that the first record of a file has the features and lengths asked for.

    Args:
        path: a TFRecord file.
        seq_length: S.
        max_predictions: P.
        tolerant: take the first intact record, if any.

    Raises:
        DataError: it has not; the message says which and what to do.
        CorruptRecordError: the record is damaged; names file and offset.
    """
    reader = records.iterate_intact_records(path, []) if tolerant else records.iterate_records(path)
    payload = next(reader, None)
    if payload is None:
        return
    try:
        example = parse_example(payload)
    except DataError as error:
        raise DataError(f"{path}: the first record is {error}") from error
    for feature in PRETRAINING_FEATURES:
        wanted = feature.length(seq_length, max_predictions)
        if feature.name not in example:
            raise DataError(
                f"{path}: records have no feature {feature.name}; is it pre-training data?"
            )
        found = len(example[feature.name])
        if found != wanted:
            remedy = {
                "sequence": f"set --max_seq_length={found}",
                "predictions": f"set --max_predictions_per_seq={found}",
                "one": "make the file again",
            }[feature.size]
            raise DataError(
                f"{path}: feature {feature.name} has {found} values per record, not {wanted}; "
                f"{remedy}, or make data of that length"
            )


def check_share_holds_records(files: Sequence[str], rank: int, size: int) -> None:
    """Raises DataError if a rank would get no record at all."""
    for share in build_file_shares(files, rank, size):
        if records.count_records(share.path, at_most=share.share + 1) > share.share:
            return
    raise DataError(
        f"{len(files)} data file(s) hold too few records for {size} ranks: "
        f"rank {rank} would get none; make more data or use fewer ranks"
    )


def read_file_size_bytes(path: str) -> int:
    """Returns a file's size; raises DataError if it is not there."""
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
