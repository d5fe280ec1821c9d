"""Two made-up languages whose texts can be learned from: English-like and Chinese-like.

No text of a real author is in it: content words are strung together from syllables (English-like)
or common characters (Chinese-like); only function words and punctuation are those of the language.
What a model can learn from it, from quick to slow:

- word order: every sentence is built from few patterns of function words and word classes;
- agreement (English-like): determiner, noun ending and verb form go together;
- collocations: each noun has verbs and adjectives that it mostly comes with;
- topics: a document is about one topic, whose words are frequent in it and rare elsewhere;
- burstiness: it is about a few things, which it names again and again;
- discourse: a sentence mostly speaks on about what the sentence before it named last, so that the
  right next sentence shares a word with what it follows, and a random one does not.

Word frequencies fall as 1/(rank + q) (Zipf 1949, Mandelbrot 1953), the form natural language has.
Draws use only `random.Random.random`, and weights only division, so that a seed gives the same text
with every Python and on every machine.
"""

from __future__ import annotations

from bisect import bisect
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import List, NamedTuple, Sequence, Set, Tuple

from bert.errors import UsageError

# Raise it when the text that a seed gives changes.
LANGUAGE_VERSION = 1
LANGUAGES = ("en", "zh")

N_TOPICS = 12
N_NOUNS, N_VERBS, N_ADJECTIVES = 900, 420, 330
# Nouns that a document is about, and how often it speaks of them.
CAST_SIZE = 5
SHARE_OF_CAST = 0.85
SHARE_OF_COLLOCATIONS = 0.85
SHARE_OF_CONTINUATIONS = 0.85
SHARE_OF_TOPIC_WORDS = 0.85
MIN_SENTENCES, MAX_SENTENCES = 8, 40
_ZIPF_SHIFT = 0.5

_ONSETS = "b bl br c cl d dr f fl g gr h k l m n p pl pr qu r s sh sl st t tr v w z".split()
_VOWELS = "a e i o u ai ea oo".split()
_CODAS = ["", "", "", "l", "m", "n", "r", "t", "nd", "sk"]
_CONNECTIVES = "then,later,after that,for this reason,in the end,at the same time".split(",")
_PREPOSITIONS = "in near with under behind from for over".split()
_SINGULAR, _PLURAL = ("the", "a", "this", "every"), ("the", "some", "these", "many")

# Among the most frequent characters of written Chinese; joined at random they make no words.
_CHARACTERS = (
    "人大小中国家学生工作电话水火山石田土地天日月星光风雨雪云海江河湖路桥门窗车船马牛羊鱼鸟虫草木"
    "花果米面茶酒油盐刀弓衣布纸笔书信画音乐歌声色红黄蓝白黑青金银铜铁手足头目口耳心身力气肉骨皮毛"
    "父母兄弟姐妹友师王民兵官商农医老少男女高低长短远近新旧好坏美丑真假冷热快慢轻重多左右前后上下"
    "内外东西南北春夏秋冬年时分秒早晚今明昨市城村镇街店场院室楼房厂校馆站港园林森世界方文字语言词"
    "句理法道德情意思想念感觉知识行走跑跳飞看听说读写问答教买卖开关进出来去起坐立打拿放找送给收拉"
    "推切洗做吃喝住用种养建修造运变动静转一二三四五六七八九十百千万个只条张件本双对套层间块片段节"
    "号页章部位次回遍阵台架座根支枝棵朵粒颗滴杯碗盘瓶箱包袋篮桶盒桌椅床柜灯镜钟表伞帽鞋袜裙裤帘被"
    "枕席绳针线网扇梯锅炉灶壶勺筷桃李杏梅梨橘枣瓜豆麦稻菜葱姜蒜糖糕饼汤粥松柏杨柳竹兰菊荷桂枫藤叶"
    "茎芽瓣蜂蝶蚁蝉蛙龟兔鼠猫狗鸡鸭鹅鹰燕雀鹿猴象熊狼狐虎豹鲸虾蟹贝浪潮泉溪池沼岸岛礁沙滩峰岭谷洞"
    "坡崖原野丘岩泥尘雾霜露冰虹雷霞晨暮暖凉干湿清浊深浅宽窄厚薄粗细圆尖平直弯斜空满紧软硬香甜苦咸"
    "辣酸鲜淡浓亮暗彩灰紫绿粉棕晴阴幼强弱智愚勇忙闲贵贱奇妙准稳灵巧密整齐零散"
)
_ZH_CONNECTIVES = "然后,后来,因此,接着,最后,同时".split(",")
_ZH_PLACES = "里,上,边,中".split(",")


