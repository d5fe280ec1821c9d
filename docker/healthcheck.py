"""Is the container well? Its results can be written and, if an endpoint is named, it answers.

``ASCEND_BERT_HEALTH_URL`` names the endpoint, such as ``http://127.0.0.1:9100/metrics``.
Standard library only; exit code 0 well, 1 not, with one line that says what is wrong.
"""

from __future__ import annotations

import os
import sys
import urllib.request

RESULTS = "/ascend-bert/results"
LEAST_FREE_BYTES = 16 << 20
TIMEOUT_SECONDS = 5.0


def find_problem(results: str, url: str) -> str:
    """What is wrong, in one line; empty when all is well.

    Args:
        results: directory that must take more results.
        url: endpoint that must answer; empty for none.
    """
    try:
        state = os.statvfs(results)
    except OSError as error:
        return f"{results}: {error.strerror}"
    if not os.access(results, os.W_OK):
        return f"{results} cannot be written by uid {os.getuid()}"
    if state.f_bavail * state.f_frsize < LEAST_FREE_BYTES:
        return f"{results} has less than {LEAST_FREE_BYTES >> 20} MiB free"
    if not url:
        return ""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
            return "" if answer.status == 200 else f"{url} answers {answer.status}"
    except (OSError, ValueError) as error:
        return f"{url}: {error}"


if __name__ == "__main__":
    PROBLEM = find_problem(RESULTS, os.environ.get("ASCEND_BERT_HEALTH_URL", ""))
    print(PROBLEM or "well")
    sys.exit(1 if PROBLEM else 0)
