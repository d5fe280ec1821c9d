"""The loss curve as a picture."""

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from bench.results.model import RankRecord
from bench.views.loss_curve import average_ranks, render_loss_curve, smooth
from tests.unit.test_results import build_result

SVG = "{http://www.w3.org/2000/svg}"


def _result(**changes):
    ranks = tuple(
        RankRecord(rank, f"rank {rank}", losses={"step": [10, 20, 30], "mlm": losses})
        for rank, losses in enumerate(([10.0, 6.0, math.nan], [8.0, 4.0, 3.0]))
    )
    found = {"backend": "cpu", "data": {"masked_token_entropy_nats": "5.7"}}
    return build_result(2, ranks=ranks, found=found, **changes)


def test_ranks_are_averaged_step_by_step_and_nan_left_out():
    assert average_ranks(_result()) == [(10.0, 9.0), (20.0, 5.0), (30.0, 3.0)]


def test_running_mean():
    points = [(float(i), float(i)) for i in range(100)]
    assert smooth(points)[50] == (50.0, pytest.approx(50.0))
    assert smooth(points)[0][1] == pytest.approx(1.0)


def test_picture_is_xml_with_curve_entropy_and_safe_names():
    result = _result(simulated=True)
    result = replace(result, asked=dict(result.asked, model="<script>&"))
    root = ET.fromstring(render_loss_curve(result))
    texts = [item.text for item in root.iter(SVG + "text")]
    assert any(text.startswith("SIMULATED masked-LM loss, nats: <script>&") for text in texts)
    assert "unigram entropy of the corpus 5.70" in texts
    raw, mean = root.iter(SVG + "polyline")
    assert len(raw.get("points").split()) == len(mean.get("points").split()) == 3


def test_run_without_losses_gives_empty_axes():
    root = ET.fromstring(render_loss_curve(build_result(ranks=())))
    assert all(not line.get("points") for line in root.iter(SVG + "polyline"))
