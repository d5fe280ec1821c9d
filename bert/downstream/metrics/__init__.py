"""Scores of the downstream tasks, each defined once, without TensorFlow.

    classification.compute_classification_metrics(references, predictions)
    entities.compute_entity_metrics(references, predictions)
    cmrc.compute_cmrc_metrics(references, predictions)
    squad.compute_squad_v1_metrics(references, predictions)
    squad.compute_squad_v2_metrics(references, predictions, na_probs, na_prob_thresh)

Shares are ratios from 0 to 1; the scores of CMRC and SQuAD are percentages, as their official
scripts define them.
"""
