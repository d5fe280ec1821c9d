"""A Pushgateway, for sites where Prometheus cannot reach the machine: pushed to, and cleaned up.

The gateway never forgets by itself, so what was pushed is deleted at the end, after time enough
for a scrape of the gateway.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Optional
from urllib.parse import unquote, urlsplit, urlunsplit

from prometheus_client import CollectorRegistry, delete_from_gateway, push_to_gateway
from prometheus_client.exposition import basic_auth_handler, default_handler

from bench.errors import UsageError

JOB = "ascend-bert-pushed"
"""Not the job that scrapes runs: what is pushed and scraped must stay apart."""
_TIMEOUT_SECONDS = 5.0

Note = Callable[[str], None]


class Pusher:
    """Pushes a registry under ``job`` and ``session_id``, and deletes what it pushed at the end.

    A gateway that does not answer is said once and never ends a run.

    Args:
        url: of the gateway; name and password may stand in it.
        registry: what to push.
        session_id: identity of the command that pushes.
        note: where to say that a push failed.

    Raises:
        UsageError: not an HTTP address.
    """

    def __init__(self, url: str, registry: CollectorRegistry, session_id: str, note: Note) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("--push needs http://HOST:PORT or https://HOST:PORT of a Pushgateway")
        self._user, self._password = parts.username, parts.password
        where = parts.netloc.rpartition("@")[2]
        self._url = urlunsplit((parts.scheme, where, parts.path.rstrip("/"), "", ""))
        self._registry = registry
        self._note = note
        self._session_id = session_id
        self._pushed = False
        self._failed = False

    @property
    def url(self) -> str:
        """Where it pushes to, without name and password."""
        return self._url

    def push(self) -> bool:
        """Replaces what the gateway has of this session; returns whether that worked."""
        self._pushed = True
        return self._try("push to", push_to_gateway, registry=self._registry)

    def close(self) -> bool:
        """Deletes what was pushed, if anything was; returns whether that worked."""
        pushed, self._pushed = self._pushed, False
        return not pushed or self._try("clean", delete_from_gateway)

    def _try(self, what: str, call: Callable[..., Any], **more: Any) -> bool:
        try:
            call(
                self._url,
                job=JOB,
                grouping_key={"session_id": self._session_id},
                timeout=_TIMEOUT_SECONDS,
                handler=self._handle,
                **more,
            )
        except Exception as error:  # whatever a network can think of
            if not self._failed:
                reason = _mask(str(getattr(error, "reason", None) or error), self._password)
                self._note(f"cannot {what} the Pushgateway {self._url}: {reason}")
            self._failed = True
            return False
        self._failed = False
        return True

    def _handle(
        self, url: str, method: str, timeout: Optional[float], headers: Any, data: bytes
    ) -> Callable[[], None]:
        if self._user is None:
            return default_handler(url, method, timeout, headers, data)
        user, password = unquote(self._user), unquote(self._password or "")
        return basic_auth_handler(url, method, timeout, headers, data, user, password)


def _mask(text: str, secret: Optional[str]) -> str:
    words: Dict[str, str] = {secret: "***"} if secret else {}
    return re.sub("|".join(map(re.escape, words)), "***", text) if words else text
