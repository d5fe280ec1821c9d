"""CMRC 2018 and SQuAD: worked examples, and slow definitions of one's own on generated answers."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bert.downstream.metrics import cmrc, squad
from bert.downstream.metrics.english_words import split_english_words, split_sentences

# What the official list has, as it is written there; the two-character entry is the ellipsis.
OFFICIAL_PUNCTUATION = (
    "- : _ * ^ / \\ ~ ` + = ， 。 ： ？ ！ “ ” ； ’ 《 》 …… · 、 「 」 （ ） － ～ 『 』".split()
)
CHINESE_TEXT = st.text("中文山水a1,.，。“”《》…… u\u3000UA龥鿿", max_size=9)
ENGLISH_TEXT = st.lists(
    st.sampled_from(["the", "The", "a", "cat", "cat's", "U.S.", "!", "", "mat", "中文", "an-x"]),
    max_size=6,
).map(" ".join)


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("", []),
        ("《》，。", []),
        ("中国", ["中", "国"]),
        ("在2018年", ["在", "2018", "年"]),
        ("iPhone 6s手机", ["iphone", "6s", "手", "机"]),
        ("北京（Beijing）", ["北", "京", "beijing"]),
        ("a-b", ["ab"]),
        ("约3.5%。", ["约", "3.5", "%"]),
        ("他说：don't", ["他", "说", "do", "n't"]),
        ("好.坏", ["好", ".", "坏"]),
        ("汉,字", ["汉", ",", "字"]),
        # U+9FA5 is the last character of the official range; what is behind it is cut as English.
        ("\u9fa5\u9fa6\u9fa7", ["\u9fa5", "\u9fa6\u9fa7"]),
        ("１２３", ["１２３"]),
    ],
)
def test_units(text, units):
    assert cmrc.split_units(text) == units


def test_the_letter_u_is_a_letter_like_others():
    """Item 26: a slip in a regular expression made every u a unit of its own."""
    assert cmrc.split_units("queue上") == ["queue", "上"]


def test_an_ellipsis_counts_as_in_the_official_script_unless_told_otherwise():
    """Item 26: the official list names the ellipsis in a way that never removes one."""
    assert cmrc.compute_exact_match(["山……"], "山") == 0.0
    assert cmrc.compute_exact_match(["山……"], "山", drop_ellipsis=True) == 1.0
    assert cmrc.split_units("山……水") == ["山", "……", "水"]
    assert cmrc.split_units("山……水", drop_ellipsis=True) == ["山", "水"]


def test_the_punctuation_is_that_of_the_official_script():
    assert frozenset(m for m in OFFICIAL_PUNCTUATION if len(m) == 1) == cmrc.PUNCTUATION
    assert not set(",.!?;()\"'‘【】") & cmrc.PUNCTUATION


@pytest.mark.parametrize(
    ("answers", "prediction", "f1", "em"),
    [
        (["北京"], "北京", 1.0, 1.0),
        (["北京。"], "《北京》", 1.0, 1.0),
        (["ABC"], " abc ", 1.0, 1.0),
        (["北京"], "", 0.0, 0.0),
        (["，"], "", 0.0, 1.0),
        (["北京"], "上海", 0.0, 0.0),
        # One run of two in answers of four and two units.
        (["中国北京"], "北京", 2 * 1.0 * 0.5 / 1.5, 0.0),
        # Two of three characters are common, but never two in a row.
        (["山上水"], "山下水", 1 / 3, 0.0),
        # The best answer counts, for each of the two scores.
        (["中国北京", "北京", "上海"], "北京", 1.0, 1.0),
        # English words are units: one of two.
        (["New York"], "york", 2 * 1.0 * 0.5 / 1.5, 0.0),
        # Punctuation that the list does not have.
        (["北京!"], "北京", 2 * 1.0 * (2 / 3) / (1 + 2 / 3), 0.0),
    ],
)
def test_worked_examples_of_cmrc(answers, prediction, f1, em):
    assert cmrc.compute_f1(answers, prediction) == pytest.approx(f1, abs=1e-12)
    assert cmrc.compute_exact_match(answers, prediction) == em


def test_cmrc_counts_questions_without_prediction_as_skipped_and_zero():
    references = {"1": ["北京"], "2": ["中国北京", "北京"], "3": ["山"]}
    found = cmrc.compute_cmrc_metrics(references, {"1": "北京", "2": "中国", "other": "山"})
    f1 = 100 * (1 + 2 / 3) / 3
    em = 100 / 3
    assert found == {
        "average": pytest.approx((f1 + em) / 2),
        "f1": pytest.approx(f1),
        "em": pytest.approx(em),
        "total": 3,
        "skip": 1,
    }
    with pytest.raises(ValueError, match="no questions"):
        cmrc.compute_cmrc_metrics({}, {})


def slow_units(text):
    """Units of CMRC, character by character, as the official script goes about it."""
    units, run = [], ""
    for char in text.lower().strip():
        if char in OFFICIAL_PUNCTUATION:
            continue
        if re.match("[\u4e00-\u9fa5]", char):
            units += split_english_words(run) if run else []
            run = ""
            units.append(char)
        else:
            run += char
    return units + (split_english_words(run) if run else [])


def slow_f1(answer, prediction):
    first, second = slow_units(answer), slow_units(prediction)
    runs = {tuple(first[i:j]) for i in range(len(first)) for j in range(i + 1, len(first) + 1)}
    longest = max(
        (
            j - i
            for i in range(len(second))
            for j in range(i + 1, len(second) + 1)
            if tuple(second[i:j]) in runs
        ),
        default=0,
    )
    if longest == 0:
        return 0
    precision, recall = longest / len(second), longest / len(first)
    return 2 * precision * recall / (precision + recall)


@given(st.lists(CHINESE_TEXT, min_size=1, max_size=3), CHINESE_TEXT)
def test_cmrc_is_the_slow_definition(answers, prediction):
    assert cmrc.split_units(prediction) == slow_units(prediction)
    expected = max(slow_f1(answer, prediction) for answer in answers)
    assert cmrc.compute_f1(answers, prediction) == expected
    strip = [
        "".join(c for c in t.lower().strip() if c not in OFFICIAL_PUNCTUATION)
        for t in (prediction, *answers)
    ]
    assert cmrc.compute_exact_match(answers, prediction) == float(strip[0] in strip[1:])


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("he went. she came.", ["he went.", " she came."]),
        ("dr. wu of the u.s. army", ["dr. wu of the u.s. army"]),
        ("by j. smith", ["by j. smith"]),
        ("version 3.5 runs", ["version 3.5 runs"]),
    ],
)
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_a_full_stop_ends_a_sentence_within_a_run_of_english():
    assert split_english_words("he went. she came.") == "he went . she came .".split()


@pytest.mark.parametrize(
    ("answer", "prediction", "f1", "em"),
    [
        ("The cat!", "a cat", 1.0, 1.0),
        ("U.S.", "us", 1.0, 1.0),
        ("theatre", "the atre", 0.0, 0.0),
        ("black cat", "cat", 2 / 3, 0.0),
        ("cat cat", "cat", 2 / 3, 0.0),
        ("cat", "", 0.0, 0.0),
        ("the", "a", 0.0, 1.0),
        ("中文 测试", "测试", 2 / 3, 0.0),
        ("“cat”", "cat", 0.0, 0.0),
    ],
)
def test_worked_examples_of_squad_1(answer, prediction, f1, em):
    assert squad.compute_f1(answer, prediction) == pytest.approx(f1, abs=1e-12)
    assert squad.compute_exact_match(answer, prediction) == em


def test_squad_1_takes_the_best_answer_and_counts_missing_ones_as_zero():
    references = {"1": ["black cat", "cat"], "2": ["mat"], "3": ["red mat", "old mat"]}
    found = squad.compute_squad_v1_metrics(references, {"1": "the cat", "3": "mat", "9": "x"})
    assert found == {
        "exact_match": pytest.approx(100 / 3),
        "f1": pytest.approx(100 * (1 + 2 / 3) / 3),
        "total": 3,
        "skip": 1,
    }


def test_squad_2_by_hand():
    references = {"1": ["black cat"], "2": [], "3": [], "4": ["the"]}
    predictions = {"1": "cat", "2": "", "3": "mat", "4": ""}
    found = squad.compute_squad_v2_metrics(references, predictions)
    # An answer of an article alone is none once normalized, but the question counts as answerable.
    assert found == {
        "exact": 50.0,
        "f1": pytest.approx(100 * (2 / 3 + 1 + 0 + 1) / 4),
        "total": 4,
        "HasAns_exact": 50.0,
        "HasAns_f1": pytest.approx(100 * (2 / 3 + 1) / 2),
        "HasAns_total": 2,
        "NoAns_exact": 50.0,
        "NoAns_f1": 50.0,
        "NoAns_total": 2,
        "skip": 0,
    }
    # Above the threshold a prediction is no answer, whatever it says.
    na_probs = {"1": 0.2, "2": 0.9, "3": 0.8, "4": 0.4}
    found = squad.compute_squad_v2_metrics(references, predictions, na_probs, 0.5)
    assert (found["NoAns_exact"], found["HasAns_exact"], found["exact"]) == (100.0, 50.0, 75.0)
    # Taking on 1 (+0), then 4 (+1), then 3 (-1), then 2 (+0), from the two without answer.
    assert (found["best_exact"], found["best_exact_thresh"]) == (75.0, 0.4)
    assert found["best_f1"] == pytest.approx(100 * (2 + 2 / 3 + 1) / 4)
    assert found["best_f1_thresh"] == 0.4


def test_squad_2_questions_without_prediction_are_zero_and_named():
    references = {"1": ["cat"], "2": [], "3": []}
    found = squad.compute_squad_v2_metrics(references, {"1": "cat", "2": ""}, {"1": 0.1, "2": 0.9})
    assert (found["exact"], found["NoAns_exact"], found["skip"]) == (
        pytest.approx(200 / 3),
        50.0,
        1,
    )
    assert found["best_exact"] == pytest.approx(200 / 3)
    with pytest.raises(ValueError, match="question 2 has no no-answer probability"):
        squad.compute_squad_v2_metrics(references, {"1": "cat", "2": ""}, {"1": 0.1})


def slow_squad_words(text):
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return [w for w in re.sub(r"\b(a|an|the)\b", " ", text).split() if w]


def slow_squad_f1(answer, prediction, version_2):
    wanted, got = slow_squad_words(answer), slow_squad_words(prediction)
    if version_2 and not (wanted and got):
        return float(wanted == got)
    rest, common = list(wanted), 0
    for word in got:
        if word in rest:
            rest.remove(word)
            common += 1
    return 2 * common / (len(wanted) + len(got)) if common else 0.0


@given(st.lists(ENGLISH_TEXT, min_size=1, max_size=3), ENGLISH_TEXT)
def test_squad_1_is_the_slow_definition(answers, prediction):
    found = squad.compute_squad_v1_metrics({"q": answers}, {"q": prediction})
    f1 = max(slow_squad_f1(answer, prediction, False) for answer in answers)
    assert found["f1"] == pytest.approx(100 * f1, abs=1e-9)
    words = slow_squad_words(prediction)
    assert found["exact_match"] == 100.0 * (words in [slow_squad_words(a) for a in answers])


@given(
    st.lists(st.tuples(st.lists(ENGLISH_TEXT, max_size=2), ENGLISH_TEXT), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
    st.floats(0, 1),
)
def test_squad_2_is_the_slow_definition(cases, rng, threshold):
    references = {str(i): answers for i, (answers, _) in enumerate(cases)}
    predictions = {str(i): prediction for i, (_, prediction) in enumerate(cases)}
    # Different ones: of equal ones the official search takes some on and others not.
    numbers = rng.sample(range(1, 100), len(cases))
    na_probs = {str(i): number / 100 for i, number in enumerate(numbers)}
    found = squad.compute_squad_v2_metrics(references, predictions, na_probs, threshold)

    def score(question, is_answered):
        answers = references[question]
        if not is_answered:
            return float(not answers)
        usable = [a for a in answers if slow_squad_words(a)] or [""]
        return max(slow_squad_f1(answer, predictions[question], True) for answer in usable)

    at = sum(score(q, not na_probs[q] > threshold) for q in references)
    assert found["f1"] == pytest.approx(100 * at / len(cases), abs=1e-9)
    # With a threshold of 0 nothing is answered: all probabilities are greater.
    best = max(
        sum(
            score_of_search(q, na_probs[q] <= t, score, references, predictions) for q in references
        )
        for t in [0.0, *na_probs.values()]
    )
    assert found["best_f1"] == pytest.approx(100 * best / len(cases), abs=1e-9)


def score_of_search(question, is_answered, score, references, predictions):
    """The search of thresholds looks at an unanswerable question's text, not at its words."""
    if is_answered and not references[question]:
        return float(not predictions[question])
    return score(question, is_answered)
