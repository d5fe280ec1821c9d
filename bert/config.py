"""The architecture of a BERT model: its numbers, its presets, and whether data fit it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import Any, List, Mapping, Optional

from bert.errors import DataError, UsageError, render_suggestion

_PRESET_FILE = re.compile(r"(bert|nezha)-[\w-]+\.json$")
ACTIVATIONS = ("gelu", "relu", "tanh", "linear")

# Files of the original trainer that are found by their bare names, as presets are.
_FIELD_FILES = ("bert_base_config.json", "nezha_large_config.json")

# Public BERT checkpoints of Chinese ship these keys in their JSON; no BERT code reads them.
_INERT_KEYS = frozenset(
    [
        "directionality",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
    ]
)


@dataclasses.dataclass(frozen=True)
class BertConfig:
    """Architecture of one BERT model, in the names of the standard configuration JSON.

    Attributes:
        vocab_size: rows of the word embedding table.
        hidden_size: width H of every layer's output.
        num_hidden_layers: number of encoder layers.
        num_attention_heads: heads per layer; must divide `hidden_size`.
        intermediate_size: width of the feed-forward layer.
        hidden_act: activation of the feed-forward layer and of the MLM transform.
        hidden_dropout_prob: dropout after embeddings, attention output and feed-forward output.
        attention_probs_dropout_prob: dropout on the attention probabilities.
        max_position_embeddings: rows of the position table, the longest possible sequence; not
            used with relative positions.
        type_vocab_size: rows of the token type (segment) table.
        initializer_range: standard deviation of the truncated normal initialiser.
        use_relative_position: NEZHA's functional relative positions in every layer in place of
            the position table (`bert.model.relative_positions`).
    """

    vocab_size: int
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    max_position_embeddings: int = 512
    type_vocab_size: int = 16
    initializer_range: float = 0.02
    use_relative_position: bool = False

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads


def parse_bert_config(values: Mapping[str, Any], source: str) -> BertConfig:
    """Builds a configuration from the mapping of a configuration JSON.

    Args:
        values: the JSON object.
        source: where it came from, for messages.

    Raises:
        UsageError: if a key is unknown or absent, or a value has the wrong type or is impossible.
    """
    fields = {field.name: field for field in dataclasses.fields(BertConfig)}
    accepted = {}
    for key, value in values.items():
        if key in _INERT_KEYS:
            continue
        if key not in fields:
            raise UsageError(f"{source}: unknown key {key!r}{render_suggestion(key, fields)}")
        accepted[key] = _parse_value(key, fields[key].type, value, source)
    if "vocab_size" not in accepted:
        raise UsageError(f"{source}: key 'vocab_size' is missing")
    config = BertConfig(**accepted)
    check_bert_config(config, source)
    return config


def _parse_value(key: str, type_name: str, value: Any, source: str) -> Any:
    """Returns `value` as the field's type; an integer may stand for a float, nothing else."""
    if type_name == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = {"int": int, "float": float, "str": str, "bool": bool}[type_name]
    if key == "hidden_act" and value in (None, ""):
        return "linear"
    if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
        raise UsageError(f"{source}: {key!r} must be of type {type_name}, not {value!r}")
    return value


def check_bert_config(config: BertConfig, source: str) -> None:
    """Raises UsageError if the numbers of `config` cannot make a model."""
    for field in dataclasses.fields(BertConfig):
        value = getattr(config, field.name)
        if field.type == "int" and value < 1:
            raise UsageError(f"{source}: {field.name!r} must be at least 1, not {value}")
    if config.hidden_size % config.num_attention_heads:
        raise UsageError(
            f"{source}: hidden_size {config.hidden_size} is not a multiple of "
            f"num_attention_heads {config.num_attention_heads}"
        )
    if config.hidden_act not in ACTIVATIONS:
        raise UsageError(
            "{}: hidden_act {!r} is none of {}".format(
                source, config.hidden_act, ", ".join(ACTIVATIONS)
            )
        )
    for key in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if not 0.0 <= getattr(config, key) < 1.0:
            raise UsageError(f"{source}: {key!r} must be in [0, 1), not {getattr(config, key)}")
    if not config.initializer_range > 0.0:
        raise UsageError(f"{source}: 'initializer_range' must be above 0")


def list_presets() -> List[str]:
    """Returns the names that `read_bert_config` takes in place of a path."""
    # The directory holds rank tables too.
    names = filter(_PRESET_FILE.match, os.listdir(_preset_directory()))
    return sorted(name[: -len(".json")] for name in names)


def _preset_directory() -> str:
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "configs")


def read_bert_config(path_or_preset: str) -> BertConfig:
    """Reads a configuration JSON, or the preset of that name.

    Raises:
        UsageError: if there is no such file or preset, or its content is not a configuration.
    """
    presets = list_presets()
    path = path_or_preset
    if path_or_preset in presets:
        path = os.path.join(_preset_directory(), path_or_preset + ".json")
    elif path_or_preset in _FIELD_FILES and not os.path.exists(path_or_preset):
        path = os.path.join(_preset_directory(), path_or_preset)
    try:
        with open(path, encoding="utf-8") as stream:
            values = json.load(stream)
    except OSError as error:
        raise UsageError(
            "--bert_config_file={}: {}{}; give a configuration JSON or one of {}".format(
                path_or_preset,
                error.strerror or error,
                render_suggestion(path_or_preset, presets),
                ", ".join(presets),
            )
        ) from error
    except ValueError as error:
        raise UsageError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: must hold one JSON object")
    return parse_bert_config(values, path)


def override_dropout(
    config: BertConfig, hidden: Optional[float], attention_probs: Optional[float]
) -> BertConfig:
    """Returns `config` with the dropout probabilities that are not None put in.

    Raises:
        UsageError: if a probability is outside [0, 1).
    """
    changes = {}
    if hidden is not None:
        changes["hidden_dropout_prob"] = hidden
    if attention_probs is not None:
        changes["attention_probs_dropout_prob"] = attention_probs
    changed = dataclasses.replace(config, **changes)
    check_bert_config(changed, "command line")
    return changed


def check_sequence_length(config: BertConfig, max_seq_length: int) -> None:
    """Raises UsageError if a sequence would be longer than the position table.

    Relative positions have no table and no longest sequence.
    """
    if config.use_relative_position:
        return
    if max_seq_length > config.max_position_embeddings:
        raise UsageError(
            f"--max_seq_length={max_seq_length} is longer than the model's position table; "
            f"the most is max_position_embeddings = {config.max_position_embeddings}"
        )


def check_vocabulary(config: BertConfig, n_data_ids: int, source: str) -> None:
    """Raises DataError if data hold ids that the embedding table has no row for.

    A device reads past the table in silence, so this is checked before the first step.

    Args:
        config: the model.
        n_data_ids: one more than the largest id that the data can hold.
        source: the file that says so, for the message.
    """
    if n_data_ids > config.vocab_size:
        raise DataError(
            f"{source}: ids up to {n_data_ids - 1} need vocab_size >= {n_data_ids}, the model has "
            f"{config.vocab_size}; use the model configuration that was made for this vocabulary"
        )
