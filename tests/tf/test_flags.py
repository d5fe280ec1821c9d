"""The command line: every flag accepted or refused with its reason, in one line."""

from __future__ import annotations

import itertools
import json

import pytest

from bert import flags, pretrain
from bert.backends.ascend_options import PRECISION_MODES
from bert.backends.rank import RankEnvironment, parse_rank_environment
from bert.errors import UsageError
from bert.train_config import build_train_config, render_resolved_line

NEEDED = ["--bert_config_file=bert-tiny", "--input_files_dir=data", "--num_warmup_steps=10"]


def build(*changes, rank=None):
    values = flags.parse_flags([*NEEDED, *changes])
    return build_train_config(values, RankEnvironment() if rank is None else rank)


def test_the_flags_of_the_field_are_all_there():
    names = {spec.name for spec in flags.FIELD_FLAGS}
    assert len(names) == 41 == len(flags.FIELD_FLAGS)
    assert not names & {spec.name for spec in flags.OWN_FLAGS}


def test_defaults_resolve():
    config = build()
    assert config.input.train_directories == ("data",)
    assert config.precision.encoder == config.precision.heads == "float32"
    assert config.loss_scale.mode == "off"
    assert config.n_steps_per_loss_line == config.n_steps_per_loop == 1000
    assert config.optimizer.clip_by_global_norm
    assert config.optimizer.schedule.continuous


def test_a_command_line_of_the_field_is_accepted():
    config = build(
        "--eval_files_dir=",
        "--npu_bert_job_start_file=",
        "--optimizer_type=adam",
        "--train_batch_size=128",
        "--learning_rate=1e-4",
        "--num_warmup_steps=10000",
        "--num_train_steps=500000",
        "--iterations_per_loop=100",
        "--npu_bert_clip_by_global_norm=False",
        "--distributed=False",
        "--npu_bert_loss_scale=0",
        "--manual_fp16=True",
        "--use_fp16_cls=True",
        "--nodo_eval",
    )
    assert config.n_steps_per_loop == 100
    assert not config.optimizer.clip_by_global_norm
    assert (config.precision.encoder, config.precision.heads) == ("float16", "float16")
    assert (config.loss_scale.mode, config.loss_scale.initial) == ("dynamic", 65536.0)


def test_settings_that_follow_the_optimiser():
    adam, lamb = build().optimizer, build("--optimizer_type=lamb").optimizer
    assert (adam.kind, adam.epsilon, adam.schedule.power) == ("adam", 1e-4, 1.0)
    assert (lamb.kind, lamb.epsilon, lamb.schedule.power) == ("lamb", 1e-6, 0.5)
    given = build("--optimizer_type=lamb", "--adam_epsilon=1e-3", "--lr_power=1").optimizer
    assert (given.epsilon, given.schedule.power) == (1e-3, 1.0)


def test_the_log_tells_what_open_flags_became():
    line = render_resolved_line(build("--optimizer_type=lamb", "--manual_fp16"))
    assert line == (
        "resolved: manual_fp16=True, use_fp16_cls=True, loss_scale=dynamic, adam_epsilon=1e-06, "
        "lr_power=0.5, display_loss_steps=1000, hidden_dropout_prob=0.1, "
        "attention_probs_dropout_prob=0.1"
    )


def test_an_update_takes_all_its_micro_batches():
    config = build("--train_batch_size=6", "--num_accumulation_steps=3")
    assert (config.input.train_batch_size, config.input.n_micro_batches) == (6, 3)
    assert config.input.n_sequences_per_step == 18
    assert build("--allreduce_post_accumulation").input.n_micro_batches == 1


def test_loss_scale_values():
    assert build("--npu_bert_loss_scale=128").loss_scale.mode == "static"
    assert build("--npu_bert_loss_scale=128").loss_scale.initial == 128.0
    assert build("--manual_fp16", "--npu_bert_loss_scale=-1").loss_scale.mode == "off"
    assert build("--manual_fp16", "--init_loss_scale_value=8").loss_scale.initial == 8.0


