"""The flags of the three fine-tuning commands: those of pre-training that apply, and their own.

Names and defaults are those of the field's trainer; what its defaults left unclear is said in the
help. A default of None means "follows from the rest", and `bert.downstream.finetune_config` says
how. A value that is given is never replaced.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

from bert.downstream.datasets import CLASSIFIER, NER, READING
from bert.flags import ALL_FLAGS, FlagSpec

# Flags of pre-training whose duty another flag has here, or that fine-tuning has no use for.
_REPLACED = (
    "input_files_dir",
    "eval_files_dir",
    "max_predictions_per_seq",
    "do_train",
    "do_eval",
    "num_train_steps",
    "num_warmup_steps",
    "max_eval_steps",
    "synthetic_input",
    "skip_corrupt",
    "train_batch_size",
    "eval_batch_size",
    "save_checkpoints_steps",
    "iterations_per_loop",
    "keep_checkpoint_max",
    "output_dir",
)

_COMMON: Tuple[FlagSpec, ...] = (
    FlagSpec("data_dir", str, None, "directory of the data set, or of a folder named as the task"),
    FlagSpec("train_file", str, None, "training data; default: found in --data_dir"),
    FlagSpec("eval_file", str, None, "held-out data; default: found in --data_dir"),
    FlagSpec("predict_file", str, None, "data to predict; default: found in --data_dir"),
    FlagSpec(
        "predict_has_labels",
        bool,
        True,
        "the data to predict have labels (answers), which are checked and scored; else unread",
    ),
    FlagSpec("vocab_file", str, None, "vocabulary that the model was pre-trained with"),
    FlagSpec("output_dir", str, None, "directory of checkpoints, label map, metrics, predictions"),
    FlagSpec("do_train", bool, True, "train"),
    FlagSpec("do_eval", bool, True, "score the held-out data after training, by rank 0"),
    FlagSpec(
        "do_eval_all",
        bool,
        None,
        "score all kept checkpoints and choose the best; default: when training, else the best "
        "one known",
    ),
    FlagSpec("do_train_and_eval", bool, False, "both --do_train and --do_eval, whatever they say"),
    FlagSpec("num_train_epochs", float, 3.0, "passes over the training data"),
    FlagSpec("max_steps", int, None, "steps to train, in place of --num_train_epochs"),
    FlagSpec("warmup_proportion", float, 0.1, "share of the steps that warms up linearly"),
    FlagSpec("train_batch_size", int, 32, "sequences per micro-batch on EACH device"),
    FlagSpec("eval_batch_size", int, 32, "sequences per step of scoring"),
    FlagSpec("predict_batch_size", int, 8, "sequences per step of prediction"),
    FlagSpec("predict_warmup_batches", int, 1, "batches computed first, whose times count nowhere"),
    FlagSpec("predict_rounds", int, 1, "times that the data are predicted, to measure latency"),
    FlagSpec("predict_batches", int, 1, "batches predicted at least, in as many whole rounds"),
    FlagSpec(
        "save_checkpoints_steps", int, None, "steps between checkpoints; default: one per epoch"
    ),
    FlagSpec("keep_checkpoint_max", int, 10, "newest checkpoints kept, among them the best"),
    FlagSpec(
        "iterations_per_loop",
        int,
        None,
        "steps that the device takes per host call; on CPU the steps between log lines; "
        "default: 10, or fewer where the steps are no multiple of it",
    ),
    FlagSpec("use_tpu", bool, False, "refused: there is no TPU backend"),
    FlagSpec("tpu_name", str, None, "refused, as --use_tpu"),
    FlagSpec("tpu_zone", str, None, "refused, as --use_tpu"),
    FlagSpec("gcp_project", str, None, "refused, as --use_tpu"),
    FlagSpec("master", str, None, "refused: sessions are of this process"),
    FlagSpec("num_tpu_cores", int, 8, "accepted, without meaning"),
)

_OF_KIND: Dict[str, Tuple[FlagSpec, ...]] = {
    CLASSIFIER: (
        FlagSpec("task_name", str, None, "xnli, lcqmc, chnsenti, or generic for a table"),
        FlagSpec("do_predict", bool, False, "predict the test data by the best checkpoint"),
        FlagSpec("do_lower_case", bool, True, "lower-case the text and strip accents"),
        FlagSpec("text_a", str, "text_a", "column of the text, or of the first (generic)"),
        FlagSpec("text_b", str, None, "column of the second text, if there are two (generic)"),
        FlagSpec("label", str, "label", "column of the class (generic)"),
    ),
    NER: (
        FlagSpec("task_name", str, "ner", "ner"),
        FlagSpec("do_predict", bool, False, "predict the test data by the best checkpoint"),
        FlagSpec("do_lower_case", bool, True, "lower-case the text and strip accents"),
    ),
    READING: (
        FlagSpec("task_name", str, "cmrc", "cmrc, squad_v1 or squad_v2"),
        FlagSpec("do_predict", bool, True, "answer --predict_file by the best checkpoint"),
        FlagSpec("do_predict_all", bool, None, "another name of --do_eval_all"),
        FlagSpec("do_lower_case", bool, False, "lower-case the text and strip accents"),
        FlagSpec(
            "doc_stride",
            int,
            None,
            "tokens between the starts of two windows; default 120, or a third of short sequences",
        ),
        FlagSpec(
            "max_query_length",
            int,
            None,
            "longer questions lose their end; default 64, or a third of short sequences",
        ),
        FlagSpec("n_best_size", int, 20, "answers listed per question"),
        FlagSpec("max_answer_length", int, 64, "tokens of the longest answer that is given"),
        FlagSpec(
            "version_2_with_negative",
            bool,
            None,
            "questions may have no answer; default: for squad_v2 alone",
        ),
        FlagSpec(
            "null_score_diff_threshold",
            float,
            0.0,
            "no answer is given where its score is higher than the best answer's by more",
        ),
        FlagSpec("rand_seed", int, None, "another name of --random_seed"),
    ),
}

# Defaults that differ from those of pre-training, or between the commands.
_DEFAULTS: Dict[str, Dict[str, Any]] = {
    "": {"learning_rate": 1e-5, "adam_epsilon": 1e-6, "random_seed": 12345},
    CLASSIFIER: {},
    NER: {"max_seq_length": 256, "num_train_epochs": 5.0},
    READING: {"max_seq_length": 384, "num_train_epochs": 2.0},
}

SHARED_NAMES = tuple(spec.name for spec in ALL_FLAGS if spec.name not in _REPLACED)


def build_flag_specs(kind: str) -> Tuple[FlagSpec, ...]:
    """Returns the flags of a command.

    Args:
        kind: "classifier", "ner" or "reading".
    """
    shared = [spec for spec in ALL_FLAGS if spec.name in SHARED_NAMES]
    defaults = {**_DEFAULTS[""], **_DEFAULTS[kind]}
    return tuple(
        spec._replace(default=defaults.get(spec.name, spec.default))
        for spec in (*_OF_KIND[kind], *_COMMON, *shared)
    )
