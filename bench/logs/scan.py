"""Reads one line of a log: what it means, whatever else was torn or glued into it.

This is the only place that gives meaning to a line. ``bench.logs.bulk`` reads undamaged lines of
the common shapes faster, and a test holds it to what this module says of them.
"""

from __future__ import annotations

from typing import Iterator, List, NamedTuple, Tuple

from bench.logs import patterns
from bench.logs.clock import NO_STAMP, parse_stamp

# The form of the prefix that a record stands behind.
BARE, LOGGER, ABSL, NATIVE = 0, 1, 2, 3
NO_THREAD = -1
LABEL, STRAY_VALUE = "label", "stray value"
MAX_TEXT = 500
MAX_LINE_BYTES = 65_536


class Token(NamedTuple):
    """A record found in a line.

    Attributes:
        kind: the table that takes it, or ``LABEL`` or ``STRAY_VALUE`` for the halves of a loss
            scale that stand apart.
        begin, end: its bytes in the line.
        form: the prefix right before it; a record elsewhere in a message has none.
        thread: thread id of that prefix, or ``NO_THREAD``.
        stamp: packed time of that prefix, or ``NO_STAMP``.
        values: the columns of the kind.
    """

    kind: str
    begin: int
    end: int
    form: int
    thread: int
    stamp: int
    values: patterns.Values


class Message(NamedTuple):
    """A stretch of a line from one prefix to the next."""

    begin: int
    end: int
    form: int
    severity: str
    thread: int
    stamp: int


class Finding(NamedTuple):
    """A problem of a line: its kind as in ``bench.logs.problems``, the text, and how often."""

    kind: str
    text: str
    n: int = 1


class Part(NamedTuple):
    """A line, or a stretch of it between carriage returns, and what it says."""

    line_number: int
    data: bytes
    tokens: List[Token]
    findings: List[Finding]


def scan_parts(line_number: int, line: bytes, terminated: bool = True) -> Iterator[Part]:
    """Reads a line in which carriage returns end lines that count as the same.

    Args:
        line_number: its number in the log.
        line: bytes without the line end.
        terminated: whether the line's end was seen.
    """
    returns = line.count(b"\r")
    if returns:
        finding = Finding("carriage_return", render_excerpt(line), returns)
        yield Part(line_number, b"", [], [finding])
    pieces = line.split(b"\r") if returns else [line]
    for i, piece in enumerate(pieces):
        is_whole = terminated or i < len(pieces) - 1
        if len(piece) > MAX_LINE_BYTES:
            piece = piece[:MAX_LINE_BYTES]
            yield Part(line_number, b"", [], [Finding("overlong_line", render_excerpt(piece))])
            is_whole = False
        yield Part(line_number, piece, *scan_line(piece, is_whole))


def render_excerpt(line: bytes) -> str:
    """The first part of a line as text."""
    return patterns.decode_text(line[:MAX_TEXT])


def scan_line(line: bytes, terminated: bool = True) -> Tuple[List[Token], List[Finding]]:
    """Finds all records in a line.

    Args:
        line: bytes without line ends.
        terminated: whether the line's end was seen. A number at the end of a line that was not
            finished may have been cut, so its record is not taken.

    Returns:
        The records in their order, and the problems as (kind, text).
    """
    problems: List[Finding] = []
    messages = split_messages(line)
    tokens: List[Token] = []
    for message in messages:
        found = _find_records(line, message)
        if message.begin and message is messages[0]:
            _add_notice(line, message, found)
        tokens.extend(found)
    if b"[" in line:
        _add_stray_values(line, tokens)
    if not terminated:
        tokens = _drop_cut_record(line, tokens)
    if _is_torn(line, messages, tokens):
        problems.append(Finding("torn_line", render_excerpt(line)))
    if len(tokens) > 1 or (tokens and len(messages) > 1):
        problems.append(Finding("merged_lines", render_excerpt(line)))
    for token in tokens:
        if token.kind in patterns.OPEN_ENDED and patterns.NON_FINITE.search(
            line, token.begin, token.end
        ):
            record = line[token.begin : token.end]
            problems.append(Finding("non_finite", render_excerpt(record)))
        if token.kind == LABEL:
            problems.append(Finding("split_loss_scale", render_excerpt(line)))
    if not is_utf8(line):
        problems.append(Finding("invalid_utf8", render_excerpt(line)))
    return tokens, problems


