"""Hosts for a cluster on one machine: network namespaces with an address each, joined by a bridge. Needs root and `ip`."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid

_NET = "10.213.77"
GATEWAY = f"{_NET}.1"


def problem() -> str | None:
    """Why there can be no namespaces here; None where there can."""
    if os.geteuid() != 0:
        return "hosts of their own need root (network namespaces)"
    return None if shutil.which("ip") else "hosts of their own need `ip` (Debian: apt-get install iproute2)"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Hosts:
    """Some hosts, and the bridge between them and this machine. A context: all goes at its end."""

    def __init__(self, count: int) -> None:
        self._mark = uuid.uuid4().hex[:5]
        self.names = [f"lf{self._mark}{number}" for number in range(count)]
        self._bridge = f"lfbr{self._mark}"

    def __enter__(self) -> Hosts:
        try:
            _ip("link", "add", self._bridge, "type", "bridge")
            _ip("addr", "add", f"{GATEWAY}/24", "dev", self._bridge)
            _ip("link", "set", self._bridge, "up")
            for name in self.names:
                self._add(name)
        except subprocess.CalledProcessError:
            self.__exit__()
            raise
        return self

    def _add(self, name: str) -> None:
        _ip("netns", "add", name)
        _ip("link", "add", f"{name}o", "type", "veth", "peer", "name", f"{name}i", "netns", name)
        _ip("link", "set", f"{name}o", "master", self._bridge, "up")
        for words in (("addr", "add", f"{self.address(name)}/24", "dev", f"{name}i"), ("link", "set", f"{name}i", "up")):
            _ip("-n", name, *words)
        _ip("-n", name, "link", "set", "lo", "up")

    def address(self, name: str) -> str:
        return f"{_NET}.{self.names.index(name) + 11}"

    def on(self, name: str, command: list[str]) -> list[str]:
        """A command, to be run on a host."""
        return ["ip", "netns", "exec", name, *command]

    def cut(self, name: str, *, is_cut: bool) -> None:
        """Cuts the link of a host, or joins it again."""
        _ip("link", "set", f"{name}o", "down" if is_cut else "up")

    def __exit__(self, *_: object) -> None:
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self._bridge], check=False, capture_output=True)
