"""What is asked of a run: the settings, their checks, and how layers of them are put together.

Layers are applied in order, later ones win: the built-in defaults of :class:`RunSpec`, a YAML file
(``--spec``), then the command line. Keys that no setting has are refused, with a suggestion.
Building a spec touches nothing outside: it reads no device, sets no variable, makes no folder.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

import yaml

from bench.errors import UsageError

MAX_CARDS = 4096
"""HCCL documents clusters of 8·n cards with n ≤ 512."""

Layer = Tuple[str, Mapping[str, Any]]
"""Where settings come from (for messages), and the settings by dotted key."""


def _setting(
    default: Any,
    kind: str,
    text: str,
    *,
    minimum: Optional[float] = None,
    maximum: Optional[float] = None,
    choices: Optional[Sequence[str]] = None,
) -> Any:
    """Declares a setting: its kind and the bounds that :func:`_parse_value` enforces."""
    return field(
        default=default,
        metadata={
            "kind": kind,
            "help": text,
            "minimum": minimum,
            "maximum": maximum,
            "choices": choices,
        },
    )


@dataclass(frozen=True)
class SimulatedSpec:
    """How the simulated backend behaves. Rates are true rates: what a perfect reader finds."""

    steps_per_second: float = _setting(
        2.451, "float", "true step rate of one card alone", minimum=1e-6
    )
    parallel_cost_ratio: float = _setting(
        0.02, "float", "extra step time for each doubling of the cards", minimum=0.0
    )
    noise_ratio: float = _setting(
        0.002, "float", "standard deviation of an interval's time over its mean", minimum=0.0
    )
    compile_seconds: float = _setting(
        30.0, "float", "simulated time of the first, graph-building interval", minimum=0.0
    )
    speed: float = _setting(
        0.0, "float", "simulated seconds per real second; 0 writes as fast as it can", minimum=0.0
    )
    start_loss: float = _setting(10.4, "float", "masked-LM loss at step 0, nats", minimum=0.0)
    final_loss: float = _setting(
        1.5, "float", "masked-LM loss that the curve tends to, nats", minimum=0.0
    )
    fail_rank: Optional[int] = _setting(None, "int", "rank that exits with an error", minimum=0)
    fail_step: int = _setting(0, "int", "step at which that rank fails", minimum=0)


@dataclass(frozen=True)
class RunSpec:
    """What was asked. ``cards`` lists the card counts of a sweep; a single run holds just one."""

    cards: Tuple[int, ...] = _setting((1,), "ints", "card counts", minimum=1, maximum=MAX_CARDS)
    backend: str = _setting(
        "auto", "str", "device backend", choices=("auto", "ascend", "cpu", "simulated")
    )
    task: str = _setting("pretrain", "str", "what is trained", choices=("pretrain",))
    model: str = _setting("bert-tiny", "str", "preset name or path of a BERT config JSON")
    batch_size: int = _setting(16, "int", "sequences per card and step", minimum=1)
    seq_length: int = _setting(128, "int", "tokens per sequence", minimum=8)
    max_predictions: int = _setting(20, "int", "masked positions per sequence", minimum=1)
    steps: int = _setting(100, "int", "training steps", minimum=1)
    iterations_per_loop: Optional[int] = _setting(
        None, "int", "steps per report, and per device loop on Ascend", minimum=1
    )
    data: Optional[str] = _setting(None, "str", "directory of TFRecord files; synthetic if absent")
    data_language: str = _setting(
        "en", "str", "language of the synthetic corpus", choices=("en", "zh")
    )
    learning_rate: float = _setting(1e-3, "float", "peak learning rate", minimum=0.0)
    warmup_steps: Optional[int] = _setting(
        None,
        "int",
        "steps of linear learning-rate warm-up; a tenth of the steps if absent",
        minimum=0,
    )
    optimizer: str = _setting("adam", "str", "optimiser", choices=("adam", "lamb"))
    precision: str = _setting(
        "fp32", "str", "compute precision", choices=("fp32", "fp16", "allow_mix_precision")
    )
    save_checkpoints_steps: int = _setting(0, "int", "steps between checkpoints; 0 off", minimum=0)
    random_seed: int = _setting(42, "int", "seed of weights, dropout, data order", minimum=0)
    cores_per_card: Optional[int] = _setting(
        None, "int", "CPU cores pinned to each card", minimum=1
    )
    trainer_command: Tuple[str, ...] = _setting((), "words", "another trainer's command line")
    trainer_options: Tuple[str, ...] = _setting((), "words", "more flags for the trainer")
    trainer_python: Optional[str] = _setting(None, "str", "interpreter that runs the trainer")
    rank_table: Optional[str] = _setting(None, "str", "rank table file (Ascend, several cards)")
    rank_timeout_seconds: float = _setting(
        20.0, "float", "wait between TERM and KILL of a rank", minimum=0.0
    )
    run_timeout_seconds: Optional[float] = _setting(
        None, "float", "outer deadline of one run", minimum=1.0
    )
    simulated: SimulatedSpec = field(default=SimulatedSpec(), metadata={"kind": "group"})

    @property
    def n_cards(self) -> int:
        """The card count of a single run.

        Raises:
            ValueError: when the spec still holds a sweep.
        """
        if len(self.cards) != 1:
            raise ValueError(f"a sweep has no single card count: {self.cards}")
        return self.cards[0]

    @property
    def global_batch_size(self) -> int:
        """Sequences of all cards in one step."""
        return self.batch_size * self.n_cards


def list_settings(cls: type = RunSpec, prefix: str = "") -> Dict[str, Mapping[str, Any]]:
    """Dotted key → metadata of every setting, groups expanded."""
    settings: Dict[str, Mapping[str, Any]] = {}
    for item in dataclasses.fields(cls):
        if item.metadata["kind"] == "group":
            settings.update(list_settings(type(item.default), prefix + item.name + "."))
        else:
            settings[prefix + item.name] = dict(item.metadata, default=item.default)
    return settings


def build_spec(layers: Iterable[Layer]) -> RunSpec:
    """Applies layers of settings over the defaults.

    Args:
        layers: (where from, settings by dotted key), in order of rising priority.

    Raises:
        UsageError: unknown key, wrong type, value out of bounds, or settings that exclude
            each other; the message names the layer and the key.
    """
    settings = list_settings()
    values: Dict[str, Any] = {}
    for source, layer in layers:
        for key, raw in layer.items():
            if key not in settings:
                raise UsageError(_unknown_key_message(source, key, settings))
            values[key] = _parse_value(source, key, raw, settings[key])
    groups: Dict[str, Dict[str, Any]] = {}
    for key in [key for key in values if "." in key]:
        group, name = key.split(".", 1)
        groups.setdefault(group, {})[name] = values.pop(key)
    for group, parts in groups.items():
        values[group] = dataclasses.replace(getattr(RunSpec(), group), **parts)
    spec = RunSpec(**values)
    _check_together(spec)
    return spec


def for_cards(spec: RunSpec, n_cards: int) -> RunSpec:
    """The spec of one run of a sweep."""
    return dataclasses.replace(spec, cards=(n_cards,))


def spec_to_dict(spec: RunSpec) -> Dict[str, Any]:
    """Nested plain values, ready for JSON or YAML."""
    plain: Dict[str, Any] = dataclasses.asdict(spec)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def spec_from_dict(plain: Mapping[str, Any], source: str) -> RunSpec:
    """The reverse of :func:`spec_to_dict`, checked as any other layer."""
    return build_spec([(source, flatten_mapping(source, plain))])


def read_spec_file(path: Path) -> Layer:
    """Reads a YAML file of settings into a layer.

    Raises:
        UsageError: the file is absent, not YAML, or not a mapping.
    """
    source = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read spec file {source}: {error}") from error
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" line {where.line + 1}" if where else ""
        raise UsageError(f"spec file {source}{line} is not valid YAML") from error
    if loaded is None:
        loaded = {}
    if not isinstance(loaded, dict):
        raise UsageError(f"spec file {source} must be a mapping of settings")
    return source, flatten_mapping(source, loaded)


def parse_assignment(text: str) -> Tuple[str, Any]:
    """Parses one ``--set key=value``; the value is read as YAML.

    Raises:
        UsageError: there is no ``=`` or the value is not valid YAML.
    """
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise UsageError(f"--set wants key=value, got {text!r}")
    try:
        return key.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {key}: the value is not valid YAML") from error


def flatten_mapping(source: str, mapping: Mapping[Any, Any], prefix: str = "") -> Dict[str, Any]:
    """Nested mappings to dotted keys.

    Raises:
        UsageError: a key is not a string.
    """
    flat: Dict[str, Any] = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise UsageError(f"{source}: key {key!r} is not a word")
        if isinstance(value, Mapping):
            flat.update(flatten_mapping(source, value, prefix + key + "."))
        else:
            flat[prefix + key] = value
    return flat


def suggest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"`` when a known word is near, else an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _unknown_key_message(source: str, key: str, settings: Mapping[str, Any]) -> str:
    return f"{source}: unknown key {key!r}{suggest(key, settings)}"


def _check_together(spec: RunSpec) -> None:
    if len(set(spec.cards)) != len(spec.cards):
        raise UsageError("--cards names a count twice: {}".format(",".join(map(str, spec.cards))))
    if spec.iterations_per_loop and spec.steps % spec.iterations_per_loop:
        raise UsageError(
            f"steps ({spec.steps}) must be a multiple of iterations_per_loop "
            f"({spec.iterations_per_loop})"
        )
    if spec.max_predictions > spec.seq_length - 3:
        raise UsageError(
            f"max_predictions ({spec.max_predictions}) must leave room for [CLS] and two [SEP] "
            f"in seq_length ({spec.seq_length})"
        )
    if spec.warmup_steps is not None and spec.warmup_steps > spec.steps:
        raise UsageError(f"warmup_steps ({spec.warmup_steps}) is larger than steps ({spec.steps})")


def _parse_value(source: str, key: str, raw: Any, setting: Mapping[str, Any]) -> Any:
    if raw is None:
        if setting["default"] is None:
            return None
        raise UsageError(f"{source}: {key} needs a value")
    value: Any = _PARSERS[setting["kind"]](source, key, raw)
    numbers: Iterable[Any] = value if setting["kind"] == "ints" else (value,)
    for number in numbers:
        _check_bounds(source, key, number, setting)
    choices = setting["choices"]
    if choices and value not in choices:
        raise UsageError(
            "{}: {} must be one of {}, got {!r}".format(source, key, ", ".join(choices), value)
        )
    return value


def _check_bounds(source: str, key: str, number: Any, setting: Mapping[str, Any]) -> None:
    low, high = setting["minimum"], setting["maximum"]
    if low is not None and number < low:
        raise UsageError(f"{source}: {key} must be at least {low:g}, got {number}")
    if high is not None and number > high:
        raise UsageError(f"{source}: {key} must be at most {high:g}, got {number}")


def _wrong_type(source: str, key: str, wanted: str, raw: Any) -> UsageError:
    return UsageError(f"{source}: {key} must be {wanted}, got {raw!r}")


def _parse_int(source: str, key: str, raw: Any) -> int:
    if isinstance(raw, bool):
        raise _wrong_type(source, key, "a whole number", raw)
    try:
        number = int(raw) if not isinstance(raw, float) else (int(raw) if raw == int(raw) else None)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None:
        raise _wrong_type(source, key, "a whole number", raw)
    return number


def _parse_float(source: str, key: str, raw: Any) -> float:
    # YAML 1.1 reads 1e-4 (no dot) as a word, so words are tried as numbers too.
    if isinstance(raw, bool):
        raise _wrong_type(source, key, "a number", raw)
    try:
        number = float(raw)
    except (TypeError, ValueError) as error:
        raise _wrong_type(source, key, "a number", raw) from error
    if not math.isfinite(number):
        raise _wrong_type(source, key, "a finite number", raw)
    return number


def _parse_bool(source: str, key: str, raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise _wrong_type(source, key, "true or false", raw)
    return raw


def _parse_str(source: str, key: str, raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise _wrong_type(source, key, "a word", raw)
    return raw


def _parse_ints(source: str, key: str, raw: Any) -> Tuple[int, ...]:
    if isinstance(raw, str):
        parts: List[Any] = [part.strip() for part in raw.split(",")]
    elif isinstance(raw, (list, tuple)):
        parts = list(raw)
    else:
        parts = [raw]
    if not parts or parts == [""]:
        raise _wrong_type(source, key, "a list of whole numbers like 1,2,8", raw)
    return tuple(_parse_int(source, key, part) for part in parts)


def _parse_words(source: str, key: str, raw: Any) -> Tuple[str, ...]:
    if isinstance(raw, str):
        try:
            return tuple(shlex.split(raw))
        except ValueError as error:
            raise _wrong_type(source, key, "a command line with closed quotes", raw) from error
    if isinstance(raw, (list, tuple)) and all(isinstance(word, str) for word in raw):
        return tuple(raw)
    raise _wrong_type(source, key, "a command line", raw)


_PARSERS = {
    "int": _parse_int,
    "float": _parse_float,
    "bool": _parse_bool,
    "str": _parse_str,
    "ints": _parse_ints,
    "words": _parse_words,
}
