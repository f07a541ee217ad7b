"""`liteferry completion`: makes the script that lets a shell complete commands, flags and their values."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

SHELLS = ("bash", "zsh", "tcsh", "fish")

# The completions of a flag or argument, by its name in the parser; others accept any text.
_FILES = {
    "config",
    "runner_config",
    "samples",
    "schema_file",
    "modules",
    "reads",
    "sign",
    "key",
    "artifact",
    "checkpoints",
    "exclude",
}
_FOLDERS = {"output", "destination"}


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script of one shell for `parser`."""
    import shtab

    values = _values()
    for action in _actions(parser):
        if action.choices:
            continue
        if action.dest in values:
            action.complete = shtab.cmd(f"printf '%s\\n' {' '.join(values[action.dest])}")  # type: ignore[attr-defined]
        elif action.dest in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.dest in _FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return str(shtab.complete(parser, shell))


def _values() -> dict[str, tuple[str, ...]]:
    """Values of flags that are not choices of the parser; in a list, only the first value is completed."""
    from liteferry.commands.ship import WHAT
    from liteferry.config.job import Variant
    from liteferry.config.known_metrics import DIRECTIONS
    from liteferry.evaluation.targets import names

    variants = tuple(variant.value for variant in Variant)
    targets = (names.CPU, names.MICROCONTROLLER, names.GPU)
    return {"variants": variants, "variant": variants, "what": WHAT, "target": targets, "metrics": tuple(DIRECTIONS)}


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _actions(each)
        else:
            yield action
