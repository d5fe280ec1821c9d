"""The log reader: bytes in, events out, whatever trainer wrote them and however they were damaged.

``read_log`` and ``read_logs`` read files, ``LogReader`` reads pieces, ``LogTail`` follows a file
that grows. ``bench.logs.write`` renders the lines that these read.
"""

from bench.logs.files import LogSet, list_logs, read_log, read_logs, read_stream
from bench.logs.problems import Problem
from bench.logs.ranks import RankKey, RankLog, identify_ranks
from bench.logs.reader import LogReader
from bench.logs.report import LogReport
from bench.logs.tail import LogTail, follow

__all__ = [
    "LogReader",
    "LogReport",
    "LogSet",
    "LogTail",
    "Problem",
    "RankKey",
    "RankLog",
    "follow",
    "identify_ranks",
    "list_logs",
    "read_log",
    "read_logs",
    "read_stream",
]
