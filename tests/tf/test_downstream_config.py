"""Flags of fine-tuning: what is asked for holds, and what follows from the data follows."""

from __future__ import annotations

import pytest

from bert.backends.rank import RankEnvironment
from bert.downstream import classifier, ner, reading
from bert.downstream.finetune_config import build_finetune_config, list_splits, resolve_steps
from bert.downstream.flags import build_flag_specs
from bert.errors import DataError, UsageError
from bert.flags import parse_flags
from tests.tf.downstream_runs import SAMPLES, build_command_line, sample_flags

TASKS = {"classifier": "lcqmc", "ner": "ner", "reading": "cmrc"}


def build(kind, rank=None, **changes):
    flags = sample_flags(TASKS[kind], output_dir="out", **changes)
    parsed = parse_flags(build_command_line(flags), build_flag_specs(kind))
    return build_finetune_config(kind, parsed, rank or RankEnvironment())


@pytest.mark.parametrize("kind", TASKS)
def test_every_flag_of_the_field_is_there(kind):
    """Item 18: flags that the model read were not defined."""
    names = {spec.name for spec in build_flag_specs(kind)}
    assert len(names) == len(build_flag_specs(kind))
    assert names >= {
        *("data_dir", "bert_config_file", "vocab_file", "output_dir", "task_name"),
        *("init_checkpoint", "do_lower_case", "max_seq_length", "do_train", "do_eval"),
        *("do_eval_all", "do_train_and_eval", "do_predict", "train_batch_size"),
        *("eval_batch_size", "predict_batch_size", "learning_rate", "num_train_epochs"),
        *("warmup_proportion", "save_checkpoints_steps", "iterations_per_loop", "use_tpu"),
        *("npu_bert_debug", "npu_bert_fused_gelu", "npu_bert_npu_dropout", "npu_gather"),
        *("npu_bert_loss_scale", "init_loss_scale_value", "hcom_parallel", "use_fp16_cls"),
    }
    if kind == "reading":
        assert names >= {
            *("train_file", "predict_file", "doc_stride", "max_query_length", "n_best_size"),
            *("max_answer_length", "rand_seed", "verbose_logging", "do_predict_all"),
        }


@pytest.mark.parametrize("kind", TASKS)
def test_what_the_user_gives_is_never_replaced(kind):
    """Item 20: numbers were overwritten per task, and paths of vocabulary and model too."""
    config = build(
        kind,
        max_seq_length=33,
        train_batch_size=5,
        eval_batch_size=6,
        predict_batch_size=7,
        learning_rate=2e-4,
        max_steps=40,
        warmup_proportion=0.25,
        save_checkpoints_steps=9,
        iterations_per_loop=4,
        keep_checkpoint_max=3,
        random_seed=8,
        adam_epsilon=1e-7,
    )
    config = resolve_steps(config, 1000, 1)
    train = config.train
    assert (config.max_seq_length, train.input.max_seq_length) == (33, 33)
    assert (train.input.train_batch_size, config.eval_batch_size) == (5, 6)
    assert (config.predict_batch_size, train.random_seed) == (7, 8)
    schedule = train.optimizer.schedule
    assert (schedule.learning_rate, schedule.n_train_steps, schedule.n_warmup_steps) == (
        2e-4,
        40,
        10,
    )
    assert (train.save_checkpoints_steps, train.keep_checkpoint_max) == (9, 3)
    assert (train.n_steps_per_loop, train.n_steps_per_loss_line) == (4, 4)
    assert train.optimizer.epsilon == 1e-7
    assert config.vocab_file.endswith("pretrain-toy/vocab.txt")
    assert train.bert.vocab_size == 1000


