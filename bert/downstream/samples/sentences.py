"""Made-up Chinese sentences, each with a rule behind it that a small model can learn.

Only characters of `bert/samples/pretrain-toy/vocab.txt` occur, so that a model pre-trained on that
sample knows them. Names of people, places and houses are put together from a few characters; one
pair of characters in five is kept for held-out data, which so have names that training data have
not. No sentence is that of an author.
"""

from __future__ import annotations

from random import Random
from typing import List, NamedTuple, Sequence, Tuple, TypeVar

_SURNAMES = "李梅枣杏枫藤"
_GIVEN = "心明星月兰雪光智勇妙晴灵"
_PLACE_FIRST = "东西南北青金铁石银云"
_PLACE_LAST = "山河湖岛城村镇岭"
_HOUSES = ("学校", "医院", "书店", "茶店", "钟厂", "车厂")
_TIMES = ("昨晚", "晨时", "夏天", "秋天", "冬天", "五月", "七月", "十月")
_ACTIONS = (
    ("看", "鱼"),
    ("养", "羊"),
    ("种", "稻"),
    ("洗", "衣"),
    ("写", "句"),
    ("打", "铁"),
    ("卖", "瓜"),
    ("切", "菜"),
    ("听", "蛙"),
    ("运", "盐"),
    ("念", "章"),
    ("做", "饼"),
)
_SPOTS = "里边中"
_HELD_OUT_EVERY = 5

_ROOMS = ("店里的", "房间的", "院里的", "")
_GOODS = ("茶", "汤", "饼", "床", "窗", "灯", "被", "椅", "杯", "瓜")
_PRAISE = "甜香鲜暖亮静新巧妙稳"
_BLAME = "苦辣酸湿浊旧丑冷黑窄"

_TOPICS = (
    ("动物", "牛羊狗猫马鸡鸭鹅鹿龟"),
    ("天气", "风雪云雾暖虹晴阴霞潮"),
    ("用具", "锅勺筷盘杯瓶篮桶刀伞"),
)
TOPIC_LABELS = tuple(label for label, _ in _TOPICS)

_FILLERS = (
    "瓜甜，汤鲜。",
    "杯圆，盘平。",
    "鸭慢，鹅忙。",
    "纸细，笔短。",
    "灰多，米少。",
    "根粗，草短。",
)

Item = TypeVar("Item")


class Event(NamedTuple):
    """Who does what, when and where.

    Attributes:
        time: such as 昨晚.
        person: surname and given name.
        place: such as 青山.
        spot: 里, 边 or 中, what follows the place.
        house: the first character of a place and a kind of house, such as 东学校.
        verb, thing: what is done.
    """

    time: str
    person: str
    place: str
    spot: str
    house: str
    verb: str
    thing: str


def pick(rng: Random, items: Sequence[Item]) -> Item:
    """Draws one item; by `random` alone, which gives the same numbers with every Python."""
    return items[int(rng.random() * len(items))]


def _pick_name(rng: Random, firsts: str, lasts: str, is_held_out: bool) -> str:
    while True:
        first, last = int(rng.random() * len(firsts)), int(rng.random() * len(lasts))
        if ((first + last) % _HELD_OUT_EVERY == 0) == is_held_out:
            return firsts[first] + lasts[last]


def build_event(rng: Random, is_held_out: bool) -> Event:
    """Makes up an event; `is_held_out` says from which half its names are."""
    verb, thing = pick(rng, _ACTIONS)
    return Event(
        pick(rng, _TIMES),
        _pick_name(rng, _SURNAMES, _GIVEN, is_held_out),
        _pick_name(rng, _PLACE_FIRST, _PLACE_LAST, is_held_out),
        pick(rng, _SPOTS),
        pick(rng, _PLACE_FIRST) + pick(rng, _HOUSES),
        verb,
        thing,
    )


def render_event(event: Event) -> str:
    """Writes an event as a sentence."""
    where = f"在{event.place}{event.spot}"
    return f"{event.time}{event.person}{where}{event.verb}着{event.thing}。"


def write_inference(rng: Random, label: str, is_held_out: bool) -> Tuple[str, str]:
    """Writes a premise and a hypothesis: what is so, cannot be so, or happens later."""
    event, other = build_event(rng, is_held_out), build_event(rng, is_held_out)
    person, where = event.person, event.place + event.spot
    action = f"{event.verb}着{event.thing}"
    hypotheses = {
        "entailment": (
            f"{person}在{where}。",
            f"{person}{action}。",
            f"{event.time}{where}的人{action}。",
        ),
        "contradiction": (
            f"{event.time}{where}空着。",
            f"{event.time}{event.place}空了。",
            f"{where}空着，{event.thing}少。",
        ),
        "neutral": (
            f"然后{person}走了。",
            f"后来{person}在{other.place}{other.verb}了{other.thing}。",
            f"最后{person}买了{other.thing}。",
        ),
    }
    return render_event(event), pick(rng, hypotheses[label])


