"""The layout of the code: which room imports which, and what may stand where.

Every rule is also shown to fail, on made-up sources.
"""

from __future__ import annotations

from pathlib import Path
from typing import List

import pytest

from tests.architecture import (
    BENCH_TIERS,
    MAX_LINES,
    RULES,
    Source,
    find_room_cycles,
    list_imports,
    read_sources,
)

ROOT = Path(__file__).resolve().parents[2]

# (rule, path, source text): the rule must find something.
BROKEN = [
    ("foreign imports", "bench/spec.py", "import tensorflow as tf"),
    ("foreign imports", "bench/logs/reader.py", "from bert.config import BertConfig"),
    ("foreign imports", "bench/devices/ascend.py", "import npu_bridge"),
    ("foreign imports", "bench/devices/ascend.py", "def probe():\n    from hccl import split"),
    (
        "foreign imports",
        "bench/cli.py",
        "importlib.import_module('bert.pretrain')",
    ),
    ("foreign imports", "bench/cli.py", "__import__('tensorflow.python')"),
    ("foreign imports", "bert/pretrain.py", "from bench.errors import BenchError"),
    ("foreign imports", "bert/model/layers.py", "from npu_bridge.npu_init import *"),
    ("foreign imports", "bert/backends/cpu.py", "import hccl.manage.api"),
    ("upward imports", "bench/errors.py", "from bench.spec import RunSpec"),
    ("upward imports", "bench/catalogue.py", "from bench import spec"),
    ("upward imports", "bench/logs/reader.py", "from bench.results.model import RunResult"),
    ("upward imports", "bench/results/store.py", "import bench.judge.gate"),
    ("upward imports", "bench/judge/gate.py", "from ..views import tables"),
    ("upward imports", "bench/views/tables.py", "from bench.commands.show import main"),
    ("upward imports", "bench/spec.py", "def build():\n    from bench.launch.plan import Plan"),
    ("upward imports", "bench/attic.py", "import os"),
    ("upward imports", "bench/cli.py", "from bench.attic import junk"),
    ("prints", "bench/views/tables.py", "print('table')"),
    ("prints", "bench/launch/processes.py", "def say():\n    print('started')"),
    ("prints", "bert/training/hooks.py", "print('step')"),
    ("child processes", "bench/results/store.py", "import subprocess"),
    ("child processes", "bench/commands/bench.py", "from subprocess import run"),
    ("child processes", "bench/logs/reader.py", "from multiprocessing import Pool"),
    ("child processes", "bench/spec.py", "import os\nos.system('ls')"),
    ("child processes", "bench/cli.py", "import os\nos.execvp('ls', ['ls'])"),
    ("code from text", "bench/spec.py", "eval('1 + 1')"),
    ("code from text", "bert/config.py", "exec('x = 1')"),
    ("code from text", "bench/spec.py", "import yaml\nyaml.load('a: 1')"),
    ("code from text", "bench/launch/plan.py", "run('ls', shell=True)"),
    ("code from text", "bench/launch/plan.py", "run('ls', shell=flag)"),
    ("files", "bench/logs/reader.py", "x = 1\n" * (MAX_LINES + 1)),
    ("files", "bert/model/utils.py", "x = 1"),
    ("module-level work", "bench/environment.py", "import os\nHOME = os.environ['HOME']"),
    ("module-level work", "bench/devices/cpu.py", "import os\nCORES = os.cpu_count()"),
    (
        "module-level work",
        "bench/specs.py",
        "TEXT = Path('a').read_text()",
    ),
    ("module-level work", "bert/flags.py", "flags.DEFINE_string('a', None, 'help')"),
    ("module-level work", "bert/pretrain.py", "import logging\nlogging.basicConfig()"),
    ("module-level work", "bench/export/server.py", "import threading\nT = threading.Thread()"),
    ("module-level work", "bench/cli.py", "for i in range(3):\n    pass"),
    ("module-level work", "bench/cli.py", "if FLAG:\n    main()"),
    ("module-level work", "bench/cli.py", "try:\n    probe()\nexcept OSError:\n    pass"),
]

