"""The scorer of reading as a command: one file, a folder, bad input."""

from __future__ import annotations

import json

import pytest

from bert.data.commands import run_command
from bert.downstream.reading_evaluate import main

DATASET = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "李明在中国北京。",
                    "qas": [
                        {"id": "1", "question": "哪？", "answers": [{"text": "中国北京"}]},
                        {"id": "2", "question": "谁？", "answers": [{"text": "李明"}]},
                    ],
                }
            ]
        }
    ]
}


@pytest.fixture
def dataset(tmp_path):
    return write(tmp_path / "dev.json", DATASET)


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return str(path)


def evaluate(capfd, *arguments):
    code = run_command(main, [str(argument) for argument in arguments])
    captured = capfd.readouterr()
    return code, json.loads(captured.out) if code == 0 else None, captured.err


def test_one_file_is_scored_as_the_official_script_prints_it(tmp_path, dataset, capfd):
    path = write(tmp_path / "predictions.json", {"1": "北京", "2": "李明。"})
    output = tmp_path / "metrics.json"
    code, found, errors = evaluate(capfd, dataset, path, output)
    assert (code, errors) == (0, "")
    f1 = 100 * (2 / 3 + 1) / 2
    assert found == {
        "AVERAGE": f"{(f1 + 50) / 2:.3f}",
        "F1": f"{f1:.3f}",
        "EM": "50.000",
        "TOTAL": 2,
        "SKIP": 0,
        "FILE": path,
    }
    assert json.loads(output.read_text(encoding="utf-8")) == found


def test_questions_without_prediction_are_told(tmp_path, dataset, capfd):
    path = write(tmp_path / "predictions.json", {"2": "李明"})
    code, found, errors = evaluate(capfd, dataset, path)
    assert (code, found["SKIP"], found["EM"]) == (0, 1, "50.000")
    assert errors == "1 of 2 questions have no prediction and count as 0, such as 1\n"
    code, found, _ = evaluate(capfd, dataset, write(tmp_path / "other.json", {"9": "x"}))
    assert (code, found["SKIP"], found["AVERAGE"]) == (0, 2, "0.000")


def test_of_a_folder_the_best_file_is_named(tmp_path, dataset, capfd):
    """Item 26: n-best lists of the same folder were scored too, and paths glued together."""
    folder = tmp_path / "predict"
    right = write(folder / "dev_predictions_900.json", {"1": "中国北京", "2": "李明"})
    write(folder / "dev_predictions_1000.json", {"1": "中国北京", "2": "李明"})
    write(folder / "dev_predictions_100.json", {"1": "中国", "2": ""})
    nbest = write(folder / "dev_nbest_predictions_900.json", {"1": [{"text": "x"}]})
    odds = write(folder / "null_odds.json", {"1": 0.5})
    foreign = write(folder / "other_predictions.json", {"9": "x"})
    output = folder / "metrics.json"
    code, found, _ = evaluate(
        capfd,
        f"--dataset_file={dataset}",
        f"--prediction-folder={folder}",
        "--output_metrics",
        output,
    )
    assert code == 0
    names = [entry["FILE"].rsplit("_", 1)[1] for entry in found["FILES"]]
    assert names == ["100.json", "900.json", "1000.json"]
    # The earlier of two equals, by step and not by text.
    assert (found["BEST"]["FILE"], found["BEST"]["AVERAGE"]) == (right, "100.000")
    assert set(found["IGNORED"]) == {nbest, odds, foreign}
    # The result lies in the folder now, and does not count as predictions.
    code, again, _ = evaluate(capfd, dataset, folder)
    assert (again["FILES"], again["BEST"]) == (found["FILES"], found["BEST"])
    assert str(output) in again["IGNORED"]


def test_squad_scores_by_name(tmp_path, dataset, capfd):
    path = write(tmp_path / "predictions.json", {"1": "中国北京", "2": "x"})
    code, found, _ = evaluate(capfd, dataset, path, "--metric=squad_v1")
    assert (code, found["exact_match"], found["f1"]) == (0, 50.0, 50.0)
    na_probs = write(tmp_path / "null_odds.json", {"1": 0.1, "2": 0.9})
    code, found, _ = evaluate(
        capfd, dataset, path, "--metric=squad_v2", f"--na_prob_file={na_probs}"
    )
    assert (code, found["exact"], found["best_exact_thresh"]) == (0, 50.0, 0.1)


def test_the_ellipsis_may_be_left_out(tmp_path, dataset, capfd):
    path = write(tmp_path / "predictions.json", {"1": "中国北京……", "2": "李明"})
    assert evaluate(capfd, dataset, path)[1]["EM"] == "50.000"
    assert evaluate(capfd, dataset, path, "--drop_ellipsis")[1]["EM"] == "100.000"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 64, "ERROR: usage: the data set and the predictions are needed; see --help"),
        (["{dataset}"], 64, "ERROR: usage: the data set and the predictions are needed"),
        (["{dataset}", "x", "--dataset_file=y"], 64, "dataset_file is given twice"),
        (["{dataset}", "x", "--metrics=cmrc"], 64, "did you mean '--metric'?"),
        (["{dataset}", "x", "--na_prob_file=y"], 64, "go with --metric squad_v2"),
        (["{dataset}", "x", "--metric=squad_v1", "--drop_ellipsis"], 64, "with --metric cmrc"),
        (["{dataset}", "{folder}", "--metric=squad_v2", "--na_prob_file=y"], 64, "to one file"),
        (["{folder}/absent.json", "x"], 65, "ERROR: data: cannot read"),
        (["{dataset}", "{folder}/absent.json"], 65, "ERROR: data: cannot read"),
        (["{dataset}", "{dataset}"], 65, "the answer to data is not a text"),
        (["{dataset}", "{folder}"], 65, "none of 1 JSON files has predictions; the first is not"),
        (["{dataset}", "{folder}/empty"], 65, "has no *.json"),
        (["{dataset}", "{folder}/list"], 65, "predictions are an object"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(tmp_path, dataset, capfd, arguments, code, message):
    folder = tmp_path / "folder"
    write(folder / "eval_results.json", {"f1": 1.0})
    (folder / "list").write_text("[]")
    (folder / "empty").mkdir()
    words = [word.format(dataset=dataset, folder=folder) for word in arguments]
    found, _, errors = evaluate(capfd, *words)
    assert found == code
    assert message in errors
    assert errors.count("\n") == 1


def test_an_output_that_cannot_be_written(tmp_path, dataset, capfd):
    path = write(tmp_path / "predictions.json", {"1": "x", "2": "y"})
    code, _, errors = evaluate(capfd, dataset, path, tmp_path / "absent" / "out.json")
    assert code == 74
    assert "ERROR: io: cannot write" in errors


def test_a_probability_is_needed_for_every_prediction(tmp_path, dataset, capfd):
    path = write(tmp_path / "predictions.json", {"1": "x", "2": "y"})
    for content, message in (
        ({"1": 0.1}, "question 2 has no no-answer probability"),
        ({"1": "0.1"}, "no-answer probabilities are an object"),
        ([], "no-answer probabilities are an object"),
        ({"1": 0.1, "2": float("nan")}, "probability of 2 is not finite"),
        ({"1": -float("inf"), "2": 0.1}, "probability of 1 is not finite"),
        ({"1": 10**400, "2": 0.1}, "probability of 1 is not finite"),
    ):
        na_probs = write(tmp_path / "null_odds.json", content)
        flags = ("--metric=squad_v2", f"--na_prob_file={na_probs}")
        code, _, errors = evaluate(capfd, dataset, path, *flags)
        assert code == 65
        assert message in errors
