"""The rules of how the code is laid out, as functions over parsed source files.

A rule takes a :class:`Source` and yields its findings; nothing is imported, so the rules also hold
for files that need TensorFlow or an NPU.  ``tests/unit/test_architecture.py`` applies them.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Set, Tuple

Finding = Tuple[int, str]
Rule = Callable[["Source"], Iterator[Finding]]

# Imports in bench go from a later tier to an earlier one, or stay within a tier.
BENCH_TIERS = (
    ("errors",),
    ("catalogue",),
    ("series",),
    (
        "settings",
        "spec_downstream",
        "spec_session",
        "spec_simulated",
        "spec_hosts",
        "spec_limits",
        "spec",
    ),
    ("environment", "devices", "logs", "measure", "launch", "ranktable", "telemetry", "containers"),
    ("results",),
    ("judge",),
    ("history",),
    ("views", "export", "doctor"),
    ("report",),
    ("session",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
TIER_OF = {room: tier for tier, rooms in enumerate(BENCH_TIERS) for room in rooms}

FORBIDDEN_IN_BENCH = ("tensorflow", "tensorflow_core", "npu_bridge", "hccl", "bert")
NPU_PACKAGES = ("npu_bridge", "hccl")
NPU_FILES = ("bert/backends/ascend*.py",)

PRINTING_FILES = (
    "bench/cli.py",
    "bench/commands/*.py",
    "bert/pretrain.py",
    "bert/downstream/reading_evaluate.py",
    "bert/extract_features.py",
    "bert/data/create_pretraining_data.py",
    "bert/data/inspect.py",
    "bert/data/synthetic.py",
    "bert/data/vocabulary.py",
)
PROCESS_FILES = ("bench/launch/*.py", "bench/devices/*.py", "bench/environment*.py")
PROCESS_CALLS = ("os.system", "os.popen", "os.fork", "os.exec*", "os.spawn*", "os.posix_spawn*")

MAX_LINES = 400
HOMELESS_NAMES = ("util", "utils", "helper", "helpers", "common", "misc")

# Calls that only build a value, by their last name or by their module; any other call at module
# level counts as work. A capital first letter is taken for a class.
BUILDERS = frozenset(
    ["abs", "bytes", "dict", "enumerate", "float", "frozenset", "int", "len", "list", "map", "max"]
    + ["min", "range", "set", "sorted", "str", "sum", "tuple", "zip"]
    + [
        "encode",
        "escape",
        "format",
        "items",
        "join",
        "keys",
        "lower",
        "replace",
        "resolve",
        "split",
    ]
    + ["joinpath", "union", "upper", "values", "with_name", "fromkeys", "from_bytes"]
    + ["arange", "array", "dtype", "field", "getLogger", "namedtuple", "partial"]
)
PURE_MODULES = ("math", "operator", "re", "struct")
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
WORKING_CLASSES = ("Thread", "Process", "Popen", "Lock", "HTTPServer", "CollectorRegistry")
WORKING_ATTRIBUTES = ("os.environ", "sys.argv")


@dataclass(frozen=True)
class Source:
    """One source file: its path from the root of the repository, with slashes, and its text."""

    path: str
    text: str = field(repr=False)

    @property
    def tree(self) -> ast.Module:
        """The parsed file."""
        return _parse(self.text)

    @property
    def package(self) -> str:
        """The top-level package: ``bench`` or ``bert``."""
        return self.path.split("/")[0]

    def is_one_of(self, patterns: Tuple[str, ...]) -> bool:
        """Whether the path matches one of the shell patterns."""
        return any(fnmatchcase(self.path, pattern) for pattern in patterns)


@lru_cache(maxsize=None)
def _parse(text: str) -> ast.Module:
    return ast.parse(text)


def read_sources(root: Path, packages: Tuple[str, ...] = ("bench", "bert")) -> List[Source]:
    """Reads all Python files of the packages below ``root``, sorted by path."""
    files = sorted(file for package in packages for file in (root / package).rglob("*.py"))
    return [
        Source(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8"))
        for file in files
    ]


def list_imports(source: Source) -> Iterator[Finding]:
    """Yields line and full dotted name of each import, also those by a name in a string."""
    package = source.path[: -len(".py")].split("/")[:-1]
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join(above + ([node.module] if node.module else []))
            for alias in node.names:
                yield node.lineno, f"{module}.{alias.name}"
        elif isinstance(node, ast.Call) and node.args:
            name = get_dotted_name(node.func).split(".")[-1]
            argument = get_literal(node.args[0])
            if name in ("import_module", "__import__") and isinstance(argument, str):
                yield node.lineno, argument


def get_dotted_name(node: ast.AST) -> str:
    """Renders ``a.b.c`` from the nodes of a name or attribute; any other part is ``?``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{get_dotted_name(node.value)}.{node.attr}"
    return "?"


