"""Flags that set keys of a job, the same in `run`, `check` and `compare`: the sample rows, and how checkpoints are loaded."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from liteferry.errors import JobError

_SAMPLE_KEYS = ("label", "id", "schema_file", "decode", "scale", "offset", "take", "seed")
# The job keys that `run` and `check` take as flags; none of these flags can be combined with --config.
JOB_FLAGS = (
    *("checkpoints", "exclude", "samples", "inputs", "label", "id", "schema_file", "decode", "size", "scale", "offset", "take"),
    *("seed", "variants", "metrics", "modules", "reads", "builder", "builder_args", "signature", "trust"),
)


def add_job_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that replace a job file: checkpoints, variants, metrics, and the flags below."""
    parser.add_argument("--config", metavar="FILE", help="the job file (YAML); `liteferry schema` describes every key")
    parser.add_argument(
        "--checkpoints",
        action="extend",
        nargs="+",
        metavar="GLOB",
        help="instead of a job file: checkpoints, or a folder of them; quote a pattern, or let the shell expand it",
    )
    parser.add_argument("--exclude", action="append", metavar="GLOB", help="leave out these matches of --checkpoints; repeatable")
    parser.add_argument("--samples", metavar="FILE", help="sample rows: a file, a folder or a quoted pattern")
    parser.add_argument("--variants", metavar="A,B", help="variants to make, by default float32, float16 and dynamic_int8")
    parser.add_argument("--metrics", metavar="A,B", help="task metrics on --label by their TFMA classes, for example AUC")
    add_sample_flags(parser)
    add_load_flags(parser, trust=("lambda", "file_ops", "network", "links"))


def add_sample_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags for the keys of a `samples` entry, except its path."""
    parser.add_argument(
        "--inputs",
        action="append",
        metavar="INPUT=COLUMN",
        help="column that feeds an input; repeatable, or A=a,B=b; x=a,b,c stacks columns, x=@record feeds tf.Examples",
    )
    parser.add_argument("--label", metavar="COLUMN", help="column of the labels, which feeds no input")
    parser.add_argument("--id", metavar="COLUMN", help="column with the names of rows; without it, rows are numbered")
    parser.add_argument("--schema_file", metavar="FILE", help="TensorFlow Metadata schema of TFRecord files")
    parser.add_argument("--decode", choices=["image"], help="decode columns of encoded images")
    parser.add_argument("--size", metavar="HEIGHT,WIDTH", help="resize decoded images to this size")
    parser.add_argument("--scale", type=float, metavar="N", help="multiply decoded values by this")
    parser.add_argument("--offset", type=float, metavar="N", help="and add this to them")
    parser.add_argument("--take", type=int, metavar="N", help="use at most this many rows, chosen by --seed")
    parser.add_argument("--seed", type=int, metavar="N", help="seed for the rows that --take chooses (default: 0)")


def add_load_flags(parser: argparse.ArgumentParser, *, trust: Sequence[str]) -> None:
    """Adds the flags for the keys that say how checkpoints are loaded. `trust`: the values that --trust accepts."""
    parser.add_argument("--modules", action="append", metavar="FILE", help="code you trust; repeatable")
    parser.add_argument("--reads", action="append", metavar="PATH", help="other files that this code may read; repeatable")
    parser.add_argument("--builder", metavar="MODULE:NAME", help="callable that builds the model for weights-only files")
    parser.add_argument("--builder_args", metavar="NAME=VALUE", help="its arguments: units=64,name=small, or a JSON object")
    parser.add_argument("--signature", metavar="NAME", help="the signature of a SavedModel that is proven and lowered")
    parser.add_argument("--trust", action="append", choices=list(trust), help="code inside checkpoints to allow; repeatable")


def given(arguments: argparse.Namespace) -> list[str]:
    """The job flags that the user gave, as typed on the command line."""
    return [f"--{name}" for name in JOB_FLAGS if getattr(arguments, name) not in (None, [])]


def samples_entry(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags as an entry under `samples` of a job file.

    Raises:
      JobError: a flag's value has the wrong form.
    """
    entry = {name: getattr(arguments, name) for name in _SAMPLE_KEYS if getattr(arguments, name) is not None}
    if arguments.inputs:
        entry["inputs"] = input_columns(arguments.inputs)
    if arguments.size is not None:
        height, _, width = arguments.size.partition(",")
        if not (height.strip().isdecimal() and width.strip().isdecimal()):
            raise _wrong(f"--size: {arguments.size!r} is not HEIGHT,WIDTH; write for example 224,224")
        entry["size"] = [int(height), int(width)]
    return {"path": arguments.samples, **entry}


def model_entry(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags as the keys of a `models` entry that say how its checkpoints are loaded."""
    entry: dict[str, Any] = {}
    if arguments.builder:
        entry["builder"] = arguments.builder
    if arguments.builder_args:
        entry["builder_args"] = builder_args(arguments.builder_args)
    if arguments.signature:
        entry["signature"] = arguments.signature
    return entry


def input_columns(values: Sequence[str]) -> dict[str, str | list[str]]:
    """Parses `["A=a,B=b"]` into input -> column. An item without "=" adds a column to the input before it: `x=a,b,c`."""
    found: dict[str, list[str]] = {}
    for value in values:
        name = ""
        for item in value.split(","):
            left, equals, right = item.rpartition("=")
            if equals:
                name, item = left, right
                if name in found:
                    raise _wrong(f"--inputs: {name!r} is given twice; give every input once")
                found[name] = []
            if not (name and item):
                raise _wrong(f"--inputs: {value!r} is not INPUT=COLUMN; write image=pixels, or x=a,b,c for columns to stack")
            found[name].append(item)
    return {name: columns[0] if len(columns) == 1 else columns for name, columns in found.items()}


def builder_args(value: str) -> dict[str, Any]:
    """Parses a JSON object, or `units=64,name=small`. A value that is valid JSON is read as JSON, any other as text."""
    if value.lstrip().startswith("{"):
        try:
            found = json.loads(value)
        except ValueError as error:
            raise _wrong(f"--builder_args: {value!r} is no JSON object ({error})") from error
        return dict(found)
    pairs: dict[str, Any] = {}
    for item in value.split(","):
        name, equals, text = item.partition("=")
        if not (equals and name.strip()):
            raise _wrong(f"--builder_args: {item!r} is not NAME=VALUE; write units=64,name=small, or a JSON object")
        pairs[name.strip()] = _value(text)
    return pairs


def metrics(value: str | None) -> list[Mapping[str, Any]] | None:
    """Parses `AUC,MeanSquaredError`, or a JSON list in the form of a job file."""
    if value is None:
        return None
    if value.lstrip().startswith(("[", "{")):
        try:
            found = json.loads(value)
        except ValueError as error:
            raise _wrong(f"--metrics: {value!r} is no JSON list ({error})") from error
        return found if isinstance(found, list) else [found]
    return [{"class_name": name.strip()} for name in value.split(",")]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _wrong(problem: str) -> JobError:
    return JobError([problem], source="command line")
