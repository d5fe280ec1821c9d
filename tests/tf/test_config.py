"""Model configurations: presets, refusals, and what data may hold."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from bert import config as bert_config
from bert.errors import DataError, UsageError
from tests.tf.graphs import SMALL_MODEL


def test_presets_are_the_published_sizes():
    assert bert_config.list_presets() == [
        "bert-base",
        "bert-base-chinese",
        "bert-large",
        "bert-tiny",
        "nezha-base",
        "nezha-large",
    ]
    base = bert_config.read_bert_config("bert-base")
    assert (base.vocab_size, base.hidden_size, base.num_hidden_layers) == (30522, 768, 12)
    assert (base.num_attention_heads, base.head_size, base.intermediate_size) == (12, 64, 3072)
    tiny = bert_config.read_bert_config("bert-tiny")
    assert (tiny.hidden_size, tiny.num_hidden_layers, tiny.num_attention_heads) == (128, 2, 2)
    assert (tiny.intermediate_size, tiny.vocab_size) == (512, 30522)
    chinese = bert_config.read_bert_config("bert-base-chinese")
    assert chinese == dataclasses.replace(base, vocab_size=21128)
    large = bert_config.read_bert_config("bert-large")
    assert (large.hidden_size, large.num_hidden_layers, large.head_size) == (1024, 24, 64)
    assert (large.intermediate_size, large.vocab_size) == (4096, 30522)
    nezha = bert_config.read_bert_config("nezha-base")
    assert nezha == dataclasses.replace(chinese, use_relative_position=True)
    nezha = bert_config.read_bert_config("nezha-large")
    assert nezha == dataclasses.replace(large, vocab_size=21128, use_relative_position=True)


@pytest.mark.parametrize(
    ("name", "preset"),
    [("bert_base_config.json", "bert-base"), ("nezha_large_config.json", "nezha-large")],
)
def test_file_names_of_the_field_work_as_name_and_as_path(name, preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wanted = bert_config.read_bert_config(preset)
    assert bert_config.read_bert_config(name) == wanted
    shipped = os.path.join(os.path.dirname(bert_config.__file__), "configs", name)
    assert bert_config.read_bert_config(shipped) == wanted
    # A file of the user's goes first, and a wrong path is no name.
    (tmp_path / name).write_text(json.dumps(SMALL_MODEL), encoding="utf-8")
    assert bert_config.read_bert_config(name).hidden_size == SMALL_MODEL["hidden_size"]
    with pytest.raises(UsageError, match="No such file"):
        bert_config.read_bert_config(os.path.join("elsewhere", name))


def test_missing_keys_get_the_published_defaults():
    config = bert_config.parse_bert_config({"vocab_size": 11}, "x.json")
    assert config == bert_config.BertConfig(
        11, 768, 12, 12, 3072, "gelu", 0.1, 0.1, 512, 16, 0.02, False
    )


def test_keys_that_public_checkpoints_carry_along_are_let_through():
    values = dict(SMALL_MODEL, pooler_type="first_token_transform", directionality="bidi")
    assert bert_config.parse_bert_config(values, "x").hidden_size == 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hiden_size": 5}, "x.json: unknown key 'hiden_size' (did you mean 'hidden_size'?)"),
        ({"zebra": 5}, "x.json: unknown key 'zebra'"),
        ({"hidden_size": 24.0}, "x.json: 'hidden_size' must be of type int, not 24.0"),
        ({"hidden_size": True}, "x.json: 'hidden_size' must be of type int, not True"),
        ({"hidden_size": "24"}, "x.json: 'hidden_size' must be of type int, not '24'"),
        (
            {"hidden_size": 25},
            "x.json: hidden_size 25 is not a multiple of num_attention_heads 3",
        ),
        ({"num_hidden_layers": 0}, "x.json: 'num_hidden_layers' must be at least 1, not 0"),
        ({"hidden_act": "swish"}, "x.json: hidden_act 'swish' is none of gelu, relu, tanh, linear"),
        (
            {"hidden_dropout_prob": 1},
            "x.json: 'hidden_dropout_prob' must be in [0, 1), not 1.0",
        ),
        (
            {"use_relative_position": 1},
            "x.json: 'use_relative_position' must be of type bool, not 1",
        ),
        ({"initializer_range": 0}, "x.json: 'initializer_range' must be above 0"),
    ],
)
def test_impossible_values_are_refused(change, message):
    with pytest.raises(UsageError) as caught:
        bert_config.parse_bert_config(dict(SMALL_MODEL, **change), "x.json")
    assert str(caught.value) == message


def test_vocab_size_is_required():
    values = {key: value for key, value in SMALL_MODEL.items() if key != "vocab_size"}
    with pytest.raises(UsageError, match="key 'vocab_size' is missing"):
        bert_config.parse_bert_config(values, "x.json")


def test_an_absent_or_broken_file_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match=r"bert-tny: .*did you mean 'bert-tiny'\?\)"):
        bert_config.read_bert_config("bert-tny")
    path = tmp_path / "model.json"
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="not valid JSON"):
        bert_config.read_bert_config(str(path))
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(UsageError, match="must hold one JSON object"):
        bert_config.read_bert_config(str(path))
    path.write_text(json.dumps(SMALL_MODEL), encoding="utf-8")
    assert bert_config.read_bert_config(str(path)) == bert_config.BertConfig(**SMALL_MODEL)


def test_what_does_not_fit_the_tables_is_refused():
    config = bert_config.BertConfig(**SMALL_MODEL)
    bert_config.check_sequence_length(config, 19)
    bert_config.check_vocabulary(config, 97, "vocab.txt")
    with pytest.raises(UsageError, match="--max_seq_length=20 .* max_position_embeddings = 19"):
        bert_config.check_sequence_length(config, 20)
    with pytest.raises(DataError, match="ids up to 97 need vocab_size >= 98, the model has 97"):
        bert_config.check_vocabulary(config, 98, "vocab.txt")


def test_dropout_can_be_overridden_but_not_beyond_reason():
    config = bert_config.BertConfig(vocab_size=11)
    changed = bert_config.override_dropout(config, 0.0, None)
    assert (changed.hidden_dropout_prob, changed.attention_probs_dropout_prob) == (0.0, 0.1)
    with pytest.raises(UsageError, match="attention_probs_dropout_prob"):
        bert_config.override_dropout(config, None, 1.0)
