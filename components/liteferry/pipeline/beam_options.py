"""Beam options as data: a YAML mapping of option -> value becomes the flags that Beam reads, checked before anything runs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

from liteferry import storage
from liteferry.errors import JobError, StorageError, nearest_name


def beam_flags(path: str | None, given: Sequence[str]) -> list[str]:
    """The flags for Beam: those of a runner configuration, then those of the command line, which win where only one value counts.

    Raises:
      JobError: when the file cannot be used, a flag does not match one of Beam's exactly, or an option does not accept its
        value.
    """
    from_file = flags_of(path) if path else []
    if given:
        parser = _beam_parser()
        known = _known(parser)
        flags = [word.partition("=")[0] for word in given if word.startswith("--")]
        problems = [
            f"{flag}: neither LiteFerry nor Beam has such a flag{_nearest(flag, parser, dashes='--')}"
            for flag in flags
            if flag not in known
        ]
        if problems:
            raise JobError(problems, source="flags")
        _parse(parser, given, source="flags")
    return [*from_file, *given]


def known_flags() -> list[str]:
    """Every flag that Beam and its runners have."""
    return sorted(_known(_beam_parser()))


def without_values(flags: Sequence[str], *, switches: Sequence[str] = ()) -> list[str]:
    """The flags with boolean values turned into switches: `--force=true` becomes `--force`, `--force=false` is left out.
    Templates give every parameter a value.

    Args:
      switches: switches that are not Beam's.
    """
    bare = {*switches, *(flag for action in _beam_parser()._actions if action.nargs == 0 for flag in action.option_strings)}
    written = []
    for flag in flags:
        name, _, value = flag.partition("=")
        if name not in bare or value.lower() not in ("true", "false"):
            written.append(flag)
        elif value.lower() == "true":
            written.append(name)
    return written


def flags_of(path: str) -> list[str]:
    """The flags of a runner configuration: true is a bare flag; false and null are none; a list or a mapping repeats the flag,
    once for each item or `key=value`. Where Beam has a `--no_` flag, false is that one.

    Raises:
      JobError: the file cannot be read, is not a mapping of options, or has options or values that Beam does not take.
    """
    from liteferry.config.parsing import safe_yaml

    try:
        options: Any = safe_yaml(storage.read_bytes(path))
    except (StorageError, ValueError) as error:
        raise JobError([f"cannot be read: {error}"], source=path) from error
    if not isinstance(options, dict):
        raise JobError(
            [f"holds {type(options).__name__}, not `option: value` lines; see runner_configs/direct.yaml"], source=path
        )
    parser = _beam_parser()
    known = _known(parser)
    flags: list[str] = []
    problems: list[str] = []
    for name, value in options.items():
        if f"--{name}" not in known:
            problems.append(f"{name}: Beam has no such option{_nearest(f'--{name}', parser)}")
            continue
        of_option = list(_flags(str(name), value, known))
        try:
            _parse(parser, of_option, source=path)
            flags += of_option
        except JobError as error:
            problems += error.problems
    if problems:
        raise JobError(problems, source=path)
    return flags


def _flags(name: str, value: Any, known: set[str]) -> Iterator[str]:
    items = [f"{key}={item}" for key, item in value.items()] if isinstance(value, dict) else value
    for item in items if isinstance(items, list) else [items]:
        if item is True:
            yield f"--{name}"
        elif item is False and f"--no_{name}" in known:
            yield f"--no_{name}"
        elif item is not None and item is not False:
            yield f"--{name}={item}"


class _RefusedError(Exception):
    pass


def _beam_parser() -> argparse.ArgumentParser:
    """A parser of every option that Beam and its runners have. A wrong value raises; it never ends the process."""
    from apache_beam.options.pipeline_options import PipelineOptions

    def refuse(message: str) -> None:
        raise _RefusedError(message)

    parsers: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=parsers.append)
    (parser,) = parsers
    parser.error = refuse  # type: ignore[assignment,method-assign]
    return parser


def _parse(parser: argparse.ArgumentParser, flags: Sequence[str], *, source: str) -> list[str]:
    """The flags that Beam does not know. Raises JobError for a value that an option does not take."""
    try:
        return parser.parse_known_args(list(flags))[1]
    except (_RefusedError, argparse.ArgumentError, ValueError) as error:
        raise JobError([_sentence(str(error))], source=source) from error


def _sentence(message: str) -> str:
    """Rewords argparse's "argument --a/--b: problem" to put the option first, as in all other problems."""
    names, separator, what = message.removeprefix("argument ").partition(": ")
    return f"{names.split('/')[-1].removeprefix('--')}: {what}" if separator else message


def _known(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


def _nearest(flag: str, parser: argparse.ArgumentParser, *, dashes: str = "") -> str:
    near = nearest_name(flag, _known(parser))
    return f"; did you mean {dashes}{near.removeprefix('--')}?" if near else "; Beam's documentation of its runner lists them"
