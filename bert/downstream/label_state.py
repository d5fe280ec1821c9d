"""The label map of a checkpoint: made by training, checked against it by all that comes later."""

from __future__ import annotations

import os
from typing import List, Optional

from bert.downstream.finetune_config import FineTuneConfig
from bert.downstream.labels import LABEL_MAP_NAME, LabelMap, check_label_map, read_label_map


def find_label_map(config: FineTuneConfig) -> Optional[str]:
    """Returns the label map beside the checkpoints that the run goes on from or uses, if any.

    That of --output_dir goes first. The one beside --init_checkpoint belongs to the run only where
    that checkpoint is used as it is, without training.
    """
    places: List[str] = [config.train.output_dir]
    if config.train.init_checkpoint and not config.do_train:
        start = config.train.init_checkpoint
        places.append(start if os.path.isdir(start) else os.path.dirname(start))
    for place in places:
        path = os.path.join(place, LABEL_MAP_NAME)
        if os.path.exists(path):
            return path
    return None


def prepare_labels(config: FineTuneConfig, wanted: Optional[LabelMap]) -> LabelMap:
    """Returns the labels of the run.

    Args:
        config: the run.
        wanted: labels of the data set, or of the training data; None if neither tells.

    Raises:
        DataError: a checkpoint is there with other labels, or nothing tells the labels.
    """
    path = find_label_map(config)
    if path is None:
        if wanted is not None:
            return wanted
        path = os.path.join(config.train.output_dir, LABEL_MAP_NAME)
    found = read_label_map(path)
    if wanted is not None:
        check_label_map(found, wanted, path)
    return found
