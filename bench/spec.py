"""What is asked of a run: the settings, their checks, and how layers of them are put together.

Layers are applied in order, later ones win: the built-in defaults of :class:`RunSpec`, a YAML file
(``--spec``), then the command line. Keys that no setting has are refused, with a suggestion.
Building a spec touches nothing outside: it reads no device, sets no variable, makes no folder.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple

import yaml

from bench.errors import UsageError
from bench.settings import parse_value, setting
from bench.spec_downstream import PREDICT, PRETRAIN, TASKS, DownstreamSpec
from bench.spec_hosts import LAUNCHERS, HostsSpec
from bench.spec_limits import LimitsSpec
from bench.spec_session import SessionSpec
from bench.spec_simulated import SimulatedSpec

MAX_CARDS = 4096
"""HCCL documents clusters of 8·n cards with n ≤ 512."""

Layer = Tuple[str, Mapping[str, Any]]
"""Where settings come from (for messages), and the settings by dotted key."""


@dataclass(frozen=True)
class RunSpec:
    """What was asked. ``cards`` lists the card counts of a sweep; a single run holds just one."""

    cards: Tuple[int, ...] = setting((1,), "ints", "card counts", minimum=1, maximum=MAX_CARDS)
    backend: str = setting(
        "auto", "str", "device backend", choices=("auto", "ascend", "cpu", "simulated")
    )
    launcher: str = setting("local", "str", "what starts the ranks", choices=LAUNCHERS)
    task: str = setting(
        PRETRAIN, "str", "what is trained; predict times a trained model", choices=TASKS
    )
    model: str = setting("bert-tiny", "str", "preset name or path of a BERT config JSON")
    batch_size: int = setting(16, "int", "sequences per card and step", minimum=1, maximum=10**6)
    total_batch_size: Optional[int] = setting(
        None,
        "int",
        "sequences of all cards and step, shared out evenly (strong scaling); sets batch_size",
        minimum=1,
    )
    seq_length: int = setting(128, "int", "tokens per sequence", minimum=8, maximum=65536)
    max_predictions: int = setting(20, "int", "masked positions per sequence", minimum=1)
    steps: int = setting(200, "int", "training steps", minimum=1, maximum=10**9)
    iterations_per_loop: Optional[int] = setting(
        None, "int", "steps per report, and per device loop on Ascend", minimum=1
    )
    data: Optional[str] = setting(None, "str", "directory of TFRecord files; synthetic if absent")
    data_language: str = setting(
        "en", "str", "language of the synthetic corpus", choices=("en", "zh")
    )
    learning_rate: float = setting(1e-3, "float", "peak learning rate", minimum=0.0)
    warmup_steps: Optional[int] = setting(
        None,
        "int",
        "steps of linear learning-rate warm-up; a tenth of the steps if absent",
        minimum=0,
    )
    optimizer: str = setting("adam", "str", "optimiser", choices=("adam", "lamb"))
    precision: str = setting(
        "fp32", "str", "compute precision", choices=("fp32", "fp16", "allow_mix_precision")
    )
    save_checkpoints_steps: int = setting(0, "int", "steps between checkpoints; 0 off", minimum=0)
    random_seed: int = setting(
        42, "int", "seed of weights, dropout, data order", minimum=0, maximum=2**31 - 1
    )
    cores_per_card: Optional[int] = setting(None, "int", "CPU cores pinned to each card", minimum=1)
    trainer_command: Tuple[str, ...] = setting((), "words", "another trainer's command line")
    trainer_options: Tuple[str, ...] = setting((), "words", "more flags for the trainer")
    trainer_python: Optional[str] = setting(None, "str", "interpreter that runs the trainer")
    rank_table: Optional[str] = setting(None, "str", "rank table file (Ascend, several cards)")
    rank_timeout_seconds: float = setting(
        5.0, "float", "wait between TERM and KILL of a rank", minimum=0.0
    )
    last_rank_timeout_seconds: float = setting(
        120.0, "float", "wait for the other ranks once one has ended well", minimum=0.0
    )
    run_timeout_seconds: Optional[float] = setting(
        None, "float", "outer deadline of one run", minimum=1.0
    )
    require_steady: Optional[bool] = setting(
        None, "bool", "a run without a steady state is invalid; if absent, on all backends but cpu"
    )
    hosts: HostsSpec = field(default=HostsSpec(), metadata={"kind": "group"})
    limits: LimitsSpec = field(default=LimitsSpec(), metadata={"kind": "group"})
    batch_sizes: Tuple[int, ...] = setting(
        (), "ints", "several batch sizes, each a case of its own", minimum=1, maximum=10**6
    )
    downstream: DownstreamSpec = field(default=DownstreamSpec(), metadata={"kind": "group"})
    session: SessionSpec = field(default=SessionSpec(), metadata={"kind": "group"})
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


_DEEPEST = 3
# Tags and dates of wrong form make the YAML library raise errors that are not its own.
_YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError)


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
            values[key] = parse_value(source, key, raw, settings[key])
    groups: Dict[str, Dict[str, Any]] = {}
    for key in [key for key in values if "." in key]:
        group, name = key.split(".", 1)
        groups.setdefault(group, {})[name] = values.pop(key)
    for group, parts in groups.items():
        values[group] = dataclasses.replace(getattr(RunSpec(), group), **parts)
    spec = RunSpec(**values)
    _check_together(spec)
    return spec


def list_cases(spec: RunSpec) -> List[Tuple[int, int]]:
    """(cards, sequences per card and step) of every case of a sweep."""
    sizes = spec.batch_sizes or (None,)
    return [
        (n_cards, for_cards(spec, n_cards, size).batch_size)
        for n_cards in spec.cards
        for size in sizes
    ]


def for_cards(spec: RunSpec, n_cards: int, batch_size: Optional[int] = None) -> RunSpec:
    """The spec of one run of a sweep.

    Args:
        spec: of the sweep.
        n_cards: card count of the run.
        batch_size: sequences per card and step; that of the sweep if None.

    Raises:
        UsageError: the total batch does not divide by the cards.
    """
    batch_size = spec.batch_size if batch_size is None else batch_size
    if spec.total_batch_size is not None:
        batch_size, rest = divmod(spec.total_batch_size, n_cards)
        if rest or not batch_size:
            raise UsageError(
                f"total_batch_size ({spec.total_batch_size}) does not divide by {n_cards} cards"
            )
    return dataclasses.replace(spec, cards=(n_cards,), batch_size=batch_size, batch_sizes=())


def spec_to_dict(spec: RunSpec) -> Dict[str, Any]:
    """Nested plain values, ready for JSON or YAML."""
    plain: Dict[str, Any] = dataclasses.asdict(spec)
    return {key: _make_plain(value) for key, value in plain.items()}


def _make_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _make_plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


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
    except _YAML_ERRORS as error:
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
    except _YAML_ERRORS as error:
        raise UsageError(f"--set {key}: the value is not valid YAML") from error


def flatten_mapping(source: str, mapping: Mapping[Any, Any], prefix: str = "") -> Dict[str, Any]:
    """Nested mappings to dotted keys.

    Raises:
        UsageError: a key is not a string, or mappings lie in each other deeper than settings do.
    """
    if prefix.count(".") > _DEEPEST:
        raise UsageError(f"{source}: {prefix[:40]}… lies too deep; settings are group.name")
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
    if len(set(spec.batch_sizes)) != len(spec.batch_sizes):
        raise UsageError("batch_sizes names a size twice")
    if spec.batch_sizes and spec.total_batch_size is not None:
        raise UsageError("batch_sizes and total_batch_size exclude each other")
    if spec.task == PREDICT and spec.cards != (1,):
        raise UsageError("task predict runs on one card: rank 0 alone predicts; drop --cards")
    if spec.task != PRETRAIN and spec.data is not None:
        raise UsageError("data is for pre-training; name downstream.data_dir for other tasks")
    list_cases(spec)
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
