"""Layers of settings, their checks and their messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.spec import (
    RunSpec,
    build_spec,
    flatten_mapping,
    for_cards,
    list_settings,
    parse_assignment,
    read_spec_file,
    spec_from_dict,
    spec_to_dict,
)


def test_defaults_need_no_layer():
    assert build_spec([]) == RunSpec()


def test_later_layers_win_and_groups_merge():
    spec = build_spec(
        [
            ("file", {"steps": 50, "simulated.noise_ratio": 0.1, "simulated.speed": 2}),
            ("command line", {"steps": "60", "simulated.speed": 3}),
        ]
    )
    assert (spec.steps, spec.simulated.noise_ratio, spec.simulated.speed) == (60, 0.1, 3.0)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("step", 5, "unknown key 'step'; did you mean 'steps'?"),
        ("simulated.sped", 5, "did you mean 'simulated.speed'?"),
        ("steps", "many", "steps must be a whole number, got 'many'"),
        ("steps", 1.5, "steps must be a whole number, got 1.5"),
        ("steps", True, "steps must be a whole number, got True"),
        ("steps", None, "steps needs a value"),
        ("batch_size", 0, "batch_size must be at least 1, got 0"),
        ("cards", "0", "cards must be at least 1, got 0"),
        ("cards", "1,x", "cards must be a whole number, got 'x'"),
        ("cards", "", "cards must be a list of whole numbers"),
        ("cards", "2,1,2", "names a count twice: 2,1,2"),
        ("cards", "9999", "cards must be at most 4096"),
        ("learning_rate", "nan", "learning_rate must be a finite number"),
        ("backend", "gpu", "backend must be one of auto, ascend, cpu, simulated, got 'gpu'"),
        ("trainer_command", "train 'x", "must be a command line with closed quotes"),
        ("max_predictions", 126, "must leave room for [CLS]"),
        ("warmup_steps", 201, "warmup_steps (201) is larger than steps (200)"),
        ("iterations_per_loop", 7, "steps (200) must be a multiple of iterations_per_loop (7)"),
    ],
)
def test_bad_settings_are_named(key, value, words):
    with pytest.raises(UsageError) as caught:
        build_spec([("here", {key: value})])
    assert words in str(caught.value)


def test_numbers_without_a_dot_are_numbers():
    assert parse_assignment("learning_rate=1e-4") == ("learning_rate", "1e-4")
    assert build_spec([("--set", {"learning_rate": "1e-4"})]).learning_rate == 1e-4


@pytest.mark.parametrize("text", ["steps", "=5", "steps={"])
def test_bad_assignment(text):
    with pytest.raises(UsageError, match="--set"):
        parse_assignment(text)


def test_spec_file_round_trip(tmp_path):
    path = tmp_path / "case.yaml"
    path.write_text("steps: 20\nsimulated:\n  noise_ratio: 0\n", encoding="utf-8")
    source, layer = read_spec_file(path)
    assert (source, layer) == (str(path), {"steps": 20, "simulated.noise_ratio": 0})


@pytest.mark.parametrize("text", ["- 1\n", "steps: [\n", "1: 2\n"])
def test_bad_spec_file_names_the_file(tmp_path, text):
    path = tmp_path / "case.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"case\.yaml"):
        read_spec_file(path)


def test_yaml_tags_run_nothing(tmp_path):
    path = tmp_path / "case.yaml"
    path.write_text("steps: !!python/object/apply:os.getpid []\n", encoding="utf-8")
    with pytest.raises(UsageError, match="not valid YAML"):
        read_spec_file(path)


def test_every_setting_says_what_it_is():
    for key, setting in list_settings().items():
        assert setting["help"], key


def test_single_run_has_one_card_count():
    sweep = build_spec([("here", {"cards": "1,2,8"})])
    assert for_cards(sweep, 8).n_cards == 8
    assert for_cards(sweep, 8).global_batch_size == 8 * sweep.batch_size
    with pytest.raises(ValueError, match="sweep"):
        _ = sweep.n_cards


@given(
    st.fixed_dictionaries(
        {
            "steps": st.integers(1, 10**6),
            "batch_size": st.integers(1, 4096),
            "learning_rate": st.floats(0, 1),
            "cards": st.lists(st.integers(1, 4096), min_size=1, max_size=5, unique=True),
            "simulated.noise_ratio": st.floats(0, 1),
            "trainer_command": st.lists(st.text(min_size=1), max_size=3),
        }
    )
)
def test_spec_survives_its_plain_form(values):
    spec = build_spec([("here", values)])
    assert spec_from_dict(spec_to_dict(spec), "again") == spec
    assert flatten_mapping("x", spec_to_dict(spec))["steps"] == values["steps"]