@pytest.mark.parametrize("backend", ["cpu", "ascend"])
@pytest.mark.parametrize("precision_mode", [None, *PRECISION_MODES])
@pytest.mark.parametrize("graph_rewriting", [False, True])
def test_every_combination_of_precision_flags_is_valid_or_refused(
    backend, precision_mode, graph_rewriting
):
    common = [f"--backend={backend}", f"--use_fp16={graph_rewriting}", "--num_warmup_steps=0"]
    common += ["--num_train_steps=1000"]
    if precision_mode is not None:
        common.append(f"--precision_mode={precision_mode}")
    environment = RankEnvironment(job_id="job")
    for manual, heads, scale in itertools.product(
        [None, True, False], [None, True, False], [None, -1, 0, 1024]
    ):
        words = list(common)
        words += [] if manual is None else [f"--manual_fp16={manual}"]
        words += [] if heads is None else [f"--use_fp16_cls={heads}"]
        words += [] if scale is None else [f"--npu_bert_loss_scale={scale}"]
        if graph_rewriting or (precision_mode is not None and backend == "cpu"):
            with pytest.raises(UsageError, match="is refused: "):
                build(*words, rank=environment)
            continue
        config = build(*words, rank=environment)
        precision = config.precision
        in_half = backend == "ascend" and precision_mode is None if manual is None else manual
        assert precision.encoder == ("float16" if in_half else "float32")
        assert precision.heads == (
            "float16" if (in_half if heads is None else heads) else "float32"
        )
        lowers = backend == "ascend" and precision_mode != "must_keep_origin_dtype"
        half = "float16" in (precision.encoder, precision.heads)
        assert (
            config.loss_scale.mode
            == {
                None: "dynamic" if half or lowers else "off",
                -1: "off",
                0: "dynamic",
                1024: "static",
            }[scale]
        )


def test_debug_turns_dropout_and_shuffling_off():
    config = build("--npu_bert_debug")
    assert config.bert.hidden_dropout_prob == config.bert.attention_probs_dropout_prob == 0.0
    assert not config.input.shuffle


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trian_batch_size=3"], "Unknown command line flag 'trian_batch_size'. Did you mean: "),
        (["--train_batch_size=many"], "flag --train_batch_size=many"),
        (["stray"], "'stray' is not a flag"),
        (["--train_batch_size=0"], "--train_batch_size=0 must be at least 1"),
        (["--num_train_steps=0"], "--num_train_steps=0 must be at least 1"),
        (["--learning_rate=nan"], "--learning_rate=nan must not be below 0"),
        (["--learning_rate=-1"], "--learning_rate=-1.0 must not be below 0"),
        (["--max_seq_length=513"], "--max_seq_length=513 is longer than the model's position"),
        (["--max_seq_length=2"], "has no room for"),
        (["--iterations_per_loop=7"], "--num_train_steps=1000000 is not a multiple of"),
        (["--num_train_steps=1000"] + ["--num_warmup_steps=1000"], "must be below"),
        (["--bert_config_file=bert-huge"], "--bert_config_file=bert-huge: "),
        (["--bert_config_file="], "--bert_config_file is missing"),
        (["--input_files_dir=,"], "--input_files_dir is missing"),
        (["--do_eval"], "--eval_files_dir is missing"),
        (["--nodo_train"], "--do_train and --do_eval are both off"),
        (["--output_dir="], "--output_dir is empty"),
        (["--horovod"], "--horovod=True is refused: ranks are averaged"),
        (["--use_fp16"], "--use_fp16=True is refused: "),
        (["--over_dump"], "--over_dump=True is refused: it needs --backend=ascend, not cpu"),
        (
            ["--precision_mode=allow_mix_precision"],
            "--precision_mode=allow_mix_precision is refused: it needs --backend=ascend, not cpu; "
            "a CPU computes in the types of the graph, see --manual_fp16",
        ),
        (["--npu_bert_job_start_file=x.json"], "--npu_bert_job_start_file=x.json is refused"),
        (["--num_accumulation_steps=0"], "--num_accumulation_steps=0 must be at least 1"),
        (
            ["--optimizer_type=Adam"],
            "--optimizer_type='Adam' is refused: it is none of adam, lamb (did you mean 'adam'?)",
        ),
        (["--optimizer_type=sgd"], "--optimizer_type='sgd' is refused: it is none of adam, lamb"),
        (["--lr_power=-1"], "--lr_power=-1.0 must not be below 0"),
        (["--npu_bert_loss_scale=-2"], "--npu_bert_loss_scale=-2: give -1"),
        (["--hidden_dropout_prob=1.5"], "'hidden_dropout_prob' must be in [0, 1)"),
        (["--adam_epsilon=0"], "--adam_epsilon=0.0 must be above 0"),
        (["--adam_beta1=1"], "--adam_beta1=1.0 must be in [0, 1)"),
        (["--display_loss_steps=0"], "--display_loss_steps=0 must be at least 1"),
        (["--backend=tpu"], "flag --backend=tpu"),
        (["--lr_crossover=smooth"], "flag --lr_crossover=smooth"),
    ],
)
def test_bad_flags_end_with_one_line_and_code_64(words, message, capfd):
    assert pretrain.main([*NEEDED, *words]) == 64
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("ERROR: usage: ")
    assert message in lines[0]