def is_utf8(line: bytes) -> bool:
    """Whether the bytes are valid UTF-8."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def split_messages(line: bytes) -> List[Message]:
    """Cuts a line at each prefix; what stands before the first has the form ``BARE``."""
    messages: List[Message] = []
    begin = position = 0
    form, severity, thread, stamp = BARE, "", NO_THREAD, NO_STAMP
    match = patterns.HEADER.match(line)
    while True:
        if match is None and patterns.HEADER_HINT.search(line, position):
            match = patterns.HEADER.search(line, position)
        if match is None:
            messages.append(Message(begin, len(line), form, severity, thread, stamp))
            return messages
        if match.start() > begin:
            messages.append(Message(begin, match.start(), form, severity, thread, stamp))
        begin = position = match.end()
        letter, date, identity, _, year, native_date, native_letter, logger = match.groups()
        thread, stamp = NO_THREAD, NO_STAMP
        if letter is not None:
            form, severity = ABSL, letter.decode()
            thread, stamp = int(identity), parse_stamp(date)
        elif year is not None:
            form, severity = NATIVE, native_letter.decode()
            stamp = parse_stamp(native_date)
        else:
            form, severity = LOGGER, patterns.LOGGER_SEVERITY.get(logger, "I")
        match = None


def _find_records(line: bytes, message: Message) -> List[Token]:
    """Finds the records of one message, without overlaps: the first wins, then the longest."""
    found: List[Token] = []
    begin, end = message.begin, message.end
    for shape in patterns.SHAPES:
        if line.find(shape.trigger, begin, end) < 0:
            continue
        if shape.at_start:
            first = shape.pattern.match(line, begin, end)
            matches = [first] if first else []
        else:
            matches = list(shape.pattern.finditer(line, begin, end))
        for match in matches:
            values = shape.build(match)
            if values is not None:
                found.append(_make_token(shape.kind, match.start(), match.end(), values, message))
    if line.find(patterns.LOSS_SCALE_LABEL, begin, end) >= 0:
        for match in patterns.LOSS_SCALE_RECORD.finditer(line, begin, end):
            value = match.group(1) or match.group(2)
            kind = LABEL if value is None else "loss_scales"
            values = () if value is None else (float(value), True)
            found.append(_make_token(kind, match.start(), match.end(), values, message))
    if len(found) < 2:
        return found
    found.sort(key=lambda token: (token.begin, -token.end))
    kept = found[:1]
    for token in found[1:]:
        if token.begin >= kept[-1].end:
            kept.append(token)
    return kept


def _make_token(
    kind: str, begin: int, end: int, values: patterns.Values, message: Message
) -> Token:
    # A prefix and its message are one write; only what starts the message surely belongs to it.
    if begin == message.begin:
        return Token(kind, begin, end, message.form, message.thread, message.stamp, values)
    return Token(kind, begin, end, BARE, NO_THREAD, NO_STAMP, values)


def _add_notice(line: bytes, message: Message, found: List[Token]) -> None:
    """Adds a warning or error that starts the line and is no record by itself."""
    if message.severity not in ("W", "E", "F") or (found and found[0].begin == message.begin):
        return
    end = found[0].begin if found else message.end
    text = patterns.decode_text(line[message.begin : end]).strip()[:MAX_TEXT]
    if text:
        values = (message.severity, text)
        found.insert(0, _make_token("notices", message.begin, end, values, message))


def _add_stray_values(line: bytes, tokens: List[Token]) -> None:
    """Adds loss-scale values that lost their label."""
    begins = {token.begin for token in tokens}
    ends = [0] + [token.end for token in tokens]
    for end in ends:
        while end not in begins:
            match = patterns.LOSS_SCALE_VALUE.match(line, end)
            if match is None:
                break
            values = (float(match.group(1)), False)
            tokens.append(Token(STRAY_VALUE, end, match.end(), BARE, NO_THREAD, NO_STAMP, values))
            end = match.end()
    tokens.sort(key=lambda token: token.begin)


def _drop_cut_record(line: bytes, tokens: List[Token]) -> List[Token]:
    """Leaves out a last record that may have gone on: only a bracket surely closes one."""
    if not tokens or line[tokens[-1].end - 1 : tokens[-1].end] in (b")", b"]"):
        return tokens
    return tokens[:-1] if tokens[-1].kind in patterns.OPEN_ENDED else tokens


def _is_torn(line: bytes, messages: List[Message], tokens: List[Token]) -> bool:
    """Whether the line holds a piece of a prefix or of a record."""
    if messages[0].begin == 0 and patterns.TORN_START.match(line):
        return True
    if any(token.kind == "losses" and line.startswith(b" (", token.end) for token in tokens):
        return True
    for label in patterns.LABELS:
        position = line.find(label)
        while position >= 0:
            if not any(token.begin <= position < token.end for token in tokens):
                return not patterns.LONE_TAG.match(line, messages[0].begin)
            position = line.find(label, position + 1)
    return False
