"""Runs in the environment of Apache Otava: series on standard input, its alarms on standard output.

Input: a JSON list of series of positive values. Output: for each the nights on which a change point
appeared that was not there before, when Otava with its default settings is run after every night.
"""

import json
import logging
import sys

from otava.analysis import compute_change_points
from otava.series import AnalysisOptions

NEAR = 3
"""A change point that moves by so few nights is the same one."""


def list_alarms(values):
    """Nights with a new change point."""
    options = AnalysisOptions()
    alarms, seen = [], []
    for count in range(4, len(values) + 1):
        points, _ = compute_change_points(
            values[:count],
            window_len=options.window_len,
            max_pvalue=options.max_pvalue,
            min_magnitude=options.min_magnitude,
        )
        new = [p.index for p in points if all(abs(p.index - old) > NEAR for old in seen)]
        if new:
            alarms.append(count - 1)
            seen.extend(new)
    return alarms


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    json.dump([list_alarms(values) for values in json.load(sys.stdin)], sys.stdout)
