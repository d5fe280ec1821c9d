"""Makes the parts of a corpus, in this process or in several, with bounded memory."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Callable, Iterable, List, NamedTuple, Optional, Sequence, Set

from bert.data.blocks import InstanceOptions
from bert.data.library_tokenizer import build_encoder
from bert.data.masking import MaskingTable, build_masking_table
from bert.data.parts import Part, build_part_stem, read_part, write_part
from bert.data.tokenization import TokenizerOptions
from bert.data.vocabulary import read_vocabulary
from bert.errors import InternalError, OutputError

# Blocks of text that wait, per worker; more would only fill the memory.
_BLOCKS_AHEAD = 1
_PARENT_CHECK_SECONDS = 0.25


class PartSettings(NamedTuple):
    """What every worker needs.

    Attributes:
        vocab_file: path of the vocabulary.
        tokenizer: see TokenizerOptions.
        use_library: tokenize by the library where it is proven equal.
        instances: see InstanceOptions.
        directory: working directory of the parts.
    """

    vocab_file: str
    tokenizer: TokenizerOptions
    use_library: bool
    instances: InstanceOptions
    directory: str


class _Worker:
    """Makes parts; one per process."""

    def __init__(self, settings: PartSettings) -> None:
        vocabulary = read_vocabulary(settings.vocab_file)
        self._encode = build_encoder(vocabulary, settings.tokenizer, settings.use_library)
        self._table: MaskingTable = build_masking_table(vocabulary.ids, size=vocabulary.size)
        self._instances = settings.instances

    def make(self, stem: str, block: int, documents: Sequence[Sequence[str]]) -> Part:
        try:
            return write_part(stem, block, documents, self._encode, self._table, self._instances)
        except OSError as error:
            raise OutputError(
                f"cannot write {stem}.*: {error.strerror or error}; the working directory needs "
                "about as much room as the output"
            ) from error


def make_parts(
    blocks: Iterable[Sequence[Sequence[str]]],
    settings: PartSettings,
    identity: str,
    n_workers: int,
    report: Callable[[Part], None],
) -> List[Part]:
    """Makes the part of every block, unless a run before has made it.

    Args:
        blocks: documents of each block.
        settings: see PartSettings.
        identity: text that stands for everything but the block's text that parts depend on.
        n_workers: processes; with 1, or when there is only one block, this one does it.
        report: called with each part that is there, as soon as it is.

    Returns:
        The parts in the order of the blocks, whatever order they were made in.
    """
    parts: List[Part] = []
    todo = _iterate_missing(blocks, settings.directory, identity, parts, report)
    first = next(todo, None)
    if first is None:
        return sorted(parts)
    second = next(todo, None) if n_workers > 1 else None
    if second is None:
        worker = _Worker(settings)
        while first is not None:
            parts.append(worker.make(*first))
            report(parts[-1])
            first = next(todo, None)
    else:
        with _Pool(settings, n_workers) as pool:
            for task in _chain(first, second, todo):
                for part in pool.submit(*task):
                    parts.append(part)
                    report(part)
            for part in pool.drain():
                parts.append(part)
                report(part)
    return sorted(parts)  # stems carry the block's number


def _iterate_missing(blocks, directory, identity, parts, report):
    for block, documents in enumerate(blocks):
        stem = build_part_stem(directory, block, documents, identity)
        part = read_part(stem)
        if part is None:
            yield stem, block, documents
        else:
            parts.append(part)
            report(part)


def _chain(first, second, rest):
    yield first
    yield second
    yield from rest


class _Pool:
    """A process pool that takes few tasks ahead and leaves no process behind."""

    def __init__(self, settings: PartSettings, n_workers: int) -> None:
        self._limit = n_workers * (1 + _BLOCKS_AHEAD)
        self._pending: Set[Future] = set()
        self._executor = ProcessPoolExecutor(
            n_workers,
            # Not fork: the parent may have threads, and a fork of those can hang.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(settings, os.getpid()),
        )

    def __enter__(self) -> _Pool:
        return self

    def submit(self, stem: str, block: int, documents: Sequence[Sequence[str]]) -> List[Part]:
        """Hands a block in; waits while too many are in; returns parts that got done."""
        done = self._collect() if len(self._pending) >= self._limit else []
        self._pending.add(self._executor.submit(_make_part, stem, block, documents))
        return done

    def drain(self) -> List[Part]:
        """Waits for all; returns the parts."""
        done: List[Part] = []
        while self._pending:
            done.extend(self._collect())
        return done

    def __exit__(self, kind: Optional[type], *_: object) -> None:
        if kind is not None:
            for future in self._pending:
                future.cancel()
            for process in multiprocessing.active_children():
                process.terminate()
        self._executor.shutdown(wait=True)

    def _collect(self) -> List[Part]:
        done, self._pending = wait(self._pending, return_when=FIRST_COMPLETED)
        try:
            return [future.result() for future in done]
        except BrokenProcessPool as error:
            raise InternalError(
                "a worker process died, possibly for lack of memory; run again to resume, with "
                "fewer --workers or smaller --block_chars"
            ) from error


_worker: Optional[_Worker] = None


def _start_worker(settings: PartSettings, parent: int) -> None:
    global _worker
    # An interrupt from the terminal reaches everybody; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    _worker = _Worker(settings)


def _leave_with(parent: int) -> None:
    # A killed parent cannot tell its workers, and their queue does not end by itself.
    while os.getppid() == parent:
        time.sleep(_PARENT_CHECK_SECONDS)
    os._exit(1)


def _make_part(stem: str, block: int, documents: Sequence[Sequence[str]]) -> Part:
    assert _worker is not None
    return _worker.make(stem, block, documents)
