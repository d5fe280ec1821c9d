"""The file of ``--web.config.file``: TLS, headers, users and rate limit of an endpoint.

Keys and meanings are those of Prometheus' exporter-toolkit (its ``web-configuration.md``), so that
a file written for any exporter serves here. What this server cannot do is refused, never ignored.
Paths in the file are relative to its folder.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Tuple

import yaml

from bench.errors import UsageError

TLS_VERSIONS = ("TLS12", "TLS13")
CLIENT_AUTH_TYPES = ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
HEADERS = (
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
    "Content-Security-Policy",
)
"""The headers that exporter-toolkit lets a file set."""

_SECTIONS = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
_TLS_KEYS = (
    "cert_file",
    "key_file",
    "client_auth_type",
    "client_ca_file",
    "client_allowed_sans",
    "min_version",
    "max_version",
    "cipher_suites",
)
_BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}$")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)$")
_DURATION_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class TlsConfig:
    """``tls_server_config``.

    Attributes:
        cert_file: PEM certificate and its chain.
        key_file: PEM key.
        client_auth_type: one of :data:`CLIENT_AUTH_TYPES`.
        client_ca_file: PEM certificates that a client's must be signed by.
        client_allowed_sans: if any, a client's certificate must have one of these names.
        min_version: one of :data:`TLS_VERSIONS`.
        max_version: the same.
        cipher_suites: names for TLS 1.2 as OpenSSL writes them; empty for the defaults.
    """

    cert_file: Path
    key_file: Path
    client_auth_type: str = "NoClientCert"
    client_ca_file: Optional[Path] = None
    client_allowed_sans: Tuple[str, ...] = ()
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: Tuple[str, ...] = ()


@dataclass(frozen=True)
class WebConfig:
    """What an endpoint demands and answers.

    Attributes:
        tls: None for plain HTTP.
        users: name → bcrypt hash; empty for no authentication.
        headers: name → value, added to every answer.
        rate_interval_seconds: time in which one more request is allowed; 0 for no limit.
        rate_burst: requests allowed at once.
    """

    tls: Optional[TlsConfig] = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_interval_seconds: float = 0.0
    rate_burst: int = 0


def read_web_config(path: Path) -> WebConfig:
    """Reads and checks the file.

    Raises:
        UsageError: it cannot be read, or has a key or value that does not hold here.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UsageError(f"cannot read web config {path}: {reason}") from error
    except yaml.YAMLError as error:
        # The text of the error would show what stands in the file, hashes included.
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"web config {path} is not YAML{place}") from None
    return parse_web_config(plain if plain is not None else {}, path)


def parse_web_config(plain: Any, path: Path) -> WebConfig:
    """Checks what the file says.

    Args:
        plain: the file's content.
        path: for messages, and what relative paths start from.

    Raises:
        UsageError: see :func:`read_web_config`.
    """
    sections = _take(plain, _SECTIONS, f"web config {path}")
    tls = sections.get("tls_server_config")
    limit = sections.get("rate_limit")
    interval, burst = (0.0, 0) if limit is None else _parse_rate_limit(limit, path)
    return WebConfig(
        tls=None if tls is None else _parse_tls(tls, path),
        users=_parse_users(sections.get("basic_auth_users"), path),
        headers=_parse_http(sections.get("http_server_config"), path),
        rate_interval_seconds=interval,
        rate_burst=burst,
    )