# (rule, path, source text): the rule must find nothing.
SOUND = [
    ("foreign imports", "bert/backends/ascend.py", "from npu_bridge.npu_init import NPURunConfig"),
    ("foreign imports", "bert/backends/ascend_ops.py", "import hccl"),
    ("foreign imports", "bert/pretrain.py", "import tensorflow as tf\nfrom bert import config"),
    (
        "foreign imports",
        "bench/devices/ascend.py",
        "find_spec('npu_bridge')",
    ),
    ("foreign imports", "bench/spec.py", "import bertha\nfrom . import errors"),
    ("upward imports", "bench/spec.py", "import bench\nfrom bench.errors import UsageError"),
    ("upward imports", "bench/spec.py", "from bench import __version__"),
    ("upward imports", "bench/launch/plan.py", "from bench.devices.base import Backend"),
    ("upward imports", "bench/environment_git.py", "from bench.spec import RunSpec"),
    ("upward imports", "bench/__init__.py", "__version__ = '1'"),
    ("prints", "bench/commands/show.py", "print('table')"),
    ("prints", "bert/data/synthetic.py", "print('directory')"),
    ("prints", "bench/views/tables.py", "def print_width():\n    return pretty.print('x')"),
    ("child processes", "bench/launch/processes.py", "import subprocess"),
    ("child processes", "bench/environment_git.py", "import subprocess"),
    ("child processes", "bert/data/workers.py", "import multiprocessing"),
    ("code from text", "bench/spec.py", "import yaml\nyaml.safe_load('a: 1')"),
    ("code from text", "bench/launch/plan.py", "run(['ls'], shell=False)"),
    ("code from text", "bert/training/model_fn.py", "estimator.eval()\nre.compile('a')"),
    ("files", "bench/logs/reader.py", "x = 1\n" * MAX_LINES),
    ("module-level work", "bench/cli.py", '"""Doc."""\nimport os\n\n\ndef f():\n    os.getpid()'),
    ("module-level work", "bench/logs/patterns.py", "SHAPES = (Shape(lambda m: m.group(1)),)"),
    ("module-level work", "bench/spec.py", "NAMES = (1,)\nNAMES += (2,)"),
    ("module-level work", "bench/logs/patterns.py", "import re\nSTEP = re.compile('a')"),
    ("module-level work", "bert/model/layers.py", "import math\nSCALE = math.sqrt(2.0)"),
    ("module-level work", "bench/catalogue.py", "ROWS = (_row('a'), Metric('b', unit=None))"),
    ("module-level work", "bench/cli.py", "if __name__ == '__main__':\n    main()"),
    (
        "module-level work",
        "bench/cli.py",
        "try:\n    import a\nexcept ImportError:\n    a = None",
    ),
]


@pytest.fixture(scope="module")
def sources() -> List[Source]:
    """All source files of the two packages."""
    return read_sources(ROOT)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_sources_keep_the_rule(rule, sources):
    findings = [
        f"{source.path}:{line}: {message}"
        for source in sources
        for line, message in RULES[rule](source)
    ]
    assert findings == []


def test_both_packages_were_read(sources):
    assert {source.package for source in sources} == {"bench", "bert"}
    assert "bench/errors.py" in {source.path for source in sources}


def test_rooms_of_bench_do_not_import_each_other_in_circles(sources):
    assert list(find_room_cycles(sources)) == []


@pytest.mark.parametrize("rule, path, text", BROKEN)
def test_rule_finds(rule, path, text):
    assert list(RULES[rule](Source(path, text)))


@pytest.mark.parametrize("rule, path, text", SOUND)
def test_rule_leaves_alone(rule, path, text):
    assert list(RULES[rule](Source(path, text))) == []


def test_every_rule_is_shown_to_fail():
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
    assert {rule for rule, _, _ in SOUND} == set(RULES)


def test_circle_of_rooms_is_found():
    circle = [
        Source("bench/devices/cpu.py", "from bench.launch.plan import Plan"),
        Source("bench/launch/plan.py", "from bench.measure import rates"),
        Source("bench/measure/rates.py", "import bench.devices.cpu"),
        Source("bench/logs/reader.py", "from bench.logs import patterns"),
    ]
    assert list(find_room_cycles(circle)) == ["devices", "launch", "measure"]
    assert list(find_room_cycles(circle[1:])) == []


def test_relative_imports_are_resolved():
    text = "from . import patterns\nfrom .events import Loss\nfrom ..errors import DataError"
    names = [name for _, name in list_imports(Source("bench/logs/reader.py", text))]
    assert names == ["bench.logs.patterns", "bench.logs.events.Loss", "bench.errors.DataError"]


def test_tiers_name_each_room_once():
    rooms = [room for tier in BENCH_TIERS for room in tier]
    assert len(rooms) == len(set(rooms))
