"""No secret of the environment reaches a result."""

import json
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.environment import World, collect_environment
from bench.environment.variables import (
    REDACTED,
    collect_variables,
    redact_text,
    redact_variable,
    redact_words,
)

ALPHABETS = (string.ascii_letters + string.digits, string.hexdigits.lower()[:16])


@pytest.mark.parametrize(
    "name",
    "HCCL_PASSWORD ASCEND_API_KEY NPU_ACCESS_TOKEN GE_SECRET RANK_AUTH ASCEND_SK HCCL_PWD".split(),
)
def test_secret_names(name):
    assert redact_variable(name, "short") == REDACTED


@pytest.mark.parametrize(
    "value",
    [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "AKIA" + "Q7T3ZP4WX8LM2NB6",
        "ghp_" + "a1B2" * 9,
        "Bearer abcdefgh12345678",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
        "3f9a7c1e5b2d8f604a6c9e1b7d3f5a2c",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCY9Zq4T8",
    ],
)
def test_secret_shapes(value):
    assert redact_text(f"before {value} after") == f"before {REDACTED} after"


def test_part_of_a_value_is_taken_out():
    assert redact_text("http://me:pa55@host:80/x") == f"http://{REDACTED}@host:80/x"
    assert redact_text("--user_token=abc --x=1") == f"--user_token={REDACTED} --x=1"


@pytest.mark.parametrize(
    "value",
    [
        "600",
        "/usr/local/Ascend/nnae/latest/fwkacllib/lib64:/usr/local/Ascend/driver/lib64/common",
        "/usr/local/Ascend/ascend-toolkit/20.1.rc1/arm64-linux/atc/python/site-packages",
        "20210205T120000Z-ab12-bert-base-ascend-8p-r1",
        "granularity=fine,compact,1,0",
        "--tf_xla_cpu_global_jit --xla_hlo_profile",
    ],
)
def test_what_is_needed_stays(value):
    assert redact_text(value) == value


@given(st.sampled_from(ALPHABETS).flatmap(lambda a: st.text(a, min_size=40, max_size=64)))
def test_random_keys_never_pass(secret):
    # A key drawn at random has both letters and digits, mixed up; a text of one kind is no key.
    changes = len(re.findall(r"(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[a-z0-9]|(?<=\d)[A-Za-z]", secret))
    if changes >= len(secret) / 5:
        assert secret not in redact_text(f"x={secret}")


def test_only_known_families_are_kept():
    variables = {
        "HOME": "/home/me",
        "MY_DATABASE_URL": "postgres://me:x@host",
        "TF_VAR_admin": "terraform",
        "HCCL_CONNECT_TIMEOUT": "600",
        "RANK_TABLE_FILE": "/etc/hccl.json",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "OMP_NUM_THREADS": "4",
        "LD_PRELOAD": "libjemalloc.so",
    }
    facts = collect_variables(World(variables=variables))
    kept = {name for fact in facts.values() for name in fact.value}
    assert kept == set(variables) - {"HOME", "MY_DATABASE_URL", "TF_VAR_admin"}


def test_no_planted_secret_is_in_the_whole(tmp_path):
    secret = "s3cr3tV4lue9Zk2"
    variables = {
        "HCCL_TOKEN": secret,
        "ASCEND_CREDENTIALS": secret,
        "AWS_SECRET_ACCESS_KEY": secret,
        "RANK_TABLE_FILE": f"https://user:{secret}@store/table.json",
        "PYTHONPATH": f"/x?api_key={secret}",
    }
    world = World(root=str(tmp_path), variables=variables)
    assert secret not in json.dumps(collect_environment(None, world))


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["train", "--api_key=abc", "x"], ["train", f"--api_key={REDACTED}", "x"]),
        (
            ["train", "--token", "abc", "--steps", "5"],
            ["train", "--token", REDACTED, "--steps", "5"],
        ),
        (["train", "--token", "--steps", "5"], ["train", "--token", "--steps", "5"]),
        (["--tokenizer=bert", "--max_tokens", "5"], ["--tokenizer=bert", "--max_tokens", "5"]),
        (["curl", "https://me:pass@host/x"], ["curl", f"https://{REDACTED}@host/x"]),
        (["--vocab_file=vocab.txt", "--monkey=1"], ["--vocab_file=vocab.txt", "--monkey=1"]),
        (["--data=/cache/3f9a7c1e5b2d8f604a6c9e1b7d3f5a2c"],) * 2,
    ],
)
def test_command_lines(words, kept):
    assert redact_words(words) == kept