def write_question_pair(rng: Random, label: str, is_held_out: bool) -> Tuple[str, str]:
    """Writes two questions that ask for the same (1) or for something else (0)."""
    event = build_event(rng, is_held_out)
    person, where, action = event.person, event.place + event.spot, event.verb + event.thing
    asked, same = pick(
        rng,
        (
            (f"{person}{action}的地方", f"{action}的{person}在的地方"),
            (f"{person}{action}的地方", f"{person}在地方{action}"),
            (f"{where}{action}的人", f"在{where}的人，{action}的人"),
            (f"{where}{action}的人", f"人在{where}{action}"),
        ),
    )
    other = pick(
        rng,
        (
            f"{person}{action}的时间",
            f"在{where}{action}的时间",
            f"{person}{event.verb}了多少{event.thing}",
            f"{where}多少{event.thing}",
        ),
    )
    return asked, same if label == "1" else other


def write_review(rng: Random, label: str) -> str:
    """Writes a review that mostly praises (1) or mostly blames (0)."""
    own, opposite = (_PRAISE, _BLAME) if label == "1" else (_BLAME, _PRAISE)
    n_clauses = 2 + int(rng.random() * 3)
    opinions = [pick(rng, own) for _ in range(n_clauses)]
    if n_clauses > 2 and rng.random() < 0.25:
        opinions[int(rng.random() * n_clauses)] = pick(rng, opposite)
    clauses = [pick(rng, _ROOMS) + pick(rng, _GOODS) + opinion for opinion in opinions]
    return "，".join(clauses) + "。"


def write_topic(rng: Random, label: str, is_held_out: bool) -> str:
    """Writes a text about animals, weather or tools."""
    words = dict(_TOPICS)[label]
    event = build_event(rng, is_held_out)
    patterns = (
        f"{event.place}{event.spot}的{pick(rng, words)}，{pick(rng, words)}。",
        f"{event.time}的{pick(rng, words)}多，{pick(rng, words)}少。",
        f"{event.person}看着{pick(rng, words)}。",
    )
    return pick(rng, patterns)


def write_tagged_sentence(rng: Random, is_held_out: bool) -> List[Tuple[str, str]]:
    """Writes a sentence as characters, each with its tag: PER, LOC and ORG in BIO."""
    event, other = build_event(rng, is_held_out), build_event(rng, is_held_out)
    action = f"{event.verb}着{event.thing}"
    pieces = pick(
        rng,
        (
            ((event.person, "PER"), "在", (event.place, "LOC"), f"{event.spot}{action}。"),
            (event.time, (event.person, "PER"), "去", (event.house, "ORG"), f"{action}。"),
            ((event.place, "LOC"), "的", (event.house, "ORG"), f"里，{action}的人忙着。"),
            ((event.person, "PER"), "问", (other.person, "PER"), f"，{other.thing}多。"),
            (f"{event.time}，{event.thing}少，人{action}。",),
        ),
    )
    tagged: List[Tuple[str, str]] = []
    for piece in pieces:
        text, kind = (piece, "") if isinstance(piece, str) else piece
        for i, char in enumerate(text):
            tagged.append((char, ("I-" if i else "B-") + kind if kind else "O"))
    return tagged


class Passage(NamedTuple):
    """A context and what is asked about it.

    Attributes:
        context: some sentences.
        questions: (question, answer); the answer is empty if there is none.
    """

    context: str
    questions: List[Tuple[str, str]]


def write_passage(rng: Random, is_held_out: bool, leaves_out: bool) -> Passage:
    """Writes an event among sentences that say nothing, and questions for person, place and time.

    Args:
        rng: of all draws.
        is_held_out: from which half the names are.
        leaves_out: leave out either place or time, so that one question has no answer.
    """
    event = build_event(rng, is_held_out)
    action = event.verb + event.thing
    where, time = f"在{event.place}{event.spot}", event.time
    answers = {"人": event.person, "地方": event.place, "时间": event.time}
    if leaves_out and rng.random() < 0.5:
        where, answers["地方"] = "", ""
    elif leaves_out:
        time, answers["时间"] = "", ""
    sentences = [pick(rng, _FILLERS) for _ in range(2 + int(rng.random() * 3))]
    place = int(rng.random() * (len(sentences) + 1))
    sentences.insert(place, f"{time}{event.person}{where}{event.verb}着{event.thing}。")
    questions = {
        "人": f"{action}的人",
        "地方": f"{event.person}{action}的地方",
        "时间": f"{event.person}{action}的时间",
    }
    return Passage("".join(sentences), [(questions[kind], answers[kind]) for kind in questions])
