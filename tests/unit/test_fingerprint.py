"""Which results may be compared, and which fact forbids it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.environment.collect import PROBES
from bench.results.fingerprint import (
    COMPARABLE,
    FORBIDS,
    NOT_COMPARABLE,
    RULES,
    WARNS,
    WITH_WARNING,
    Fingerprint,
    build_fingerprint,
    compare_fingerprints,
    hash_fingerprint,
    render_comparability,
)
from bench.results.model import RunResult
from bench.spec import RunSpec, build_spec, for_cards, spec_to_dict

FACTS = {
    "cpu_model": "Some CPU",
    "architecture": "x86_64",
    "kernel": "5.4.0",
    "memory_bytes": 16 << 30,
    "model_config_sha256": "ab" * 32,
    "variables_ascend": {"RANK_ID": "0", "HCCL_CONNECT_TIMEOUT": "600"},
    "npu_names": {"0": "910A", "1": "910A"},
    "npu_hbm_bytes": {"0": 32 << 30, "1": 32 << 30},
}


def _result(asked=(), facts=(), found=(), simulated=False, backend="cpu"):
    spec = for_cards(build_spec([("test", {"cards": "1,2", **dict(asked)})]), 2)
    return RunResult(
        run_id="r",
        session={"id": "s"},
        state="finished",
        simulated=simulated,
        asked=spec_to_dict(spec),
        found={
            "backend": backend,
            "cores_per_card": 1,
            "oversubscribed": False,
            "iterations_per_loop": 1,
            "environment": {"facts": {**FACTS, **dict(facts)}, "absent": {}},
            **dict(found),
        },
        ranks=(),
        summary={},
        validity=(),
        started_at="2026-01-01T00:00:00.000Z",
        ended_at=None,
        failure=None,
        tool={"name": "ascend-bert", "version": "1"},
    )


def _compare(left, right, **options):
    return compare_fingerprints(build_fingerprint(left), build_fingerprint(right), **options)


def test_alike_is_comparable():
    found = _compare(_result(), _result(asked={"random_seed": 7}, facts={"git_commit": "x"}))
    assert (found.level, found.fields) == (COMPARABLE, ())
    assert render_comparability(found) == "comparable"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"asked": {"model": "bert-base"}}, "asked.model"),
        ({"asked": {"batch_size": 32}}, "asked.batch_size"),
        ({"asked": {"precision": "fp16"}}, "asked.precision"),
        ({"facts": {"cpu_model": "Another CPU"}}, "cpu_model"),
        ({"facts": {"model_config_sha256": "cd" * 32}}, "model_config_sha256"),
        ({"found": {"cores_per_card": 2}}, "cores_per_card"),
        ({"found": {"imported": {"estimate": "mean of rates"}}}, "estimate"),
    ],
)
def test_another_experiment_is_not_comparable(change, field):
    found = _compare(_result(), _result(**change))
    assert (found.level, found.fields) == (NOT_COMPARABLE, (field,))
    assert field in render_comparability(found)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"facts": {"kernel": "5.10.0"}}, "kernel"),
        ({"facts": {"memory_bytes": 64 << 30}}, "memory_gibibytes"),
        ({"facts": {"tensorflow_version": "1.15.0"}}, "tensorflow_version"),
        ({"facts": {"cpu_model": None}}, "cpu_model"),
        ({"asked": {"steps": 1000}}, "asked.steps"),
    ],
)
def test_what_shifts_the_speed_or_is_unknown_warns(change, field):
    found = _compare(_result(), _result(**change))
    assert (found.level, found.fields) == (WITH_WARNING, (field,))


def test_simulated_is_never_compared_with_real():
    real, simulated = _result(), _result(simulated=True, backend="simulated")
    assert _compare(real, simulated).level == NOT_COMPARABLE
    assert _compare(real, _result(simulated=True)).fields == ("simulated",)
    with pytest.raises(ValueError, match="cannot ignore simulated"):
        _compare(real, simulated, ignore=["simulated"])


def test_simulated_runs_of_two_machines_are_comparable():
    other = _result(facts={"cpu_model": "Another", "kernel": "6"}, backend="simulated")
    assert _compare(_result(backend="simulated"), other).level == COMPARABLE


def test_on_cards_the_card_decides_and_the_host_warns():
    ours = _result(backend="ascend")
    host = _compare(ours, _result(backend="ascend", facts={"cpu_model": "Another"}))
    assert (host.level, host.fields) == (WITH_WARNING, ("cpu_model",))
    cards = {"npu_names": {"0": "910B", "1": "910B"}}
    assert _compare(ours, _result(backend="ascend", facts=cards)).level == NOT_COMPARABLE
    other_ids = {"npu_names": {"4": "910A"}, "npu_hbm_bytes": {"4": 32 << 30}}
    assert _compare(ours, _result(backend="ascend", facts=other_ids)).level == COMPARABLE
    nobody_knows = {"npu_names": None}
    blind = _result(backend="ascend", facts=nobody_knows)
    assert _compare(blind, blind).fields == ("npu_kinds",)


def test_variables_of_identity_do_not_count():
    def cards(**variables):
        return _result(backend="ascend", facts={"variables_ascend": variables})

    assert _compare(cards(RANK_ID="0", JOB_ID="a"), cards(RANK_ID="3")).level == COMPARABLE
    other = _compare(cards(HCCL_ALGO="ring"), cards(HCCL_ALGO="mesh"))
    assert other.fields == ("variables_ascend",)


def test_unknown_of_what_was_asked_forbids():
    left, right = build_fingerprint(_result()), dict(build_fingerprint(_result()).values)
    right["asked.seq_length"] = None
    found = compare_fingerprints(left, Fingerprint(right))
    assert (found.level, found.fields) == (NOT_COMPARABLE, ("asked.seq_length",))
    assert render_comparability(found) == "not comparable: asked.seq_length 128 / not known"


def test_what_differs_on_purpose_may_be_ignored():
    right = _result(asked={"batch_size": 32})
    assert _compare(_result(), right, ignore=["asked.batch_size"]).level == COMPARABLE
    with pytest.raises(ValueError, match="cannot ignore asked.batch"):
        _compare(_result(), right, ignore=["asked.batch"])


def test_forbidding_facts_come_first():
    right = _result(asked={"batch_size": 32}, facts={"kernel": "6"}, found={"cores_per_card": 2})
    roles = [difference.role for difference in _compare(_result(), right).differences]
    assert roles == [FORBIDS, FORBIDS, WARNS]


def test_the_hash_holds_a_series_together():
    base = hash_fingerprint(build_fingerprint(_result()))
    assert base == hash_fingerprint(build_fingerprint(_result(facts={"kernel": "6"})))
    assert base != hash_fingerprint(build_fingerprint(_result(asked={"batch_size": 32})))


def test_every_rule_reads_something_that_exists():
    asked = set(spec_to_dict(RunSpec()))
    facts = {key for probe in PROBES for key in probe.keys}
    derived = {
        "simulated", "backend", "estimate", "cores_per_card", "oversubscribed", "swap_in_use",
        "iterations_per_loop", "tool_version", "npu_kinds", "npu_hbm_kinds", "memory_gibibytes",
    }  # fmt: skip
    for rule in RULES:
        if rule.field.startswith("asked."):
            assert rule.field[len("asked.") :] in asked
        else:
            assert rule.field in facts | derived
    for backend in ("ascend", "cpu", "simulated"):
        fields = [r.field for r in RULES if not r.backends or backend in r.backends]
        assert len(fields) == len(set(fields))


VALUES = st.sampled_from([None, 1, "a", ["b"]])
PRINTS = st.fixed_dictionaries(
    {**{rule.field: VALUES for rule in RULES}, "backend": st.sampled_from(["cpu", "ascend"])}
).map(Fingerprint)


@given(PRINTS, PRINTS)
def test_comparing_is_symmetric(left, right):
    one, other = compare_fingerprints(left, right), compare_fingerprints(right, left)
    assert (one.level, one.fields) == (other.level, other.fields)
    itself = compare_fingerprints(left, left)
    assert itself.level != NOT_COMPARABLE
    if hash_fingerprint(left) != hash_fingerprint(right):
        assert one.level != COMPARABLE