def get_literal(node: ast.AST) -> object:
    """Evaluates a literal of strings, numbers and containers; None for any other expression."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def get_room(module: str) -> str:
    """Names the room of a dotted bench module: ``bench.logs.reader`` is in ``logs``."""
    room = module.split(".")[1] if "." in module else ""
    return "environment" if room.startswith("environment") else room


def find_foreign_imports(source: Source) -> Iterator[Finding]:
    """Keeps the two packages apart, and the NPU's software in the one room made for it."""
    for line, name in list_imports(source):
        top = name.split(".")[0]
        if source.package == "bench" and top in FORBIDDEN_IN_BENCH:
            yield line, f"bench must not import {top}"
        elif source.package == "bert" and top == "bench":
            yield line, "bert must not import bench"
        elif top in NPU_PACKAGES and not source.is_one_of(NPU_FILES):
            yield line, f"{top} may be imported in {NPU_FILES[0]} only"


def find_upward_imports(source: Source) -> Iterator[Finding]:
    """Keeps the imports inside bench going down the tiers."""
    own = get_room(source.path[: -len(".py")].replace("/", "."))
    if source.package != "bench" or own == "__init__":
        return
    if own not in TIER_OF:
        yield 1, f"bench/{own} has no place in BENCH_TIERS"
        return
    for line, name in list_imports(source):
        room = get_room(name)
        if not name.startswith("bench.") or room.startswith("__"):
            continue
        if room not in TIER_OF:
            yield line, f"bench/{room} has no place in BENCH_TIERS"
        elif TIER_OF[room] > TIER_OF[own]:
            yield line, f"{own} must not import {room}, which stands above it"


def find_room_cycles(sources: List[Source]) -> Iterator[str]:
    """Yields the rooms of bench that reach themselves through the imports of others."""
    edges: Dict[str, Set[str]] = {}
    for source in sources:
        if source.package == "bench":
            own = get_room(source.path[: -len(".py")].replace("/", "."))
            rooms = {get_room(name) for _, name in list_imports(source) if name[:6] == "bench."}
            edges.setdefault(own, set()).update(rooms - {own})
    for start in sorted(edges):
        reached: Set[str] = set()
        waiting = set(edges[start])
        while waiting:
            room = waiting.pop()
            reached.add(room)
            waiting |= edges.get(room, set()) - reached
        if start in reached:
            yield start


def find_prints(source: Source) -> Iterator[Finding]:
    """Keeps ``print`` in the command layer: everything else returns text."""
    if source.is_one_of(PRINTING_FILES):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and get_dotted_name(node.func) == "print":
            yield node.lineno, "print outside the command layer"


