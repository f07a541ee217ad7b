"""The flags of `liteferry compare`, and the command itself."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from liteferry import storage
from liteferry.commands import job_flags
from liteferry.errors import JobError, LiteFerryError, StorageError

WITHIN, NOT_WITHIN, TROUBLE = 0, 1, 2

EPILOG = """\
examples:
  liteferry compare model.keras model.tflite --samples rows.npz
  liteferry compare saved_model other.tflite --samples rows.parquet --inputs image=pixels --id name
  liteferry compare --kit pixel_kit --answers from_the_device
  liteferry compare model.h5 quantised.tflite --samples rows.npz --gate argmax_agreement=0.98 --gate max_rel=null --rows 17,204

exit status: 0 within the gates, 1 not, 2 bad usage, or a side that cannot be loaded or run
default gates, by the candidate: int8's for a quantised .tflite, float16's for a float16 one, float32's for all others
"""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `compare`."""
    parser.add_argument("reference", nargs="?", metavar="REFERENCE", help="checkpoint, SavedModel directory or .tflite file")
    parser.add_argument("candidate", nargs="?", metavar="CANDIDATE", help="the same kinds; compared with the reference")
    parser.add_argument("--samples", metavar="FILE", help="sample rows: a file or a quoted pattern")
    parser.add_argument("--kit", metavar="DEST", help="judge a device's answers: the folder that `liteferry kit` wrote")
    parser.add_argument("--answers", metavar="DIR", help="the device's answers to the kit: DIR/OUTPUT.npy")
    job_flags.add_sample_flags(parser)
    parser.add_argument(
        "--gate", action="append", default=[], metavar="METRIC=LIMIT", help="limit of a gate, repeatable; null removes the gate"
    )
    parser.add_argument("--rows", metavar="ID,ID", help="print inputs and answers of these rows")
    job_flags.add_load_flags(parser, trust=("lambda", "file_ops", "links"))
    parser.add_argument("--json", action="store_true", help="print all results as JSON")


def run_compare(arguments: argparse.Namespace) -> int:
    """Compares and prints. Returns the exit status; raises JobError for wrong flags."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if arguments.kit or arguments.answers:
        return _judge_kit(arguments)
    missing = [name for name in ("reference", "candidate", "samples") if not getattr(arguments, name)]
    if missing:
        words = {"samples": "--samples"}
        told = ", ".join(words.get(name, name.upper()) for name in missing)
        raise JobError([f"{told}: needed, or --kit with --answers"], source="command line")
    spec, load = _job_parts(arguments)
    gates = _pairs(arguments.gate, "--gate", "METRIC=LIMIT")
    from liteferry import sandbox
    from liteferry.commands.compare.compare import compare
    from liteferry.report.formats import printable

    try:
        compared = compare(
            arguments.reference,
            arguments.candidate,
            spec,
            gates={name: _limit(name, value) for name, value in gates.items()},
            rows=tuple(dict.fromkeys(arguments.rows.split(","))) if arguments.rows else (),
            load=load,
        )
    except JobError:
        raise
    except LiteFerryError as error:
        print(printable(f"liteferry: {error}"), file=sys.stderr)
        return TROUBLE
    finally:
        sandbox.close()
    print(json.dumps(compared.as_json(), indent=1) if arguments.json else printable(str(compared)))
    return WITHIN if compared.verdict.is_blessed else NOT_WITHIN


def _judge_kit(arguments: argparse.Namespace) -> int:
    from liteferry.commands.kit.judge import judge_answers
    from liteferry.report.formats import printable

    if not (arguments.kit and arguments.answers):
        raise JobError(
            ["--kit and --answers go together: the kit, and the folder of the device's answers"], source="command line"
        )
    others = [name for name in ("reference", "candidate", "samples", "gate", "rows") if getattr(arguments, name)]
    if others:
        raise JobError(
            [f"--kit: the kit has the rows and the gates already; leave out {', '.join(others)}"], source="command line"
        )
    judged = judge_answers(arguments.kit, arguments.answers)
    print(json.dumps(judged.as_json(), indent=1) if arguments.json else printable(str(judged)))
    return WITHIN if judged.verdict.is_blessed else NOT_WITHIN


def _job_parts(arguments: argparse.Namespace) -> tuple[Any, Any]:
    """The flags as a samples entry and as the loading part of a job, checked as a job file is."""
    from liteferry.config.load import parse_job
    from liteferry.loading.model import LoadSpec

    try:
        missing = [path for path in (arguments.reference, arguments.candidate) if not storage.exists(path)]
    except StorageError as error:
        raise JobError([str(error)], source="command line") from error
    if missing:
        raise JobError([f"{path}: no such file or directory" for path in missing], source="command line")
    raw = {
        "models": [{"checkpoints": "unused", **job_flags.model_entry(arguments)}],
        "samples": {"samples": job_flags.samples_entry(arguments)},
        "modules": arguments.modules or [],
        "reads": arguments.reads or [],
        "trust": arguments.trust or [],
    }
    try:
        job = parse_job(raw, base_dir=os.getcwd(), source="command line")
    except JobError as error:
        told = [problem.replace("samples.samples.", "--").replace("models[0].", "--") for problem in error.problems]
        raise JobError(told, source="command line") from error
    load = LoadSpec(
        modules=tuple(job.modules),
        trust=tuple(trust.value for trust in job.trust),
        builder=job.models[0].builder,
        builder_args=dict(job.models[0].builder_args),
        signature=job.models[0].signature,
        reads=tuple(job.reads),
    )
    return job.samples["samples"], load


def _pairs(values: Sequence[str], flag: str, form: str) -> dict[str, str]:
    pairs = {}
    for value in (part for given in values for part in given.split(",")):
        name, equals, text = value.rpartition("=")
        if not (equals and name and text):
            raise JobError([f"{flag}: {value!r} is not {form}"], source="command line")
        pairs[name] = text
    return pairs


def _limit(name: str, value: str) -> float | None:
    if value == "null":
        return None
    try:
        return float(value)
    except ValueError:
        raise JobError(
            [f"--gate {name}: {value!r} is not a number; write one, or null for no gate"], source="command line"
        ) from None