def test_not_distributed_contradicts_several_ranks():
    assert build("--distributed=False").backend == "cpu"
    with pytest.raises(UsageError, match="--distributed=False contradicts .*RANK_SIZE=2"):
        build("--distributed=False", rank=RankEnvironment(rank_id=1, rank_size=2))


def test_help_lists_every_flag(capfd):
    assert pretrain.main(["--help"]) == 0
    out = capfd.readouterr().out
    assert all(f"--{spec.name} (" in out for spec in flags.ALL_FLAGS)


def test_flag_lines_have_the_form_of_the_field():
    lines = flags.render_flag_lines(flags.parse_flags(["--train_batch_size=128"]))
    assert "name: train_batch_size        128" in lines
    assert len(lines) == len(flags.ALL_FLAGS)


def tf_config(index, *workers):
    return json.dumps(
        {"cluster": {"worker": list(workers)}, "task": {"type": "worker", "index": index}}
    )


def test_rank_environment_is_read_whole():
    environ = {
        "RANK_SIZE": "2",
        "RANK_ID": "1",
        "DEVICE_ID": "5",
        "RANK_INDEX": "0",
        "JOB_ID": "job",
        "TF_CONFIG": tf_config(1, "h:1", "h:2"),
    }
    assert parse_rank_environment(environ) == RankEnvironment(
        rank_id=1, rank_size=2, device_id=5, job_id="job", workers=("h:1", "h:2")
    )
    assert parse_rank_environment({}) == RankEnvironment()
    assert parse_rank_environment({}).is_root


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"RANK_SIZE": "two"}, "RANK_SIZE='two' is not a whole number"),
        ({"RANK_SIZE": "0"}, "RANK_SIZE=0: there must be at least one rank"),
        ({"RANK_SIZE": "2"}, "RANK_SIZE=2 needs RANK_ID"),
        ({"RANK_SIZE": "2", "RANK_ID": "2"}, "RANK_ID=2 is not below RANK_SIZE=2"),
        ({"RANK_ID": "-1"}, "RANK_ID='-1' is not a whole number"),
        ({"TF_CONFIG": "{"}, "TF_CONFIG must read"),
        ({"TF_CONFIG": "{}"}, "TF_CONFIG must read"),
        ({"TF_CONFIG": tf_config(1, "h:1")}, "TF_CONFIG says task worker 1, RANK_ID says 0"),
        ({"TF_CONFIG": tf_config(0, "h:1", "h:2")}, "lists 2 workers, RANK_SIZE says 1"),
        (
            {"RANK_SIZE": "2", "RANK_ID": "0", "TF_CONFIG": tf_config(0, "h:1", "h:1")},
            "worker addresses must differ",
        ),
    ],
)
def test_a_wrong_rank_environment_is_refused(environ, message):
    with pytest.raises(UsageError) as caught:
        parse_rank_environment(environ)
    assert message in str(caught.value)
