"""Beam options as data: a YAML mapping of option -> value, turned into the flags Beam reads."""

from __future__ import annotations

from typing import Any

from liteferry import storage
from liteferry.errors import JobError, StorageError


def flags_of(path: str) -> list[str]:
    """The flags a runner configuration stands for: true is a bare flag, false and null none, a list the flag several times.

    Raises:
      JobError: when the file cannot be read or is not a mapping of options.
    """
    import yaml

    try:
        options: Any = yaml.safe_load(storage.read_bytes(path))
    except (StorageError, yaml.YAMLError) as error:
        raise JobError([f"cannot be read: {error}"], source=path) from error
    if not isinstance(options, dict):
        raise JobError(
            [f"holds {type(options).__name__}, not `option: value` lines; see runner_configs/direct.yaml"], source=path
        )
    flags = []
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            if item is True:
                flags.append(f"--{name}")
            elif item is not None and item is not False:
                flags.append(f"--{name}={item}")
    return flags
