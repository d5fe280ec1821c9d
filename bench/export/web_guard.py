"""Who may ask an endpoint, how often, and through which TLS."""

from __future__ import annotations

import base64
import binascii
import collections
import hashlib
import hmac
import importlib
import os
import ssl
import threading
import time
from pathlib import Path
from typing import Any, Callable, Deque, Dict, Mapping, Optional, Tuple

from bench.errors import UsageError
from bench.export.web_config import TlsConfig, WebConfig, read_web_config

_CACHE_SIZE = 100
_NOBODY = b"$2b$10$abcdefghijklmnopqrstuukU/7Vg6QBNRBVTjiQjByMHtjRExPGmG"
"""Compared for names that are not known, so that the time tells nothing about names."""

_VERSIONS = {
    "TLS12": "TLSv1_2",
    "TLS13": "TLSv1_3",
}


class WebGuard:
    """A web config that follows its file: a changed certificate or user holds from then on.

    Args:
        path: the file, None for an endpoint without TLS and users.

    Raises:
        UsageError: the file or what it names is not usable, or bcrypt is not installed.
    """

    def __init__(self, path: Optional[Path] = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._stamp: Tuple[Any, ...] = ()
        self._config = WebConfig()
        self._context: Optional[ssl.SSLContext] = None
        self._passwords = PasswordChecker({})
        self._limit = RateLimit(0.0, 0)
        if path is not None:
            self._load()

    @property
    def scheme(self) -> str:
        """``https`` or ``http``."""
        return "http" if self._config.tls is None else "https"

    @property
    def config(self) -> WebConfig:
        """As last read."""
        return self._config

    def refresh(self) -> None:
        """Reads the file again if it or a file that it names has changed.

        A file that has become wrong leaves the last good state in force.
        """
        with self._lock:
            if self._path is not None and self._stamp != self._collect_stamp():
                try:
                    self._load()
                except UsageError:
                    self._stamp = self._collect_stamp()

    def wrap(self, connection: Any) -> Any:
        """The connection through TLS; the handshake is left to the first read or write.

        Raises:
            OSError: the handshake failed.
        """
        context, tls = self._context, self._config.tls
        if context is None or tls is None:
            return connection
        wrapped = context.wrap_socket(connection, server_side=True)
        if tls.client_allowed_sans and not _has_name(
            wrapped.getpeercert() or {}, tls.client_allowed_sans
        ):
            wrapped.close()
            raise ssl.SSLError("the client's certificate has none of the allowed names")
        return wrapped

    def allows(self, authorization: Optional[str]) -> bool:
        """Whether a request with this ``Authorization`` header may be answered."""
        return not self._config.users or self._passwords.check(authorization)

    def take_turn(self) -> bool:
        """Whether the rate limit has room for one more request."""
        return self._limit.take()

    def _load(self) -> None:
        assert self._path is not None
        config = read_web_config(self._path)
        context = None if config.tls is None else build_tls_context(config.tls)
        if config.users:
            _import_bcrypt()
        if (self._context is None) != (context is None) and self._stamp:
            raise UsageError("TLS cannot be switched on or off while the endpoint serves")
        self._config, self._context = config, context
        self._passwords = PasswordChecker(config.users)
        self._limit = RateLimit(config.rate_interval_seconds, config.rate_burst)
        self._stamp = self._collect_stamp()

    def _collect_stamp(self) -> Tuple[Any, ...]:
        tls = self._config.tls
        files = [self._path]
        if tls is not None:
            files += [tls.cert_file, tls.key_file, tls.client_ca_file]
        return tuple(_stat(path) for path in files if path is not None)


class PasswordChecker:
    """Checks ``Authorization: Basic`` against bcrypt hashes.

    bcrypt is slow on purpose, a scrape comes every few seconds: what was right once is kept, as a
    keyed hash, for a bounded number of pairs.
    """

    def __init__(self, users: Mapping[str, str]) -> None:
        self._users = {name: value.encode("ascii") for name, value in users.items()}
        self._key = os.urandom(32)
        self._right: Deque[bytes] = collections.deque(maxlen=_CACHE_SIZE)
        # One at a time: guesses must not take every core from the ranks.
        self._lock = threading.Lock()

    def check(self, authorization: Optional[str]) -> bool:
        """Whether name and password are right."""
        pair = _parse_basic(authorization)
        if pair is None:
            return False
        name, password = pair
        stored = self._users.get(name)
        digest = hmac.new(
            self._key, b"\0".join([name.encode("utf-8"), stored or b"", password]), hashlib.sha256
        ).digest()
        if any(hmac.compare_digest(digest, known) for known in self._right):
            return True
        bcrypt = _import_bcrypt()
        with self._lock:
            # bcrypt itself takes no more than 72 bytes.
            right = bool(bcrypt.checkpw(password[:72], _as_2b(stored or _NOBODY)))
        if right and stored is not None:
            self._right.append(digest)
            return True
        return False


class RateLimit:
    """A token bucket: ``burst`` requests at once, one more each interval."""

    def __init__(
        self,
        interval_seconds: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._interval = interval_seconds
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._filled_at = clock()
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Takes a token if there is one."""
        if self._interval <= 0.0:
            return True
        with self._lock:
            now = self._clock()
            gained = (now - self._filled_at) / self._interval
            self._tokens = min(float(self._burst), self._tokens + gained)
            self._filled_at = now
            if self._tokens < 1.0:
                return False
            self._tokens -= 1.0
            return True


def build_tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """The TLS side of a server.

    Raises:
        UsageError: a file cannot be read, does not fit the key, or a cipher is not known.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.minimum_version = getattr(ssl.TLSVersion, _VERSIONS[tls.min_version])
    context.maximum_version = getattr(ssl.TLSVersion, _VERSIONS[tls.max_version])
    try:
        # Without a password the library would ask for one on the terminal.
        context.load_cert_chain(str(tls.cert_file), str(tls.key_file), password=lambda: b"")
        if tls.client_ca_file is not None:
            context.load_verify_locations(str(tls.client_ca_file))
        if tls.cipher_suites:
            context.set_ciphers(":".join(tls.cipher_suites))
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(map(str, filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file))))
        reason = error.strerror or str(error)
        raise UsageError(f"tls_server_config is not usable ({files}): {reason}") from error
    if tls.client_auth_type == "RequireAndVerifyClientCert":
        context.verify_mode = ssl.CERT_REQUIRED
    elif tls.client_auth_type == "VerifyClientCertIfGiven":
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


def _parse_basic(authorization: Optional[str]) -> Optional[Tuple[str, bytes]]:
    scheme, _, coded = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, colon, password = base64.b64decode(coded.strip(), validate=True).partition(b":")
        # A NUL would end the password early in some libraries.
        return (name.decode("utf-8"), password) if colon and b"\0" not in password else None
    except (binascii.Error, ValueError):
        return None


def _as_2b(stored: bytes) -> bytes:
    # $2y$ is what htpasswd writes for the same algorithm.
    return b"$2b$" + stored[4:] if stored[:4] in (b"$2y$", b"$2x$") else stored


def _import_bcrypt() -> Any:
    try:
        return importlib.import_module("bcrypt")
    except ImportError as error:
        raise UsageError(
            "basic_auth_users needs the Python package bcrypt: install ascend-bert[auth]"
        ) from error


def _has_name(certificate: Mapping[str, Any], allowed: Tuple[str, ...]) -> bool:
    names: Dict[str, bool] = {value: True for _, value in certificate.get("subjectAltName", ())}
    return any(name in names for name in allowed)


def _stat(path: Path) -> Optional[Tuple[int, int, int]]:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size, found.st_ino)
