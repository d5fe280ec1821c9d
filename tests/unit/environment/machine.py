"""A machine told in one text file: files by path, output by command."""

import re
from pathlib import Path

from bench.environment.sources import AbsentFactError, World

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "environment"


def build_world(text, root, variables=None):
    """Lays the files below a folder; only the commands of the text are installed."""
    commands = {}
    parts = re.split(r"^=== (.+)\n", text, flags=re.MULTILINE)[1:]
    for name, body in zip(parts[::2], parts[1::2]):
        if name.startswith("$ "):
            commands[name[2:]] = body
        else:
            path = Path(root, name.lstrip("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(body, encoding="utf-8")

    def run(argv, timeout_seconds):
        line = " ".join([Path(argv[0]).name, *argv[1:]])
        if line not in commands:
            raise AbsentFactError(f"{Path(argv[0]).name} is not installed")
        return commands[line]

    return World(root=str(root), variables=dict(variables or {}), run=run)


def build_kunpeng(root, variables=None):
    """The training server of ``kunpeng_910.txt``."""
    return build_world((GOLDEN / "kunpeng_910.txt").read_text(encoding="utf-8"), root, variables)
