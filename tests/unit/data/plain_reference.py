"""The reference algorithm written out plainly, one token and one draw at a time.

It shares no code with `bert.data`, so that both can be wrong only in different ways, and it is the
single-process pure-Python path that tests/perf/data_preparation measures speed-ups against.
"""

from __future__ import annotations

import random
import unicodedata

CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def is_cjk(char):
    return any(low <= ord(char) <= high for low, high in CJK)


def is_punctuation(char):
    code = ord(char)
    ascii_symbol = 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126
    return ascii_symbol or unicodedata.category(char)[0] == "P"


def clean_char(char, drop_all_controls):
    """A space, the character itself, or nothing."""
    if char in " \t\n\r":
        return " "
    category = unicodedata.category(char)
    if category == "Zs":
        return " "
    if char in "\0\ufffd":
        return ""
    if category in ("Cc", "Cf") or (drop_all_controls and category[0] == "C"):
        return ""
    return char


def basic_tokens(text, do_lower_case=True, drop_all_controls=False):
    cleaned = "".join(clean_char(char, drop_all_controls) for char in text)
    spaced = "".join(f" {char} " if is_cjk(char) else char for char in cleaned)
    tokens = []
    for word in spaced.split():
        if do_lower_case:
            decomposed = unicodedata.normalize("NFD", word.lower())
            word = "".join(char for char in decomposed if unicodedata.category(char) != "Mn")
        apart = "".join(f" {char} " if is_punctuation(char) else char for char in word)
        # Splitting at punctuation must not split at other white space; only the end does.
        tokens.extend(apart.split(" "))
    return " ".join(tokens).split()


def wordpieces(word, vocabulary, max_word_chars):
    if len(word) > max_word_chars:
        return ["[UNK]"]
    pieces = []
    rest = word
    while rest:
        mark = "##" if pieces else ""
        length = next((n for n in range(len(rest), 0, -1) if mark + rest[:n] in vocabulary), 0)
        if not length:
            return ["[UNK]"]
        pieces.append(mark + rest[:length])
        rest = rest[length:]
    return pieces


def tokenize(text, vocabulary, do_lower_case=True, drop_all_controls=False, max_word_chars=200):
    return [
        piece
        for word in basic_tokens(text, do_lower_case, drop_all_controls)
        for piece in wordpieces(word, vocabulary, max_word_chars)
    ]


def read_documents(text, tokenizer):
    """Documents (lists of lists of tokens) of a text; blank lines divide them."""
    documents = [[]]
    for line in text.replace("\r", "").split("\n"):
        line = line.strip()
        if not line:
            documents.append([])
            continue
        tokens = tokenizer(line)
        if tokens:
            documents[-1].append(tokens)
    return [document for document in documents if document]


def create_instances(
    documents,
    vocabulary,
    seed,
    seq_length,
    max_predictions,
    masked_lm_prob=0.15,
    short_seq_prob=0.1,
    dupe_factor=1,
    whole_words=False,
):
    """Instances as dictionaries of tokens, segments, positions, labels and the random-next bit."""
    rng = random.Random(seed)
    documents = list(documents)
    rng.shuffle(documents)
    words = list(vocabulary)
    instances = []
    for _ in range(dupe_factor):
        for d in range(len(documents)):
            for tokens, segments, is_random in document_instances(
                documents, d, seq_length, short_seq_prob, rng
            ):
                pass_on = mask(tokens, words, max_predictions, masked_lm_prob, whole_words, rng)
                instances.append((segments, is_random) + pass_on)
            # The generator above draws lazily: masking happens between its draws, as it must.
    rng.shuffle(instances)
    return [
        {"segments": s, "is_random": r, "tokens": t, "positions": p, "labels": lab}
        for s, r, t, p, lab in instances
    ]


def document_instances(documents, d, seq_length, short_seq_prob, rng):
    document = documents[d]
    max_tokens = seq_length - 3
    target = max_tokens
    if rng.random() < short_seq_prob:
        target = rng.randint(2, max_tokens)
    chunk = []
    i = 0
    while i < len(document):
        chunk.append(document[i])
        if i == len(document) - 1 or sum(map(len, chunk)) >= target:
            a_end = rng.randint(1, len(chunk) - 1) if len(chunk) >= 2 else 1
            a = [token for sentence in chunk[:a_end] for token in sentence]
            is_random = len(chunk) == 1 or rng.random() < 0.5
            if is_random:
                b = []
                wanted = target - len(a)
                for _ in range(10):
                    other = rng.randint(0, len(documents) - 1)
                    if other != d:
                        break
                start = rng.randint(0, len(documents[other]) - 1)
                for sentence in documents[other][start:]:
                    b.extend(sentence)
                    if len(b) >= wanted:
                        break
                i -= len(chunk) - a_end
            else:
                b = [token for sentence in chunk[a_end:] for token in sentence]
            while len(a) + len(b) > max_tokens:
                longer = a if len(a) > len(b) else b
                if rng.random() < 0.5:
                    longer.pop(0)
                else:
                    longer.pop()
            assert a and b
            tokens = ["[CLS]"] + a + ["[SEP]"] + b + ["[SEP]"]
            yield tokens, [0] * (len(a) + 2) + [1] * (len(b) + 1), is_random
            chunk = []
        i += 1


def mask(tokens, words, max_predictions, masked_lm_prob, whole_words, rng):
    groups = []
    for i, token in enumerate(tokens):
        if token in ("[CLS]", "[SEP]"):
            continue
        if whole_words and groups and token.startswith("##"):
            groups[-1].append(i)
        else:
            groups.append([i])
    rng.shuffle(groups)
    wanted = min(max_predictions, max(1, int(round(len(tokens) * masked_lm_prob))))
    masked = list(tokens)
    targets = []
    for group in groups:
        if len(targets) >= wanted:
            break
        if len(targets) + len(group) > wanted:
            continue
        for i in group:
            if rng.random() < 0.8:
                masked[i] = "[MASK]"
            elif rng.random() >= 0.5:
                masked[i] = words[rng.randint(0, len(words) - 1)]
            targets.append((i, tokens[i]))
    targets.sort()
    return masked, [i for i, _ in targets], [token for _, token in targets]


def features(instance, vocabulary, seq_length, max_predictions):
    """The record's features, padded with zeros."""

    def padded(values, length):
        return list(values) + [0] * (length - len(values))

    tokens, labels = instance["tokens"], instance["labels"]
    return {
        "input_ids": padded([vocabulary[token] for token in tokens], seq_length),
        "input_mask": padded([1] * len(tokens), seq_length),
        "segment_ids": padded(instance["segments"], seq_length),
        "masked_lm_positions": padded(instance["positions"], max_predictions),
        "masked_lm_ids": padded([vocabulary[token] for token in labels], max_predictions),
        "masked_lm_weights": padded([1.0] * len(labels), max_predictions),
        "next_sentence_labels": [int(instance["is_random"])],
    }