def find_child_processes(source: Source) -> Iterator[Finding]:
    """Keeps the starting of processes in the rooms that launch and probe."""
    if source.package != "bench" or source.is_one_of(PROCESS_FILES):
        return
    for line, name in list_imports(source):
        if name.split(".")[0] in ("subprocess", "multiprocessing"):
            yield line, f"{name.split('.')[0]} outside {', '.join(PROCESS_FILES)}"
    for node in ast.walk(source.tree):
        name = get_dotted_name(node.func) if isinstance(node, ast.Call) else ""
        if any(fnmatchcase(name, pattern) for pattern in PROCESS_CALLS):
            yield node.lineno, f"{name} outside {', '.join(PROCESS_FILES)}"


def find_code_from_text(source: Source) -> Iterator[Finding]:
    """Keeps out what turns text into code, and shells."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Call):
            continue
        name = get_dotted_name(node.func)
        if name in ("eval", "exec"):
            yield node.lineno, f"{name} of text"
        elif name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "yaml.load_all"):
            yield node.lineno, f"{name}: use yaml.safe_load"
        for keyword in node.keywords:
            if keyword.arg == "shell" and get_literal(keyword.value) is not False:
                yield node.lineno, "shell=True: pass a list of arguments"


def find_bad_files(source: Source) -> Iterator[Finding]:
    """Keeps files readable in one sitting and named for their duty."""
    lines = source.text.count("\n")
    if lines > MAX_LINES:
        yield MAX_LINES, f"{lines} lines, more than {MAX_LINES}: split by duty"
    stem = source.path[: -len(".py")].split("/")[-1]
    if stem in HOMELESS_NAMES:
        yield 1, f"{stem}.py names no duty"


def find_module_level_work(source: Source) -> Iterator[Finding]:
    """Keeps imports free of effects: only definitions, constants and guarded imports at top level.

    A heuristic: a call counts as harmless when its name is in ``BUILDERS``, looks like a class or a
    private function of the file itself (``_row(...)``), or is in a class or function body.
    """
    for statement in source.tree.body:
        yield from _find_work(statement)


def _find_work(statement: ast.stmt) -> Iterator[Finding]:
    if isinstance(statement, DEFINITIONS):
        return
    if isinstance(statement, ast.If):
        if "__main__" not in ast.dump(statement.test):
            for inner in statement.body + statement.orelse:
                yield from _find_work(inner)
    elif isinstance(statement, ast.Try):
        handlers = [inner for handler in statement.handlers for inner in handler.body]
        for inner in statement.body + handlers + statement.orelse + statement.finalbody:
            yield from _find_work(inner)
    elif isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        yield from _find_working_calls(statement)
    elif isinstance(statement, ast.Expr) and isinstance(get_literal(statement.value), str):
        return  # a docstring
    elif not isinstance(statement, (ast.Pass, ast.Raise)):
        yield statement.lineno, "work at import: put it into a function"


def _walk_what_runs(node: ast.AST) -> Iterator[ast.AST]:
    """Walks like ``ast.walk``, but not into a lambda: its body runs when it is called."""
    yield node
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.Lambda):
            yield from _walk_what_runs(child)


def _find_working_calls(statement: ast.stmt) -> Iterator[Finding]:
    for node in _walk_what_runs(statement):
        if isinstance(node, ast.Call):
            name = get_dotted_name(node.func)
            last = name.split(".")[-1]
            is_class = last.lstrip("_")[:1].isupper() and last not in WORKING_CLASSES
            is_pure = last in BUILDERS or name.split(".")[0] in PURE_MODULES
            if not (is_pure or is_class or name.startswith("_")):
                yield node.lineno, f"{name}(…) runs at import: put it into a function"
        elif isinstance(node, ast.Attribute) and get_dotted_name(node) in WORKING_ATTRIBUTES:
            yield node.lineno, f"{get_dotted_name(node)} is read at import: put it into a function"


RULES: Dict[str, Rule] = {
    "foreign imports": find_foreign_imports,
    "upward imports": find_upward_imports,
    "prints": find_prints,
    "child processes": find_child_processes,
    "code from text": find_code_from_text,
    "files": find_bad_files,
    "module-level work": find_module_level_work,
}