@pytest.mark.parametrize(
    ("n_rows", "ranks", "changes", "wanted"),
    [
        # steps, warm-up, per loop, between checkpoints
        (100, 1, {"num_train_epochs": 3, "train_batch_size": 16}, (19, 1, 10, 7)),
        (100, 2, {"num_train_epochs": 3, "train_batch_size": 16}, (10, 1, 10, 4)),
        (100, 1, {"num_train_epochs": 0.01, "train_batch_size": 16}, (1, 0, 1, 7)),
        (64, 1, {"num_train_epochs": 40, "train_batch_size": 16}, (160, 16, 10, 16)),
        (
            64,
            1,
            {"num_train_epochs": 2, "train_batch_size": 4, "num_accumulation_steps": 4},
            (8, 0, 8, 4),
        ),
        (64, 1, {"max_steps": 25}, (25, 2, 5, 3)),
        (64, 1, {"max_steps": 7, "warmup_proportion": 0.99}, (7, 6, 1, 2)),
    ],
)
def test_steps_follow_from_the_data(n_rows, ranks, changes, wanted):
    """Items 20 and 22: the last batch of an epoch counts, and checkpoints do not fill a disk."""
    changes = {"train_batch_size": 32, **changes}
    train = resolve_steps(build("classifier", **changes), n_rows, ranks).train
    schedule = train.optimizer.schedule
    assert wanted == (
        *(schedule.n_train_steps, schedule.n_warmup_steps),
        *(train.n_steps_per_loop, train.save_checkpoints_steps),
    )
    n_saved = -(-schedule.n_train_steps // train.save_checkpoints_steps)
    assert n_saved <= train.keep_checkpoint_max


def test_a_device_takes_whole_loops():
    config = build("classifier", backend="ascend", num_train_epochs=3, train_batch_size=16)
    train = resolve_steps(config, 100, 1).train
    assert train.optimizer.schedule.n_train_steps == 20
    assert (train.n_steps_per_loop, train.save_checkpoints_steps) == (10, 10)


def test_what_is_done_follows_the_flags():
    """Item 20: do_eval had no effect, and do_predict did not predict."""
    assert list_splits(build("classifier")) == ["train", "dev"]
    assert list_splits(build("classifier", do_eval=False)) == ["train"]
    config = build("classifier", do_train=False, do_predict=True)
    assert list_splits(config) == ["dev", "test"] and not config.scores_all
    assert build("classifier").scores_all
    assert not build("classifier", do_eval_all=False).scores_all
    assert list_splits(build("classifier", do_train=False, do_eval=False, do_eval_all=True)) == [
        "dev"
    ]
    both = build("classifier", do_train=False, do_eval=False, do_train_and_eval=True)
    assert list_splits(both) == ["train", "dev"]
    assert list_splits(build("reading")) == ["train", "dev", "test"]
    assert build("reading", rand_seed=3).train.random_seed == 3


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("classifier", {"task_name": None}, "--task_name is missing"),
        ("classifier", {"task_name": "xlni"}, "did you mean 'xnli'"),
        ("classifier", {"task_name": "ner"}, "use python -m bert.downstream.ner"),
        ("ner", {"vocab_file": None}, "--vocab_file is missing"),
        ("ner", {"output_dir": ""}, "--output_dir is missing"),
        ("ner", {"bert_config_file": None}, "--bert_config_file is missing"),
        ("reading", {"data_dir": None}, "--train_file is missing"),
        ("reading", {"use_tpu": True}, "--use_tpu=True is refused"),
        ("reading", {"version_2_with_negative": True}, "does not go with --task_name=cmrc"),
        ("reading", {"n_best_size": 0}, "--n_best_size=0 must be at least 1"),
        ("classifier", {"num_train_epochs": 0}, "--num_train_epochs=0.0 must be above 0"),
        ("classifier", {"warmup_proportion": 1}, r"--warmup_proportion=1.0 must be in \[0, 1\)"),
        ("classifier", {"max_steps": 0}, "--max_steps=0 must be at least 1"),
        ("ner", {"max_steps": 25, "iterations_per_loop": 10}, "--max_steps=25 is not a multiple"),
        ("classifier", {"max_seq_length": 600}, "longer than the model's position table"),
        ("classifier", {"do_train": False, "do_eval": False}, "nothing is to do"),
        ("classifier", {"num_train_epoch": 3}, "num_train_epoch"),
        ("classifier", {"profile_steps": "3"}, "--profile_steps needs --max_steps"),
        ("classifier", {"predict_warmup_batches": -1}, "must not be below 0"),
    ],
)
def test_wrong_flags(kind, changes, message):
    flags = {"output_dir": "out", **sample_flags(TASKS[kind]), **changes}
    with pytest.raises(UsageError, match=message):
        parsed = parse_flags(build_command_line(flags), build_flag_specs(kind))
        build_finetune_config(kind, parsed, RankEnvironment())


def test_a_directory_without_the_data(tmp_path):
    with pytest.raises(DataError, match="no train file of lcqmc"):
        build("classifier", data_dir=str(tmp_path))


@pytest.mark.parametrize("module", [classifier, ner, reading])
def test_help_lists_every_flag(module, capsys):
    assert module.main(["--help"]) == 0
    kind = module.__name__.rsplit(".", 1)[1]
    text = capsys.readouterr().out
    for spec in build_flag_specs(kind):
        assert f"  --{spec.name} (" in text


def test_published_folders_are_found():
    config = build("classifier", task_name="xnli", do_predict=True)
    assert list_splits(config) == ["train", "dev", "test"]
    assert (SAMPLES / "xnli").is_dir()
