"""Every line shape of a training log, once: prefixes, records, and the words that announce them.

Three prefixes occur. TF 1.15 under ``app.run`` writes each message twice, the second form first::

    I0521 19:45:05.731803 281473752813584 basic_session_run_hooks.py:692] global_step/sec: 2.451
    INFO:tensorflow:global_step/sec: 2.451
    2020-05-21 19:45:05.732132: I tf_adapter/kernels/geop_npu.cc:526] [GEOP] RunGraphAsync ...

What trainers print by themselves has no prefix. When several processes write into one file, pieces
of lines interleave: a record may stand anywhere in a line, so nothing here is bound to its ends
unless the shape needs it. ``bench.logs.write`` renders the same shapes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Callable, Match, Optional, Pattern, Tuple

Values = Tuple[object, ...]

# Repeats are bounded: a damaged log may hold a line of a million digits.
# A number ends at the first character that cannot belong to it; if a digit or a dot follows all
# the same, two numbers were glued and neither can be told.
_DIGITS = rb"[-+]?(?:\d{1,40}(?:\.\d{0,40})?(?:[eE][-+]?\d{1,4})?|nan|inf)"
NUMBER = _DIGITS + rb"(?![\d.])"
INTEGER = rb"\d{1,18}(?![\d.])"

_TIME = rb"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{6}"
_DATE = rb"(?:0[1-9]|1[0-2])%s(?:0[1-9]|[12]\d|3[01])"
ABSL_STAMP = rb"[IWEF]" + _DATE % b"" + rb" " + _TIME + rb" "
HEADER = re.compile(
    rb"([IWEF])(" + _DATE % b"" + rb" " + _TIME + rb") +(\d{1,18}) ([^\s\]:]{1,200}:\d{1,9})\] ?"
    rb"|(\d{4})-(" + _DATE % b"-" + rb" " + _TIME + rb"): ([IWEF]) [^\s\]]{1,300}:\d{1,9}\] ?"
    rb"|(DEBUG|INFO|WARNING|ERROR|FATAL|CRITICAL):tensorflow:"
)
HEADER_HINT = re.compile(rb":(?:\d{1,9}\]|tensorflow:)")
ABSL_START = re.compile(ABSL_STAMP)
TORN_START = re.compile(rb"[IWEF]\d{4} ")
# What may stand right behind a number that is whole. A line that was glued on begins otherwise.
NUMBER_ENDS = (b" ", b"\t", b",", b";", b")", b"]")
# Printed by ``%g``, and the least that are printed of a float32, all but one in some thousands.
RATE_DIGITS, LOSS_DIGITS = 6, 5
LOGGER_SEVERITY = {b"WARNING": "W", b"ERROR": "E", b"FATAL": "F", b"CRITICAL": "F"}


@dataclass(frozen=True)
class Shape:
    """One kind of record.

    Attributes:
        kind: name of the table that takes it.
        trigger: bytes without which the shape cannot occur; looked for first, as that is cheap.
        pattern: the record.
        build: match to the values of the table's own columns; None if it is no such record.
        at_start: whether it only counts at the start of a message.
    """

    kind: str
    trigger: bytes
    pattern: Pattern[bytes]
    build: Callable[[Match[bytes]], Optional[Values]]
    at_start: bool = False


def decode_text(data: Optional[bytes]) -> str:
    """Text of raw bytes; what is not UTF-8 stays visible as ``\\xNN``."""
    return (data or b"").decode("utf-8", "backslashreplace")


def is_whole(match: Match[bytes], group: int, digits: int) -> bool:
    """Whether the number that ends a match has lost no digits that matter.

    TensorFlow ends the line behind it. Where a line was torn, the next one stands there instead;
    then a number is only taken for whole if it has so many digits and a decimal point.
    """
    text, end = match.string, match.end(group)
    if end == len(text) or text[end : end + 1] in NUMBER_ENDS:
        return True
    number = match.group(group).rpartition(b" = ")[2]
    if number.lstrip(b"-+") in (b"nan", b"inf"):
        return True
    if b"e" in number or text[end : end + 1] == b"e":
        return False
    return b"." in number and len(number.replace(b".", b"").lstrip(b"-+0")) >= digits


def _build_loss(match: Match[bytes]) -> Optional[Values]:
    tags = {}
    for pair in match.group(1).split(b", "):
        name, _, value = pair.partition(b" = ")
        tags[name] = value
    step = tags.get(b"global_step", tags.get(b"step", b""))
    total = tags.get(b"total_loss", tags.get(b"loss"))
    if total is None or not step.isdigit() or len(step) > 18:
        return None
    if match.group(2) is None and not is_whole(match, 1, LOSS_DIGITS):
        return None
    masked, following, elapsed = (
        tags.get(b"masked_lm_loss"),
        tags.get(b"next_sentence_loss"),
        match.group(2),
    )
    present = (
        MASKED_LM * (masked is not None)
        + NEXT_SENTENCE * (following is not None)
        + ELAPSED * (elapsed is not None)
    )
    return (
        int(step),
        float(masked or b"nan"),
        float(following or b"nan"),
        float(total),
        float(elapsed or b"nan"),
        present,
    )


def _build_print(match: Match[bytes]) -> Values:
    rank, step, *losses, scale, finite = match.groups()
    present = LOSS_SCALE * bool(scale) + IS_FINITE * bool(finite) + RANK * bool(rank)
    return (
        int(step),
        *(float(value) for value in losses),
        float(scale or b"nan"),
        int(finite or 0) != 0,
        int(rank or 0),
        present,
    )


def _build_eval(match: Match[bytes]) -> Values:
    started, finished, batch, n_batches = match.groups()
    phase = "started" if started else "finished" if finished else "batch"
    return phase, int(batch or -1), int(n_batches or -1)


# Bits of the ``present`` columns: a value may be absent, and it may be nan; these differ.
MASKED_LM, NEXT_SENTENCE, ELAPSED = 1, 2, 4
LOSS_SCALE, IS_FINITE, RANK = 1, 2, 4

_TAG = rb"[A-Za-z_][\w./]{0,99} = " + NUMBER
_PRINT = rb" = {0,12}(" + NUMBER + rb")"
SHAPES = (
    Shape(
        "step_rates",
        b"global_step/sec: ",
        re.compile(rb"global_step/sec: (" + NUMBER + rb")"),
        lambda m: (float(m.group(1)), is_whole(m, 1, RATE_DIGITS)),
    ),
    Shape(
        "losses",
        b"loss = ",
        re.compile(
            rb"(?<![\w./])(" + _TAG + rb"(?:, " + _TAG + rb"){1,40})(?: \((\d{1,15}\.\d{3}) sec\))?"
        ),
        _build_loss,
    ),
    Shape(
        "geops",
        b"[GEOP] RunGraph",
        re.compile(
            rb"\[GEOP\] RunGraph\w{0,20} callback, status:(-?\d{1,9}), "
            rb"kernel_name:([^\s\[]{1,200})\[ {0,20}(\d{1,18})us\]"
        ),
        lambda m: (int(m.group(1)), decode_text(m.group(2)), int(m.group(3))),
    ),
    Shape(
        "checkpoints",
        b"Saving checkpoints for ",
        re.compile(rb"Saving checkpoints for (\d{1,18}) into ([^\s\[]{0,4096})"),
        lambda m: (int(m.group(1)), decode_text(m.group(2).rstrip(b"."))),
    ),
    Shape(
        "trainer_prints",
        b" MLM Loss =",
        re.compile(
            rb"(?:Rank = {1,12}(\d{1,9}) :: )?Step = {1,12}(\d{1,18})"
            + b"".join(
                b" " + name + _PRINT
                for name in (b"Throughput", b"MLM Loss", b"NSP Loss", b"Loss", b"Average Loss")
            )
            + rb" LR"
            + _PRINT
            + rb"(?: Loss scale"
            + _PRINT
            + rb"(?: isFinite = {1,12}(\d{1,9})(?!\d))?)?"
        ),
        _build_print,
    ),
    Shape(
        "adapter_steps",
        b"global_step...",
        re.compile(rb"global_step\.\.\.(" + INTEGER + rb")"),
        lambda m: (int(m.group(1)),),
    ),
    Shape(
        "final_losses",
        b"Loss for final step: ",
        re.compile(
            rb"Loss for final step: (?:None|([-+]?\d{1,40}(?:\.\d{1,40})?(?:[eE][-+]?\d{1,4})?|nan"
            rb"|[-+]?inf))\.(?!\d)"
        ),
        lambda m: (float(m.group(1) or b"nan"), m.group(1) is not None),
    ),
    Shape(
        "eval_progress",
        b"valuation ",
        re.compile(
            rb"(Starting evaluation at )|(Finished evaluation at )"
            rb"|Evaluation \[(\d{1,18})/(\d{1,18})\]"
        ),
        _build_eval,
    ),
    Shape(
        "eval_results",
        b"Saving dict for global step ",
        re.compile(rb"Saving dict for global step (\d{1,18}): (.*)", re.DOTALL),
        lambda m: (int(m.group(1)), decode_text(m.group(2))),
    ),
    Shape(
        "inference_summaries",
        b"Throughput Average (sentences/sec) = ",
        re.compile(rb"Throughput Average \(sentences/sec\) = (" + NUMBER + rb")"),
        lambda m: (float(m.group(1)),),
    ),
    Shape(
        "predicted_batches",
        b"predict: batch = ",
        re.compile(
            rb"predict: batch = ("
            + INTEGER
            + rb"), examples = ("
            + INTEGER
            + rb"), seconds = ("
            + NUMBER
            + rb")"
        ),
        lambda m: (int(m.group(1)), int(m.group(2)), float(m.group(3))),
    ),
    Shape(
        "best_checkpoints",
        b"best checkpoint: ",
        re.compile(rb"best checkpoint: (\S{1,4096}), (\w{1,100}) = (" + NUMBER + rb")"),
        lambda m: (decode_text(m.group(1)), decode_text(m.group(2)), float(m.group(3))),
    ),
    Shape(
        "flags",
        b"name: ",
        re.compile(rb"(?:TF flags:)?name: (\w{1,100})\s{1,200}(.*)", re.DOTALL),
        lambda m: (decode_text(m.group(1)), decode_text(m.group(2).rstrip())),
        at_start=True,
    ),
    Shape(
        "rank_lines",
        b"RANK_SIZE=",
        re.compile(rb"RANK_SIZE= {0,4}(\d{1,9}) {1,4}RANK_ID= {0,4}(\d{1,9})(?!\d)"),
        lambda m: (int(m.group(1)), int(m.group(2))),
    ),
    Shape(
        "phases",
        b"model_fn.",
        re.compile(rb"Calling model_fn\.|Done calling model_fn\."),
        lambda m: (decode_text(m.group())[:-1],),
    ),
    Shape(
        "phases",
        b"Graph was finalized.",
        re.compile(rb"Graph was finalized\."),
        lambda m: ("Graph was finalized",),
    ),
    Shape(
        "phases",
        b"unning local_init_op.",
        re.compile(rb"Running local_init_op\.|Done running local_init_op\."),
        lambda m: (decode_text(m.group())[:-1],),
    ),
    Shape(
        "phases",
        b"Restoring parameters from ",
        re.compile(rb"Restoring parameters from "),
        lambda m: ("Restoring parameters",),
    ),
    Shape(
        "errors",
        b"ERROR: ",
        re.compile(rb"ERROR: (usage|data|unavailable|io|internal): (.*)", re.DOTALL),
        lambda m: (decode_text(m.group(1)), decode_text(m.group(2).rstrip())),
        at_start=True,
    ),
    Shape(
        "errors",
        b"Traceback (most recent call last):",
        re.compile(rb"Traceback \(most recent call last\):"),
        lambda m: ("traceback", ""),
    ),
    Shape(
        "shell_results",
        b"turing train ",
        re.compile(rb"turing train (success|fail)"),
        lambda m: (m.group(1) == b"success",),
    ),
)

# Label and value of the loss scale may be parted by other processes' output: they are counted as
# tokens. A value without its label counts only at the start of a line or right after a record.
LOSS_SCALE_LABEL = b"loss_scale:"
LOSS_SCALE_RECORD = re.compile(rb"loss_scale: ?(?:\[(" + _DIGITS + rb")\]|(" + NUMBER + rb"))?")
LOSS_SCALE_VALUE = re.compile(rb" ?\[([-+]?\d{1,40}\.\d{0,40}(?:[eE][-+]?\d{1,4})?|nan|[-+]?inf)\]")

# Kinds that end in a number: where the file ends right behind them, the number may be cut short.
OPEN_ENDED = frozenset(
    "step_rates losses loss_scales adapter_steps trainer_prints final_losses eval_results "
    "inference_summaries predicted_batches best_checkpoints rank_lines".split()
)
NON_FINITE = re.compile(rb"[ \[:][-+]?(?:nan|inf)")

# Where one of these stands outside of a complete record, a record was torn.
LABELS = (
    b"global_step/sec:",
    b"masked_lm_loss =",
    b"total_loss =",
    b"[GEOP]",
    b"Saving checkpoints for",
    b"Loss for final step:",
    b"MLM Loss =",
)
# ``  masked_lm_loss = 0.61``: one line of the block that follows an evaluation, and no tear.
LONE_TAG = re.compile(rb" {0,4}[A-Za-z_][\w./]{0,99} = " + NUMBER + rb"\s*$")

# Each trigger and label holds one of these: a line without any has nothing to tell.
HINTS = (
    b"loss",
    b"Loss",
    b"step",
    b"Step",
    b"GEOP",
    b"heckpoints for",
    b"valuation ",
    b"sentences/sec",
    b"predict: b",
    b"best ch",
    b"name: ",
    b"RANK_SIZE",
    b"model_fn.",
    b"Graph was f",
    b"local_init_op",
    b"Restoring p",
    b"ERROR: ",
    b"Traceback (",
    b"turing train",
)
