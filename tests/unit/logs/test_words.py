"""Reading numbers eight bytes at a time, held to what Python reads."""

import re

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.logs.cursor import Cursor
from bench.logs.words import PAD_BYTES, Block

NUMBERS = st.one_of(
    st.floats(0, 1e9, width=32).map(lambda value: repr(value)[:15]),
    st.floats(0, 1e-4).map(lambda value: f"{value:.6g}"),
    st.integers(0, 10**16).map(str),
    st.text("0123456789./e-", max_size=18),
)
TAILS = st.sampled_from(["", " ", ",", "]", "\n", "\x00", "é", "x", "(", ":"])


def build_cursor(texts):
    """A cursor at the begin of each text."""
    data = b"".join(texts)
    lengths = np.array([len(text) for text in texts])
    ends = np.cumsum(lengths)
    columns = {"line": np.arange(len(texts)), "place": ends - lengths, "end": ends}
    return Cursor(Block(data + bytes(PAD_BYTES)), columns)


@settings(max_examples=100)
@given(st.lists(st.tuples(NUMBERS, TAILS), min_size=1, max_size=20))
@example([("0.30000001", ","), ("9007199254740993", ","), ("1e-22", " "), ("1.5e-05", ")")])
def test_decimals(pairs):
    texts = [number + tail for number, tail in pairs]
    cursor = build_cursor([text.encode() for text in texts]).read_decimal("value")
    read = dict(zip(cursor.columns["line"].tolist(), cursor.columns["value"].tolist()))
    places = dict(zip(cursor.columns["line"].tolist(), cursor.columns["place"].tolist()))
    begin = 0
    for line, text in enumerate(texts):
        if line in read:
            end = places[line] - begin
            rest = "".join(texts[line:])
            assert read[line] == float(rest[:end]), rest
            # Nothing that belongs to the number is left.
            assert not rest[end : end + 1].isdigit(), rest
        begin += len(text.encode())
        # What is plain is read.
        if re.match(r"\d{1,7}(\.\d{1,7})?[ ,\]:(]", text):
            assert line in read, text


@settings(max_examples=60)
@given(st.lists(st.floats(1e-26, 1e20), min_size=1, max_size=9), st.sampled_from("+-"))
def test_scientific(values, sign):
    texts = [f"{value:10.4e} ".replace("e+", "e" + sign) for value in values]
    cursor = build_cursor([text.encode() for text in texts]).read_scientific("value")
    read = dict(zip(cursor.columns["line"].tolist(), cursor.columns["value"].tolist()))
    for line, text in enumerate(texts):
        if line in read:
            assert read[line] == float(text)
        else:
            assert not 1e-18 <= float(text) <= 1e18


def test_no_text_is_taken_for_a_number_in_scientific_form():
    texts = [b"1.2345e-05", b"1.2345f-05", b"1.2345e 05", b"x.2345e-05", b"1,2345e-05"]
    texts += [b"1.2345e-0x", b"1.23:5e-05", b"1.2345e-99"]
    cursor = build_cursor(texts).read_scientific("value")
    assert cursor.columns["line"].tolist() == [0]
    assert cursor.columns["value"].tolist() == [1.2345e-05]


def test_literals_spaces_and_names():
    cursor = build_cursor([b"abcdefghij  GeOp1[", b"abcdefghij G\xffp[", b"abcdefghik   x[     "])
    after = cursor.skip(b"abcdefghij")
    assert after.columns["line"].tolist() == [0, 1]
    assert after.skip_spaces(2, 2).columns["line"].tolist() == [0]
    codes = {}
    named = after.skip_spaces(0, 9).read_name("name", b"[", lambda name: codes.setdefault(name, 5))
    assert (named.columns["line"].tolist(), named.columns["name"].tolist()) == ([0], [5])
    assert codes == {"GeOp1": 5}
    assert named.skip(b"[").finish().columns["line"].tolist() == [0]


def test_same_texts():
    texts = [b"one text of some length", b"one text of some lengthX", b"one text of some Xength"]
    block = build_cursor(texts).block
    places = np.array([0, 0, 0])
    others = np.array([0, 23, 47])
    lengths = np.array([23, 23, 23])
    assert block.same_texts(places, others, lengths).tolist() == [True, True, False]
    assert block.same_texts(places, others, np.array([17, 17, 17])).all()
