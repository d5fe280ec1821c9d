"""Reference bands of the loss from stored runs."""

import dataclasses

import pytest

from bench import cli
from bench.errors import DataError
from bench.results.learn_bands import learn_from_results
from bench.results.store import list_run_directories, read_result


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    output = tmp_path_factory.mktemp("bands")
    words = "bench --backend simulated --cards 1 --steps 200 --quiet --output".split()
    assert cli.main([*words, str(output)]) == 0
    (folder,) = list_run_directories(output)
    return read_result(folder)


def _with_seed(result, seed, **changes):
    return dataclasses.replace(
        result, run_id=f"r{seed}", asked={**result.asked, "random_seed": seed, **changes}
    )


def test_one_band_for_each_case(result):
    runs = [_with_seed(result, seed) for seed in range(5)]
    runs += [_with_seed(result, seed, batch_size=32) for seed in range(5)]
    bands = learn_from_results(runs)
    assert [band.case["batch_size"] for band in bands] == [16, 32]
    assert [step for step, _, _ in bands[0].points] == [50, 100, 200]
    assert bands[0].case["cards"] == 1
    assert bands[0].n_runs == 5


def test_what_cannot_be_a_reference_is_refused(result):
    with pytest.raises(DataError, match="a seed of their own"):
        learn_from_results([_with_seed(result, 1)] * 5)
    with pytest.raises(DataError, match="at least 5 runs"):
        learn_from_results([_with_seed(result, 1)])
    with pytest.raises(DataError, match="did not finish"):
        learn_from_results([dataclasses.replace(result, state="failed")])
