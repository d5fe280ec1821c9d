"""The reduced form of scripts/prove-parsing, and the formulas of others held to worked examples."""

import math

import pytest

from tests.simulation.parsing import CaseScore, Proof, render_cases, render_formulas, score_case
from tests.simulation.parsing_cases import NEVER_STEADY, STEADY
from tests.simulation.parsing_formulas import FORMULAS, read_lines
from tests.simulation.parsing_logs import Shape, simulate_run, write_run

SEED = 11
ABSL = b"I0302 09:30:%02d.000000 281472000000000 a.py:1] "


def _proof(error=0.0, n_refused=0, errors_of_never=()):
    others = {formula: [0.5, math.nan] for formula in FORMULAS}
    return Proof(
        [CaseScore("one", [error, -error], n_refused, others)],
        [CaseScore("never", errors_of_never, 1, others)],
    )


@pytest.mark.parametrize("name", sorted(STEADY))
def test_rate_of_steady_runs(name, tmp_path):
    case = score_case(name, STEADY[name], 1, SEED, tmp_path)
    assert Proof([case], []).list_broken() == []
    assert len(case.errors) == 1


@pytest.mark.parametrize("name", sorted(NEVER_STEADY))
def test_no_rate_is_called_steady_where_there_is_none(name, tmp_path):
    case = score_case(name, NEVER_STEADY[name], 1, SEED, tmp_path)
    assert Proof([], [case]).list_broken() == []


def test_broken_promises_are_named():
    assert _proof(0.0009).list_broken() == []
    assert _proof(0.0011).list_broken() == ["one: error of 0.110%"]
    assert _proof(n_refused=1).list_broken() == ["1 of 3 steady runs were called not steady"]
    assert _proof(errors_of_never=[0.1]).list_broken() == ["never: called steady in 1 of 2 runs"]


def test_tables_show_ours_beside_the_others():
    proof = _proof(0.0002)
    assert "| one    |   2 |                   0 |              0.02 % |" in render_cases(proof)
    lines = render_formulas(proof).splitlines()
    assert lines[2].split("|")[1:-1] == [
        cell.ljust(len(old)) if not index else cell.rjust(len(old))
        for index, (cell, old) in enumerate(
            zip((" ascend-bert", "2 ", "0.02 % ", "0.02 % ", "100% "), lines[2].split("|")[1:-1])
        )
    ]
    assert all("50 % |" in line for line in lines[3:])


def test_formulas_of_others_on_a_worked_example():
    # Loops of 10 steps at 10, 10, 10 and 1 steps/s after one of 100 s that builds the graph.
    lines, second = [ABSL % 0 + b"global_step = 10, total_loss = 9.0"], 0
    for index, rate in enumerate((10, 10, 10, 1)):
        second += 10 // rate
        lines.append(ABSL % second + b"global_step/sec: %d" % rate)
        text = b"global_step = %d, total_loss = 9.0 (%d.000 sec)" % (20 + 10 * index, 10 // rate)
        lines.append(ABSL % second + text)
    found = [compute([read_lines(b"\n".join(lines))]) for compute in FORMULAS.values()]
    harmonic = 4 / 1.3
    assert found == pytest.approx(
        [7.75, 1.0, 7.75, 7.75, harmonic, 10.0, None, 1.0, 40 / 13, 50 / 13], nan_ok=True
    )


def test_formulas_take_the_last_device_as_awk_would():
    logs = [read_lines(b"global_step/sec: 2.0\n"), read_lines(b"global_step/sec: 3.INFO:x\n")]
    formulas = list(FORMULAS.values())
    assert formulas[0](logs) == formulas[1](logs) == 3.0
    assert formulas[2](logs) == 2.5
    assert formulas[0]([read_lines(b"nothing\n")]) is None
    assert read_lines(b"global_step/sec: x\n").rates == [0.0]


def test_true_rate_of_written_logs_is_that_of_their_loops():
    run = write_run(1, Shape(loss_every=0), n_loops=30, cards=1, noise=0.02)
    rates = read_lines(run.files["train_0.log"]).rates
    # Neither the loop of the graph, which is not printed, nor the next one.
    assert run.rate == pytest.approx(28 / sum(1.0 / rate for rate in rates[1:]), rel=1e-6)


def test_a_restart_goes_on_from_what_was_saved():
    run = write_run(1, n_loops=12, cards=1, restart=(8, 5))
    steps = read_lines(run.files["train_0.log"]).all_steps
    assert steps == [*range(10, 90, 10), *range(60, 180, 10)]


def test_the_same_seed_gives_the_same_logs():
    assert simulate_run(3, steps=100).files == simulate_run(3, steps=100).files
    assert simulate_run(3, steps=100).files != simulate_run(4, steps=100).files