def _parse_tls(plain: Any, path: Path) -> TlsConfig:
    place = f"web config {path}: tls_server_config"
    keys = _take(plain, _TLS_KEYS, place)
    files: Dict[str, Path] = {}
    for key in ("cert_file", "key_file", "client_ca_file"):
        if keys.get(key) is not None:
            files[key] = path.parent / _take_text(keys[key], f"{place}.{key}")
    for key in ("cert_file", "key_file"):
        if key not in files:
            raise UsageError(f"{place} needs {key}")
    auth = keys.get("client_auth_type", "NoClientCert")
    if auth not in CLIENT_AUTH_TYPES:
        raise UsageError(
            "{}.client_auth_type must be one of {}; {!r} is not offered here".format(
                place, ", ".join(CLIENT_AUTH_TYPES), auth
            )
        )
    if (auth == "NoClientCert") != ("client_ca_file" not in files):
        raise UsageError(f"{place}: client_ca_file and client_auth_type must be given together")
    versions = [
        keys.get("min_version", "TLS12"),
        keys.get("max_version", "TLS13"),
    ]
    if not set(versions) <= set(TLS_VERSIONS):
        raise UsageError("{}: versions must be of {}".format(place, ", ".join(TLS_VERSIONS)))
    if TLS_VERSIONS.index(versions[0]) > TLS_VERSIONS.index(versions[1]):
        raise UsageError(f"{place}: min_version is above max_version")
    sans = _take_texts(keys.get("client_allowed_sans"), f"{place}.client_allowed_sans")
    if sans and auth != "RequireAndVerifyClientCert":
        raise UsageError(f"{place}.client_allowed_sans needs RequireAndVerifyClientCert")
    return TlsConfig(
        cert_file=files["cert_file"],
        key_file=files["key_file"],
        client_auth_type=auth,
        client_ca_file=files.get("client_ca_file"),
        client_allowed_sans=sans,
        min_version=versions[0],
        max_version=versions[1],
        cipher_suites=_take_texts(keys.get("cipher_suites"), f"{place}.cipher_suites"),
    )


def _parse_users(plain: Any, path: Path) -> Dict[str, str]:
    place = f"web config {path}: basic_auth_users"
    if plain is None:
        return {}
    if not isinstance(plain, dict):
        raise UsageError(f"{place} must map names to bcrypt hashes")
    for name, value in plain.items():
        if not isinstance(name, str) or not name or ":" in name:
            raise UsageError(f"{place}: a name must be a text without a colon")
        if not isinstance(value, str) or not _BCRYPT.match(value):
            raise UsageError(f"{place}: the value of {name} is not a bcrypt hash")
    return dict(plain)


def _parse_http(plain: Any, path: Path) -> Dict[str, str]:
    place = f"web config {path}: http_server_config"
    if plain is None:
        return {}
    keys = _take(plain, ("http2", "headers"), place)
    if keys.get("http2"):
        raise UsageError(f"{place}.http2: this server speaks HTTP/1 only, set it to false")
    headers = _take(keys.get("headers") or {}, HEADERS, f"{place}.headers")
    for name, value in headers.items():
        if not isinstance(value, str) or not value.isprintable():
            raise UsageError(f"{place}.headers.{name} must be one line of text")
    return dict(headers)


def _parse_rate_limit(plain: Any, path: Path) -> Tuple[float, int]:
    place = f"web config {path}: rate_limit"
    keys = _take(plain, ("interval", "burst"), place)
    match = _DURATION.match(str(keys.get("interval", "0s")))
    if match is None:
        raise UsageError(f"{place}.interval must be a time such as 1s or 500ms")
    burst = keys.get("burst", 0)
    if isinstance(burst, bool) or not isinstance(burst, int) or burst < 0:
        raise UsageError(f"{place}.burst must be a whole number from 0 on")
    interval = float(match.group(1)) * _DURATION_SECONDS[match.group(2)]
    if interval > 0.0 and burst == 0:
        raise UsageError(f"{place}.burst must be 1 or more, or no request would be answered")
    return interval, burst


def _take(plain: Any, known: Tuple[str, ...], place: str) -> Dict[str, Any]:
    if not isinstance(plain, dict):
        raise UsageError(f"{place} must be a mapping")
    for key in plain:
        if key not in known:
            raise UsageError(
                "{} does not know {!r} here; known: {}".format(place, key, ", ".join(known))
            )
    return plain


def _take_text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{place} must be a text")
    return value


def _take_texts(value: Any, place: str) -> Tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise UsageError(f"{place} must be a list of texts")
    return tuple(value)
