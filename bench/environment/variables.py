"""Environment variables that steer devices and libraries, with everything secret taken out.

Two nets: only variables of known families are kept at all, and what is kept is replaced when its
name or the shape of its value looks like a secret. The second net also serves other texts.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Dict, List, Mapping, Pattern, Sequence

from bench.environment.sources import Facts, World, take

REDACTED = "<redacted>"

_FAMILIES = {
    "variables_ascend": re.compile(
        r"(?:HCCL|ASCEND|NPU|GE|TBE|TE|SLOG|PROFILING|RANK|DEVICE|TF_PLUGIN|FWK_PYTHON)_\w+$"
        r"|(?:FUSION_TENSOR_SIZE|JOB_ID|PRINT_MODEL|DUMP_\w+|GLOG_v|ENABLE_FORCE_V2_CONTROL"
        r"|WHICH_OP|NEW_GE_FE_ID|OPTION_EXEC_HCCL_FLAG|HEARTBEAT)$"
    ),
    "variables_tensorflow": re.compile(
        r"TF_(?:CPP|ENABLE|DISABLE|FORCE|USE|NUM|GPU|CUDNN|MKL|XLA|OVERRIDE|SET|SYNC)_\w+$"
        r"|(?:TF_CONFIG|TF_DETERMINISTIC_OPS|XLA_FLAGS|CUDA_VISIBLE_DEVICES|GRPC_VERBOSITY"
        r"|GRPC_TRACE|GRPC_POLL_STRATEGY)$"
    ),
    "variables_threads": re.compile(
        r"(?:OMP|KMP|GOMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|DNNL|ONEDNN)_\w+$"
    ),
    "variables_python": re.compile(
        r"PYTHON(?:PATH|HOME|HASHSEED|OPTIMIZE|DONTWRITEBYTECODE|MALLOC|UTF8|WARNINGS)$"
    ),
    "variables_loader": re.compile(r"(?:LD_LIBRARY_PATH|LD_PRELOAD|MALLOC_\w+|GLIBC_TUNABLES)$"),
}

_SECRET_NAME = re.compile(
    r"SECRET|TOKEN(?!S|I[ZS])|PASSW|PASSPHRASE|(?:^|_)PWD?$|CREDENTIAL|PRIVATE|API_?KEY|ACCESS_?KEY|AUTH"
    r"|COOKIE|SESSION|SIGNATURE|(?:^|_)(?:AK|SK|KEY|DSN)$",
    re.IGNORECASE,
)
_SECRET_VALUES = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)", re.DOTALL),
    re.compile(r"\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"),  # JSON web token
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}"),  # access key id of a cloud
    re.compile(r"\b(?:gh[pousr]|glpat|github_pat|xox[abprs]|hf|sk|pk|npm|dckr_pat)[-_]\w{12,}"),
    re.compile(r"\b(?:bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE),
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),  # user:password in an address
    re.compile(
        r"(?<![\w])((?:[\w-]*(?:secret|token|passw(?:or)?d|api_?key|access_?key))\s*[=:]\s*)\S+",
        re.IGNORECASE,
    ),
)
_LONG_WORD = re.compile(r"[A-Za-z0-9+/_=-]{24,}")


def collect_variables(world: World) -> Facts:
    """One fact for each family; a family without a variable is an empty mapping."""
    return {
        key: take(partial(select_variables, world.variables, family))
        for key, family in _FAMILIES.items()
    }


def select_variables(variables: Mapping[str, str], family: Pattern[str]) -> Dict[str, str]:
    """The variables of a family, sorted by name and redacted."""
    return {
        name: redact_variable(name, variables[name])
        for name in sorted(variables)
        if family.match(name)
    }


def redact_variable(name: str, value: str) -> str:
    """The value, or :data:`REDACTED` in the place of what looks secret by name or by shape."""
    return REDACTED if _SECRET_NAME.search(name) else redact_text(value)


def redact_words(words: Sequence[str]) -> List[str]:
    """A command line without secrets: values of flags named like one, and known shapes.

    Long random words stay, as cache folders are named so.
    """
    kept: List[str] = []
    secret_follows = False
    for word in words:
        name, equals, value = word.partition("=")
        flag = name.startswith("-") and bool(_SECRET_NAME.search(name.lstrip("-")))
        if secret_follows and not word.startswith("-"):
            kept.append(REDACTED)
        elif flag and equals:
            kept.append(f"{name}={REDACTED}")
        else:
            kept.append(_redact_shapes(word))
        secret_follows = flag and not equals
    return kept


def redact_text(text: str) -> str:
    """Any text with what looks secret by its shape replaced."""
    text = _redact_shapes(text)
    return _LONG_WORD.sub(lambda m: REDACTED if is_random_word(m.group()) else m.group(), text)


def _redact_shapes(text: str) -> str:
    for pattern in _SECRET_VALUES:
        text = pattern.sub(lambda m: (m.group(1) if m.re.groups else "") + REDACTED, text)
    return text


def is_random_word(word: str) -> bool:
    """Whether a long word looks like a key: digits and both cases, or hexadecimal, all mixed up.

    Words of a language, version strings and file names have few changes between letters and digits.
    """
    kinds = [
        "d" if c.isdigit() else "u" if c.isupper() else "l" if c.islower() else "-" for c in word
    ]
    changes = sum(1 for a, b in zip(kinds, kinds[1:]) if a != b and "-" not in (a, b))
    n_kinds = len(set(kinds) - {"-"})
    return n_kinds >= 2 and changes >= len(word) / 5
