"""Beam options as data: a YAML mapping of option -> value, turned into the flags Beam reads."""

from __future__ import annotations

import difflib
from typing import Any

from liteferry import storage
from liteferry.errors import JobError, StorageError


def _refuse_unknown(options: dict[str, Any], path: str) -> None:
    """Beam ignores options it does not know; here a typo is told."""
    from apache_beam.options.pipeline_options import PipelineOptions

    known = PipelineOptions([]).get_all_options().keys()
    problems = []
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {near[0]}?" if near else "Beam's documentation of its runner lists them"
            problems.append(f"{name}: Beam has no such option; {hint}")
    if problems:
        raise JobError(problems, source=path)


def flags_of(path: str) -> list[str]:
    """The flags a runner configuration stands for: true is a bare flag, false and null none, a list the flag several times.

    Raises:
      JobError: when the file cannot be read or is not a mapping of options.
    """
    from liteferry.config_text import safe_yaml

    try:
        options: Any = safe_yaml(storage.read_bytes(path))
    except (StorageError, ValueError) as error:
        raise JobError([f"cannot be read: {error}"], source=path) from error
    if not isinstance(options, dict):
        raise JobError(
            [f"holds {type(options).__name__}, not `option: value` lines; see runner_configs/direct.yaml"], source=path
        )
    _refuse_unknown(options, path)
    flags = []
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if item is True:
                flags.append(f"--{name}")
            elif item is not None and item is not False:
                flags.append(f"--{name}={item}")
    return flags
