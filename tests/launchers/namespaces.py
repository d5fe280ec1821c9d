"""Network namespaces as hosts: each with an interface and address of its own, ended by name."""

from __future__ import annotations

import os
import subprocess
from typing import List


class Namespaces:
    """Two namespaces with a cable between them. Needs root.

    Attributes:
        names: of the namespaces.
        addresses: of their ends of the cable.
    """

    def __init__(self) -> None:
        tag = os.getpid()
        self.names = [f"bert-{tag}-{index}" for index in range(2)]
        self.addresses = ["10.213.7.1", "10.213.7.2"]
        self._links = [f"b{tag}-{index}" for index in range(2)]

    def __enter__(self) -> Namespaces:
        for name in self.names:
            _run("ip", "netns", "add", name)
        first, second = self._links
        _run("ip", "link", "add", first, "netns", self.names[0], "type", "veth",
             "peer", "name", second, "netns", self.names[1])  # fmt: skip
        for name, link, address in zip(self.names, self._links, self.addresses):
            _run("ip", "-n", name, "address", "add", f"{address}/24", "dev", link)
            _run("ip", "-n", name, "link", "set", link, "up")
            _run("ip", "-n", name, "link", "set", "lo", "up")
        return self

    def __exit__(self, *exc: object) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def wrap(self, index: int, argv: List[str]) -> List[str]:
        """A command to be run on that host."""
        return ["ip", "netns", "exec", self.names[index], *argv]

    def cut(self) -> None:
        """Pulls the cable."""
        _run("ip", "-n", self.names[0], "link", "set", self._links[0], "down")


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True)
