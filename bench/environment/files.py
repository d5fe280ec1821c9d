"""Hashes of what the run reads: data and model configuration.

Hashing must not cost more than a moment, so data is identified by the first of these that is to be
had, and the method stands beside the hash:

- ``manifest``: hash of ``manifest.json``, which the data tools write, and of names and sizes;
- ``contents``: hash of all record files, for up to 256 MiB;
- ``sizes``: hash of names and sizes alone. Equal hashes then do not prove equal contents.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional

from bench.environment.ascend import read_once
from bench.environment.sources import AbsentFactError, Facts, Subject, take

MANIFEST_NAME = "manifest.json"
MAX_HASHED_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20


def collect_files(subject: Subject) -> Facts:
    """Identity and size of the inputs."""
    data = read_once(lambda: describe_data(subject.data))

    def config() -> str:
        if subject.model_config is None:
            raise AbsentFactError("no model configuration file is used")
        return hash_files([Path(subject.model_config)])

    return {
        "data_sha256": take(lambda: data()["sha256"]),
        "data_hash_method": take(lambda: data()["method"]),
        "data_files": take(lambda: data()["files"]),
        "data_bytes": take(lambda: data()["bytes"]),
        "model_config_sha256": take(config),
    }


def describe_data(folder: Optional[str]) -> Dict[str, Any]:
    """Hash, method, number and bytes of the record files below a folder.

    Raises:
        AbsentFactError: there is no such folder or nothing in it.
    """
    if folder is None:
        raise AbsentFactError("the run reads no data")
    root = Path(folder)
    try:
        records = sorted(path for path in root.rglob("*.tfrecord*") if path.is_file())
        sizes = [path.stat().st_size for path in records]
    except OSError as error:
        raise AbsentFactError(f"{folder}: {error.strerror}") from error
    if not records:
        raise AbsentFactError(f"{folder} holds no *.tfrecord file")
    manifests = [path for path in (root / MANIFEST_NAME,) if path.is_file()]
    if manifests:
        sizes_digest = _hash_sizes(root, records, sizes)
        digest = hashlib.sha256(f"{hash_files(manifests)} {sizes_digest}".encode()).hexdigest()
        method = "manifest"
    elif sum(sizes) <= MAX_HASHED_BYTES:
        method, digest = "contents", hash_files(records)
    else:
        method, digest = "sizes", _hash_sizes(root, records, sizes)
    return {"sha256": digest, "method": method, "files": len(records), "bytes": sum(sizes)}


def hash_files(paths: Iterable[Path]) -> str:
    """Hash of the contents of files, one after the other.

    Raises:
        AbsentFactError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as stream:
                for chunk in iter(partial(stream.read, _CHUNK_BYTES), b""):
                    digest.update(chunk)
        except OSError as error:
            raise AbsentFactError(f"{path}: {error.strerror}") from error
    return digest.hexdigest()


def _hash_sizes(root: Path, records: List[Path], sizes: List[int]) -> str:
    digest = hashlib.sha256()
    for path, size in zip(records, sizes):
        digest.update(f"{size}  {path.relative_to(root).as_posix()}\n".encode())
    return digest.hexdigest()