class Lexicon(NamedTuple):
    """Content words of a language and what goes with what.

    Attributes:
        nouns, verbs, adjectives: the words, the most frequent first.
        topics: per topic its (nouns, verbs, adjectives), as indices, the most frequent first.
        verbs_of: per noun the verbs it mostly comes with.
        adjectives_of: per noun the adjectives it mostly comes with.
    """

    nouns: List[str]
    verbs: List[str]
    adjectives: List[str]
    topics: List[Tuple[List[int], List[int], List[int]]]
    verbs_of: List[List[int]]
    adjectives_of: List[List[int]]


def build_lexicon(language: str, random_seed: int) -> Lexicon:
    """Makes up the words of a language.

    Raises:
        UsageError: the language is not one of LANGUAGES.
    """
    if language not in LANGUAGES:
        raise UsageError(f"language must be one of {', '.join(LANGUAGES)}, not {language}")
    rng = Random(f"{LANGUAGE_VERSION}/{language}/{random_seed}/lexicon")
    make = _make_english_word if language == "en" else _make_chinese_word
    seen: Set[str] = set()
    words: List[str] = []
    while len(words) < N_NOUNS + N_VERBS + N_ADJECTIVES:
        # One word in three is short, while there are short ones left.
        word = make(rng, 1 if len(words) % 3 == 0 else 2)
        if word in seen:
            word = make(rng, 2)
        if word not in seen:
            seen.add(word)
            words.append(word)
    nouns = words[:N_NOUNS]
    verbs = words[N_NOUNS : N_NOUNS + N_VERBS]
    adjectives = words[N_NOUNS + N_VERBS :]
    # Classes are dealt out to the topics in turns, so every topic has frequent and rare words.
    topics = [
        (
            list(range(topic, N_NOUNS, N_TOPICS)),
            list(range(topic, N_VERBS, N_TOPICS)),
            list(range(topic, N_ADJECTIVES, N_TOPICS)),
        )
        for topic in range(N_TOPICS)
    ]
    verbs_of, adjectives_of = [], []
    for noun in range(N_NOUNS):
        _, own_verbs, own_adjectives = topics[noun % N_TOPICS]
        verbs_of.append([_pick(rng, own_verbs) for _ in range(2)])
        adjectives_of.append([_pick(rng, own_adjectives) for _ in range(2)])
    return Lexicon(nouns, verbs, adjectives, topics, verbs_of, adjectives_of)


def build_document(language: str, lexicon: Lexicon, random_seed: int, index: int) -> List[str]:
    """Writes document number `index`: its sentences, one per line.

    A document depends on the seed and its number alone, so a smaller corpus is the beginning of a
    larger one.
    """
    rng = Random(f"{LANGUAGE_VERSION}/{language}/{random_seed}/document/{index}")
    writer = _Writer(rng, lexicon, topic=_draw_rank(rng, N_TOPICS, shift=4.0))
    render = writer.write_english if language == "en" else writer.write_chinese
    n_sentences = MIN_SENTENCES + int(rng.random() * (MAX_SENTENCES - MIN_SENTENCES + 1))
    return [render() for _ in range(n_sentences)]


@lru_cache(maxsize=None)
def _cumulative_weights(n: int, shift: float) -> List[float]:
    return list(accumulate(1.0 / (rank + shift) for rank in range(1, n + 1)))


def _draw_rank(rng: Random, n: int, shift: float = _ZIPF_SHIFT) -> int:
    """Draws 0..n-1 with probability proportional to 1/(rank + shift), ranks counted from 1."""
    cumulative = _cumulative_weights(n, shift)
    return min(bisect(cumulative, rng.random() * cumulative[-1]), n - 1)


