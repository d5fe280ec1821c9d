"""What a session stores of the machine, the command and the truth, whatever becomes of the run."""

import json
import sys

import pytest

from bench import cli
from bench.results.check import check_document
from bench.results.fingerprint import COMPARABLE, build_fingerprint, compare_fingerprints
from bench.results.store import list_run_directories, read_result

SIMULATED = "--backend simulated --steps 200 --set iterations_per_loop=5 --quiet".split()


def _bench(tmp_path, *argv):
    code = cli.main(["bench", "--output", str(tmp_path / "out"), *argv])
    (folder,) = list_run_directories(tmp_path / "out")
    return code, folder, json.loads((folder / "result.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("more", "state", "code"),
    [((), "finished", 0), (("--set", "simulated.fail_rank=1"), "failed", 4)],
)
def test_every_stored_result_holds_to_the_schema(tmp_path, capsys, more, state, code):
    found, folder, plain = _bench(tmp_path, *SIMULATED, "--cards", "2", *more)
    assert (found, plain["state"]) == (code, state)
    check_document(plain, "stored")
    environment = plain["found"]["environment"]
    assert len(environment["facts"]) >= 60
    absent = {key for key, value in environment["facts"].items() if value is None}
    assert absent == set(environment["absent"])
    for part in ("state_before", "state_after"):
        assert plain["found"][part]["facts"]["load_average_1min"] >= 0.0
        assert plain["found"][part]["facts"]["output_free_bytes"] > 0
    result = read_result(folder)
    same = compare_fingerprints(build_fingerprint(result), build_fingerprint(result))
    assert same.level == COMPARABLE


def test_truth_scores_the_estimate(tmp_path, capsys):
    more = ("--set", "simulated.noise_ratio=0.02", "--set", "simulated.noise_correlation=0.5")
    _, folder, _ = _bench(tmp_path, *SIMULATED, "--cards", "2", *more, "--steps", "3000")
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert truth["steady"] is True
    found = read_result(folder).value("steps_per_second")
    assert found == pytest.approx(truth["steps_per_second"], rel=1e-3)
    assert found != truth["steps_per_second"]


def test_secrets_of_a_command_stay_in_its_own_file(tmp_path, capsys):
    code = "import sys; print('global_step/sec: 2.0')"
    command = f'{sys.executable} -c "{code}" --api_key=s3cr3t --token t0k3n'
    _, folder, plain = _bench(tmp_path, "--trainer-command", command, "--quiet", "--backend", "cpu")
    text = json.dumps(plain)
    assert "s3cr3t" not in text
    assert "t0k3n" not in text
    assert "--api_key=<redacted>" in plain["found"]["trainer_argv"]
    assert plain["found"]["environment"]["facts"]["trainer_python_version"]
    assert "s3cr3t" in (folder / "spec.yaml").read_text(encoding="utf-8")
