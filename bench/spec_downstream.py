"""Settings of fine-tuning and prediction: the data set, the model that it starts from, the aim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from bench.settings import setting

PRETRAIN = "pretrain"
CLASSIFIER = "classifier"
NER = "ner"
READING = "reading"
PREDICT = "predict"
TASKS = (PRETRAIN, CLASSIFIER, NER, READING, PREDICT)

DEFAULT_DATASETS = {CLASSIFIER: "chnsenti", NER: "ner", READING: "cmrc"}


@dataclass(frozen=True)
class DownstreamSpec:
    """What fine-tuning (``task: classifier``, ``ner``, ``reading``) and ``task: predict`` need."""

    dataset: Optional[str] = setting(
        None, "str", "data set by the trainer's name for it; chnsenti, ner or cmrc if absent"
    )
    data_dir: Optional[str] = setting(
        None, "str", "directory of the data set; the made-up sample if absent"
    )
    predict_with: str = setting(
        CLASSIFIER, "str", "whose prediction task predict times", choices=(CLASSIFIER, NER, READING)
    )
    init_checkpoint: Optional[str] = setting(
        None, "str", "checkpoint to start from; random weights if absent"
    )
    vocab: Optional[str] = setting(
        None, "str", "vocabulary file; that of the sample corpus if absent, with its model"
    )
    target: Optional[float] = setting(
        None, "float", "headline metric whose reaching is timed", minimum=0.0, maximum=1.0
    )
    n_scorings: int = setting(
        4, "int", "checkpoints spread over the steps that are scored", minimum=1, maximum=100
    )