class _Writer:
    """Writes the sentences of one document, one after another."""

    def __init__(self, rng: Random, lexicon: Lexicon, topic: int) -> None:
        self.rng = rng
        self.lexicon = lexicon
        self.topic = topic
        self.cast = [self._draw_word(0) for _ in range(CAST_SIZE)]
        self.last_noun = -1  # what the sentence before named last

    def write_english(self) -> str:
        """Returns the next sentence, such as "the blem stors a great quind near the flait ."."""
        subject, verb, thing, place = self._draw_plot()
        plural = self._chance(0.35)
        words = []
        if self.last_noun >= 0 and self._chance(0.3):
            words += [_pick(self.rng, _CONNECTIVES), ","]
        words += self._english_noun(subject, plural)
        words.append(self.lexicon.verbs[verb] + ("" if plural else "s"))
        if place >= 0:
            words += self._english_noun(thing, self._chance(0.35))
            words.append(_pick(self.rng, _PREPOSITIONS))
            thing = place
        words += self._english_noun(thing, self._chance(0.35))
        self.last_noun = thing
        return " ".join(words).replace(" ,", ",") + "."

    def write_chinese(self) -> str:
        """Returns the next sentence, such as "然后红山在海里看大书。", of made-up words."""
        subject, verb, thing, place = self._draw_plot()
        parts = []
        if self.last_noun >= 0 and self._chance(0.3):
            parts += [_pick(self.rng, _ZH_CONNECTIVES), "，"]
        parts += self._chinese_noun(subject)
        if place >= 0:
            parts += ["在", self.lexicon.nouns[place], _pick(self.rng, _ZH_PLACES)]
        parts += [self.lexicon.verbs[verb], "了" if self._chance(0.5) else "着"]
        parts += self._chinese_noun(thing)
        self.last_noun = thing
        return "".join(parts) + "。"

    def _draw_plot(self) -> Tuple[int, int, int, int]:
        """Returns subject, verb, object and place; place is -1 in half of the sentences."""
        if self.last_noun >= 0 and self._chance(SHARE_OF_CONTINUATIONS):
            subject = self.last_noun
        else:
            subject = self._draw_noun()
        if self._chance(SHARE_OF_COLLOCATIONS):
            verb = _pick(self.rng, self.lexicon.verbs_of[subject])
        else:
            verb = self._draw_word(1)
        return subject, verb, self._draw_noun(), self._draw_noun() if self._chance(0.5) else -1

    def _draw_noun(self) -> int:
        if self._chance(SHARE_OF_CAST):
            return self.cast[_draw_rank(self.rng, CAST_SIZE)]
        return self._draw_word(0)

    def _draw_word(self, word_class: int) -> int:
        """Returns a noun (0), verb (1) or adjective (2), mostly of the topic."""
        own = self.lexicon.topics[self.topic][word_class]
        if self._chance(SHARE_OF_TOPIC_WORDS):
            return own[_draw_rank(self.rng, len(own))]
        n = (N_NOUNS, N_VERBS, N_ADJECTIVES)[word_class]
        return _draw_rank(self.rng, n)

    def _draw_adjective(self, noun: int) -> int:
        if self._chance(SHARE_OF_COLLOCATIONS):
            return _pick(self.rng, self.lexicon.adjectives_of[noun])
        return self._draw_word(2)

    def _english_noun(self, noun: int, plural: bool) -> List[str]:
        words = [_pick(self.rng, _PLURAL if plural else _SINGULAR)]
        if self._chance(0.4):
            words.append(self.lexicon.adjectives[self._draw_adjective(noun)])
        words.append(self.lexicon.nouns[noun] + ("s" if plural else ""))
        return words

    def _chinese_noun(self, noun: int) -> List[str]:
        parts = []
        if self._chance(0.4):
            parts += [self.lexicon.adjectives[self._draw_adjective(noun)], "的"]
        return parts + [self.lexicon.nouns[noun]]

    def _chance(self, probability: float) -> bool:
        return self.rng.random() < probability


def _pick(rng: Random, items: Sequence):
    return items[int(rng.random() * len(items))]


def _make_english_word(rng: Random, n_syllables: int) -> str:
    return "".join(
        _pick(rng, _ONSETS) + _pick(rng, _VOWELS) + _pick(rng, _CODAS) for _ in range(n_syllables)
    )


def _make_chinese_word(rng: Random, n_characters: int) -> str:
    return "".join(_pick(rng, _CHARACTERS) for _ in range(n_characters))
