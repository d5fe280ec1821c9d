"""Text files: names from patterns, plain or compressed, read line by line, hashed on the way.

A line ends with a line feed only; carriage returns are dropped wherever they are, and bytes that
are not UTF-8 are an error: that is how the reference implementation's file reader takes text.
"""

from __future__ import annotations

import codecs
import contextlib
import glob
import gzip
import hashlib
import io
import os
import zlib
from typing import IO, Any, Callable, Dict, Iterator, List, Sequence

from bert.errors import DataError

READ_BYTES = 1 << 20
# No sentence is that long; a file without line feeds must not fill the memory.
MAX_LINE_CHARS = 1 << 26
_TEXT_SUFFIXES = (".txt", ".txt.gz", ".txt.zst")
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def find_text_files(patterns: Sequence[str]) -> List[str]:
    """Expands file names, glob patterns and directories (their *.txt, *.txt.gz, *.txt.zst).

    The order is that of the patterns; what one pattern gives is sorted by name.

    Raises:
        DataError: a pattern gives no file.
    """
    files: List[str] = []
    for pattern in patterns:
        if os.path.isdir(pattern):
            names = sorted(os.listdir(pattern))
            found = [os.path.join(pattern, n) for n in names if n.endswith(_TEXT_SUFFIXES)]
        else:
            # A name that is there is meant as it stands, whatever characters it has.
            found = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))
            found = [path for path in found if not os.path.isdir(path)]
        if not found:
            raise DataError(f"no input file matches {pattern}; name files, patterns or directories")
        files.extend(found)
    return files


class TextReader:
    """Reads several files as one text.

    Attributes:
        files: per file read to its end: path, bytes and sha256 of the file as it is on disk.
        n_bytes: bytes read so far, as on disk.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)
        self.files: List[Dict[str, Any]] = []
        self.n_bytes = 0

    def iterate_lines(self) -> Iterator[str]:
        """Yields lines without their line feed; the end of a file ends a line.

        Raises:
            DataError: a file is unreadable, damaged, not UTF-8, or has a line without end.
        """
        for path in self.paths:
            yield from self._iterate_file_lines(path)

    def _iterate_file_lines(self, path: str) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")()
        digest = hashlib.sha256()
        size = n_lines = 0

        def note(data: bytes) -> None:
            nonlocal size
            digest.update(data)
            size += len(data)
            self.n_bytes += len(data)

        rest = ""
        with _mapped_errors(path), _open_bytes(path, note) as stream:
            while True:
                data = stream.read(READ_BYTES)
                try:
                    text = decoder.decode(data, final=not data)
                except UnicodeDecodeError as error:
                    line = n_lines + 1 + bytes(error.object[: error.start]).count(b"\n")
                    raise DataError(
                        f"{path}: line {line} is not UTF-8 ({error.reason}); convert the file, "
                        "for example with iconv"
                    ) from error
                lines = (rest + text.replace("\r", "")).split("\n")
                rest = lines.pop()
                n_lines += len(lines)
                yield from lines
                if not data:
                    break
                if len(rest) > MAX_LINE_CHARS:
                    raise DataError(
                        f"{path}: line {n_lines + 1} is longer than {MAX_LINE_CHARS} characters; "
                        "one sentence per line is wanted"
                    )
        if rest:
            yield rest
        self.files.append({"path": path, "bytes": size, "sha256": digest.hexdigest()})


def compute_sha256(path: str) -> str:
    """Returns the sha256 of a file.

    Raises:
        DataError: it cannot be read.
    """
    digest = hashlib.sha256()
    with _mapped_errors(path), open(path, "rb") as stream:
        for data in iter(lambda: stream.read(READ_BYTES), b""):
            digest.update(data)
    return digest.hexdigest()


class _NotingReader(io.RawIOBase):
    """A raw reader that shows every byte it gives to a function."""

    def __init__(self, stream: IO[bytes], note: Callable[[bytes], None]) -> None:
        super().__init__()
        self._stream = stream
        self._note = note

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        n = self._stream.readinto(buffer)  # type: ignore[attr-defined]
        self._note(bytes(memoryview(buffer)[:n]))
        return n


class _ZstdReader(io.RawIOBase):
    """Decompresses zstd frames; unlike the library's own reader it notices a cut file."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        # Only needed for such files, so that the rest works without the library.
        import zstandard

        self._library = zstandard
        self._stream = stream
        self._frame: Any = None
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._stream.read(READ_BYTES)
            if not data:
                if self._frame is not None:
                    raise EOFError
                return 0
            self._ready = memoryview(self._decompress(data))
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n

    def _decompress(self, data: bytes) -> bytes:
        pieces = []
        while data:
            if self._frame is None:
                self._frame = self._library.ZstdDecompressor().decompressobj()
            try:
                pieces.append(self._frame.decompress(data))
            except self._library.ZstdError:
                raise EOFError from None
            data = b""
            if self._frame.eof:
                data, self._frame = self._frame.unused_data, None
        return b"".join(pieces)


@contextlib.contextmanager
def _open_bytes(path: str, note: Callable[[bytes], None]) -> Iterator[IO[bytes]]:
    """Opens a file for reading, decompressed if its first bytes say that it is compressed."""
    with open(path, "rb", buffering=0) as raw:
        noting = io.BufferedReader(_NotingReader(raw, note), READ_BYTES)
        magic = noting.peek(4)[:4]
        if magic.startswith(_GZIP_MAGIC):
            with gzip.open(noting, "rb") as stream:
                yield stream
        elif magic == _ZSTD_MAGIC:
            yield io.BufferedReader(_ZstdReader(noting), READ_BYTES)
        else:
            yield noting


@contextlib.contextmanager
def _mapped_errors(path: str) -> Iterator[None]:
    """Turns the errors of reading one file into DataError, with its name."""
    try:
        yield
    except (EOFError, zlib.error):
        raise DataError(f"{path}: the compressed file is damaged or cut") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"cannot read {path}: {reason}") from error
    except ImportError as error:
        raise DataError(f"{path}: reading .zst needs the package zstandard") from error
