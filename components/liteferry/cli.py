"""The `liteferry` command: flags, help and exit status. Each command's work is a function elsewhere."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from liteferry.commands import job_flags
from liteferry.commands.compare import compare_flags
from liteferry.commands.console import show_plain_where_needed
from liteferry.errors import (
    JobError,
    LiteFerryError,
    ModelError,
    StorageError,
    TerminatedInterrupt,
    WorkerLostError,
    did_you_mean,
    nearest_name,
)
from liteferry.version import __version__

if TYPE_CHECKING:
    from liteferry.config.job import Job
    from liteferry.evaluation.artifact_scan import Allowed

_EPILOG = """\
examples:
  liteferry run --config job.yaml --output out
  liteferry run --checkpoints 'checkpoints/*.keras' --samples digits.npz --output out
  liteferry check --config job.yaml
  liteferry show out

exit status: 0 every model blessed, 1 some model failed or is not blessed, 2 bad usage or bad job file
"""


_Add = Callable[[str, str, str], argparse.ArgumentParser]  # (name, summary, example) -> the command's own parser


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="liteferry",
        description="Trained TensorFlow/Keras checkpoints in bulk -> SavedModel and TFLite variants, "
        "with proof that they compute the same.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"liteferry {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        return commands.add_parser(
            name,
            help=summary,
            description=summary,
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    _add_work_on_models(add)
    _add_work_on_outputs(add)
    _add_work_on_this_machine(add)
    return parser


def _add_work_on_models(add: _Add) -> None:
    """`run`, `check`, `inspect`, `compare`: commands that take jobs and models."""
    run = add("run", "export, convert and prove every checkpoint of a job", "liteferry run --config job.yaml --output out")
    job_flags.add_job_flags(run)
    run.add_argument("--output", required=True, metavar="OUT", help="folder for artifacts and reports")
    run.add_argument("--runner_config", metavar="FILE", help="Beam options as YAML, `option: value` lines")
    run.add_argument("--processes", type=int, metavar="N", help="sandboxes at once, by default one for each core")
    run.add_argument("--force", action="store_true", help="export models again even if their results are valid")
    run.add_argument("--only", metavar="PATTERN", help="work only on models whose ids match the pattern; other reports stay")
    run.add_argument("--strict", action="store_true", help="stop before the first export if a checkpoint will fail")
    run.add_argument(
        "--sign",
        metavar="KEY",
        help="private key in PEM, or sigstore:IDENTITY,ISSUER: signs the statement of every blessed model",
    )
    run.add_argument("--verbose", action="store_true", help="show the logs of TensorFlow, Keras and Beam")
    run.add_argument("--quiet", action="store_true", help="no progress, only the summary")
    check = add("check", "predict the result for each checkpoint, without TensorFlow", "liteferry check --config job.yaml")
    job_flags.add_job_flags(check)
    check.add_argument(
        "--output",
        metavar="OUT",
        help="the run's output folder: shows which models are done there, and the disk that the run needs",
    )
    check.add_argument("--json", action="store_true", help="print what was found as JSON")
    inspect = add(
        "inspect", "static facts of a checkpoint, SavedModel or .tflite; runs none of its code", "liteferry inspect model.keras"
    )
    inspect.add_argument(
        "artifact", metavar="ARTIFACT", help="file or directory; a TensorFlow checkpoint by its prefix or .index file"
    )
    inspect.add_argument("--json", action="store_true", help="print the facts as JSON")
    compare = add("compare", "parity of any two artifacts on the same rows, printed as a table", "")
    compare.epilog = compare_flags.EPILOG
    compare_flags.add_flags(compare)


def _add_work_on_outputs(add: _Add) -> None:
    """Commands on the results of a run."""
    show = add("show", "summary table of a run, or one of its models", "liteferry show out cnn")
    show.add_argument("output", metavar="OUT")
    show.add_argument("model", metavar="MODEL", nargs="?", help="model_id: show only this model")
    show.add_argument("--json", action="store_true", help="print fleet.json, or the model's report.json")
    show.add_argument("--log", action="store_true", help="print the log of the processes that worked on MODEL")
    report = add("report", "rebuild the pages of a run from its JSON", "liteferry report out")
    report.add_argument("output", metavar="OUT")
    verify = add("verify", "check a finished run again from its files alone", "liteferry verify out")
    verify.add_argument("output", metavar="OUT")
    verify.add_argument(
        "--no_rows", action="store_true", help="only files and verdicts; nothing is run, TensorFlow is not needed"
    )
    _add_allowed_flags(verify)
    verify.add_argument(
        "--key",
        metavar="PUB",
        help="public key in PEM, or sigstore:IDENTITY,ISSUER: blessed models must be signed by it, and unchanged",
    )
    verify.add_argument("--json", action="store_true", help="print what was found as JSON")
    kit = add(
        "kit",
        "write a file with rows and expected answers, to be run on a device",
        "liteferry kit out cnn kit_of_cnn --variant int8",
    )
    kit.add_argument("output", metavar="OUT")
    kit.add_argument("model", metavar="MODEL", help="model_id")
    kit.add_argument("destination", metavar="DEST", help="a new folder")
    kit.add_argument("--variant", required=True, metavar="VARIANT", help="a blessed one")
    kit.add_argument(
        "--config",
        metavar="FILE",
        help="the run's job file: takes its worst rows and random ones; without it, the SavedModel's warm-up rows",
    )
    _add_allowed_flags(kit)
    kit.add_argument("--random_rows", type=int, default=16, metavar="N", help="besides the worst ones (default: %(default)s)")
    ship = add(
        "ship", "copy blessed artifacts to the place from which apps and servers load them", "liteferry ship out s3://apps/models"
    )
    ship.add_argument("output", metavar="OUT")
    ship.add_argument("destination", metavar="DEST", help="folder or URI; existing files are removed only with --prune")
    ship.add_argument(
        "--what", default="recommended", metavar="WHAT", help="recommended (default), blessed (every variant) or saved_model"
    )
    ship.add_argument("--target", metavar="T", help="ship the variant recommended for this target of the job")
    ship.add_argument("--stable_names", action="store_true", help="<model>.tflite, whichever variant it is")
    ship.add_argument("--prune", action="store_true", help="remove files of an earlier ship that this one does not write")
    prune = add("prune", "show models whose checkpoint is gone, and remove them after a yes", "liteferry prune out")
    prune.add_argument("output", metavar="OUT")
    prune.add_argument("--yes", action="store_true", help="remove without asking")


def _add_allowed_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags for what finished artifacts may do when they run again; see `_allowed`."""
    parser.add_argument(
        "--trust",
        action="append",
        default=[],
        choices=["file_ops"],
        help="run artifacts that access files, as your job did",
    )
    parser.add_argument(
        "--modules",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="package you trust whose operations the SavedModel needs, as in your job; repeatable",
    )


def _add_work_on_this_machine(add: _Add) -> None:
    """Commands that take no job and no output."""
    doctor = add("doctor", "show what this machine and this installation provide, and what is missing", "liteferry doctor")
    doctor.add_argument("--json", action="store_true", help="print what was found as JSON")
    completion = add(
        "completion",
        "print the completion script of a shell",
        "liteferry completion bash > ~/.local/share/bash-completion/completions/liteferry",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh", "fish"))
    add("schema", "print the JSON Schema of the job file, for editors", "liteferry schema > liteferry.schema.json")
    demo = add("demo", "train a small fleet on real digits and run the main job on it", "liteferry demo --output demo_output")
    demo.add_argument(
        "--output", default="demo_output", metavar="OUT", help="folder for the fleet and its artifacts (default: %(default)s)"
    )
    demo.add_argument("--with_broken", action="store_true", help="add checkpoints that fail, each in its own way")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. Returns the exit status; prints a user's mistake as one message, without a traceback."""
    show_plain_where_needed()
    parser = build_parser()
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in _COMMANDS:
        meant = _OTHER_COMMANDS.get(words[0])
        hint = f" (did you mean {meant}?)" if meant else did_you_mean(words[0], _COMMANDS)
        print(
            f"liteferry: no such command: {words[0]!r}{hint}; `liteferry --help` lists them",
            file=sys.stderr,
        )
        return 2
    arguments, unknown = parser.parse_known_args(words)
    try:
        _refuse_typos(parser, arguments.command, unknown, arguments)
        return int(_COMMANDS[arguments.command](arguments, unknown))
    except JobError as error:
        _complain(error)
        return 2
    except WorkerLostError as error:
        print(f"liteferry: {error}", file=sys.stderr)
        _leave_at_once(1)
    except LiteFerryError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt as interrupt:
        for note in getattr(interrupt, "__notes__", ()):
            print(f"\nliteferry: {note}", end="", file=sys.stderr)
        print("\nliteferry: interrupted; finished models are kept, the same command goes on with the rest", file=sys.stderr)
        _leave_at_once(143 if isinstance(interrupt, TerminatedInterrupt) else 130)
    except BrokenPipeError:
        return 1
    return 1


def _complain(error: LiteFerryError) -> None:
    """Prints an error. Names in it come from files: terminal control characters are made visible."""
    from liteferry.report.formats import printable

    print(printable(f"liteferry: {error}".encode("utf-8", "backslashreplace").decode()), file=sys.stderr)


def _leave_at_once(status: int) -> None:
    """Exits without waiting for Beam's threads, which would keep the process until their bundle ends. Nurseries and their
    children end with this process; the models they were working on have no report yet, and the next run does them again.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _meant_by(word: str, command: str, parsed: argparse.Namespace | None) -> str:
    """A hint for a stray word: it may be a file without its flag, or one of several files into which the shell expanded a
    pattern.
    """
    usage = f"`liteferry {command} --help` shows the usage"
    if parsed is None or command not in ("run", "check") or not os.path.exists(word):
        return usage
    if parsed.samples is not None and os.path.splitext(word)[1] == os.path.splitext(parsed.samples)[1]:
        pattern = os.path.join(os.path.dirname(word), f"*{os.path.splitext(word)[1]}")
        return f"--samples takes one file, folder or pattern; quote a pattern, or the shell expands it: --samples '{pattern}'"
    from liteferry.samples.formats.registry import is_known

    if parsed.samples is None and is_known(word) and not word.endswith((".h5", ".hdf5")):
        return f"for sample rows write --samples {word}"
    return f"for a checkpoint write --checkpoints {word}" if parsed.checkpoints is None else usage


def _refuse_typos(
    parser: argparse.ArgumentParser, command: str, unknown: Sequence[str], parsed: argparse.Namespace | None = None
) -> None:
    """Only `run` accepts unknown flags, and only those that match a Beam flag exactly. Any other flag or stray word is an
    error.
    """
    known = [flag for action in _subparser(parser, command)._actions for flag in action.option_strings]
    beams = set(_beams_flags()) if command == "run" and any(word.startswith("-") for word in unknown) else set()
    problems = []
    follows_a_flag = False  # `--region europe-west1`: the word may be the value of one of Beam's flags
    for word in unknown:
        flag = word.partition("=")[0]
        if word.startswith("-") and flag not in beams:
            near = _OTHER_FLAGS.get(flag) if _OTHER_FLAGS.get(flag) in known else nearest_name(flag, [*known, *beams])
            fix = f"did you mean {near}?" if near else f"`liteferry {command} --help` lists them"
            also = " and Beam has none either" if command == "run" else ""
            problems.append(f"{flag}: no such flag{also}; {fix}")
        elif not word.startswith("-") and not follows_a_flag:
            problems.append(f"{word}: unexpected; {_meant_by(word, command, parsed)}")
        follows_a_flag = word.startswith("--") and "=" not in word
    if problems:
        raise JobError(problems, source=f"liteferry {command}")


def _beams_flags() -> list[str]:
    from liteferry.pipeline.beam_options import known_flags

    return known_flags()


def _subparser(parser: argparse.ArgumentParser, command: str) -> argparse.ArgumentParser:
    choices: dict[str, argparse.ArgumentParser] = next(
        action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    )
    return choices[command]


def _job(arguments: argparse.Namespace) -> Any:
    from liteferry.config.load import job_from_flags, load_job

    given = job_flags.given(arguments)
    if arguments.config and given:
        raise JobError([f"{', '.join(given)}: cannot be combined with --config; put them into the job file"], source="flags")
    if arguments.config:
        return load_job(arguments.config)
    if not arguments.checkpoints:
        raise JobError(["--config or --checkpoints: one of them is needed"], source="flags")
    rows = job_flags.samples_entry(arguments)
    if arguments.samples is None and len(rows) > 1:
        raise JobError(
            [f"--{next(key for key in rows if key != 'path')}: it belongs to --samples, which is missing"], source="flags"
        )
    return job_from_flags(
        checkpoints=arguments.checkpoints,
        samples=arguments.samples,
        variants=arguments.variants.split(",") if arguments.variants else None,
        modules=arguments.modules or (),
        reads=arguments.reads or (),
        trust=arguments.trust or (),
        entry={**job_flags.model_entry(arguments), **({"exclude": arguments.exclude} if arguments.exclude else {})},
        rows=rows,
        metrics=job_flags.metrics(arguments.metrics),
    )


def _run(arguments: argparse.Namespace, unknown: list[str]) -> int:
    from liteferry.commands.run import How, run_job
    from liteferry.output import signing
    from liteferry.pipeline.beam_options import beam_flags
    from liteferry.pipeline.run_request import RunRequest

    _check_output(arguments.output)
    if arguments.processes is not None and arguments.processes < 1:
        raise JobError([f"--processes: {arguments.processes} is too few; give at least 1, or leave it out"], source="flags")
    job = _job(arguments)
    flags = beam_flags(arguments.runner_config, unknown)
    request = RunRequest(
        job=job,
        out=arguments.output,
        processes=arguments.processes,
        force=arguments.force,
        beam_flags=flags,
        only=arguments.only,
        job_file=arguments.config,
    )
    how = How(
        is_alone=True,
        is_quiet=arguments.quiet,
        is_verbose=arguments.verbose,
        is_strict=arguments.strict,
        signer=signing.signer_of(arguments.sign) if arguments.sign else None,
    )
    return run_job(request, how)


def _check_output(output: str) -> None:
    from liteferry import storage
    from liteferry.errors import StorageError

    try:
        path = storage.absolute(output)
        if storage.is_remote(path):
            storage.require_driver(path)
            return
    except StorageError as error:
        raise JobError([f"--output: {error}"], source="flags") from error
    if os.path.lexists(path) and not os.path.isdir(path):
        raise JobError([f"--output: {output} is a file; name a folder; it is created if missing"], source="flags")


def _check(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry import storage
    from liteferry.commands import readers

    with readers.prepared():  # they start while this process imports what it needs itself
        from liteferry.commands.check import print_check

        out = storage.absolute(arguments.output) if arguments.output else None
        return print_check(_job(arguments), out=out, as_json=arguments.json)


def _inspect(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry.commands.inspect.contained import inspect
    from liteferry.commands.inspect.text import as_text

    try:
        facts = inspect(arguments.artifact)
    except (ModelError, StorageError) as error:
        raise JobError(
            [error.reason.message if isinstance(error, ModelError) else str(error)], source="liteferry inspect"
        ) from error
    print(json.dumps(facts, indent=1) if arguments.json else as_text(facts))
    return 0


def _compare(arguments: argparse.Namespace, _: list[str]) -> int:
    return compare_flags.run_compare(arguments)


def _show(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry.commands import show

    if arguments.model is not None:
        return show.print_model(arguments.output, arguments.model, as_json=arguments.json, with_log=arguments.log)
    if arguments.log:
        raise JobError([f"--log: name a model, `liteferry show {arguments.output} MODEL --log`"], source="liteferry show")
    facts = show.read_progress(arguments.output)
    if arguments.json:
        show.print_json(facts)
    else:
        show.print_summary(facts)
    return show.status_of(facts)


def _report(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry.commands.report_pages import rebuild_pages

    told: list[str] = []
    count = rebuild_pages(arguments.output, told.append)
    print(f"{count} reports and the fleet's page built again in {arguments.output}", *told, sep="\n")
    return 0


def _kit(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry import sandbox
    from liteferry.commands.kit import write
    from liteferry.config.load import load_job

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if arguments.random_rows < 0:
        raise JobError([f"--random_rows: {arguments.random_rows} is too few; give 0 or more"], source="flags")
    job = load_job(arguments.config) if arguments.config else None
    request = write.KitRequest(
        out=os.path.abspath(arguments.output),
        model_id=arguments.model,
        variant=arguments.variant,
        job=job,
        random_rows=arguments.random_rows,
        allowed=_allowed(arguments, job),
    )
    try:
        write.write(request, arguments.destination)
    finally:
        sandbox.close()
    kit = arguments.destination
    print(f"{kit}: README.md says how to run it; then liteferry compare --kit {kit} --answers DIR")
    return 0


def _allowed(arguments: argparse.Namespace, job: Job | None = None) -> Allowed:
    """By the flags, and by the job."""
    from liteferry.evaluation.artifact_scan import Allowed

    trust = [] if job is None else [trusted.value for trusted in job.trust]
    modules = () if job is None else job.modules
    return Allowed(trust=(*arguments.trust, *trust), modules=(*arguments.modules, *modules))


def _verify(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry import storage
    from liteferry.commands import show, verify
    from liteferry.output import signing
    from liteferry.sandbox.pool import available_cores

    show.refuse_while_running(arguments.output)
    out = storage.absolute(arguments.output)
    key = signing.public_key_of(arguments.key) if arguments.key else None
    allowed = _allowed(arguments)
    found = verify.verify(out, processes=available_cores(), with_rows=not arguments.no_rows, allowed=allowed, key=key)
    return verify.print_verification(found, as_json=arguments.json)


def _ship(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry.commands.ship import Order, print_ship

    order = Order(what=arguments.what, target=arguments.target, stable_names=arguments.stable_names, prune=arguments.prune)
    return print_ship(arguments.output, arguments.destination, order)


def _prune(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry.commands.prune import print_prune

    return print_prune(arguments.output, is_agreed=arguments.yes)


def _doctor(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry.commands.doctor import print_doctor

    return print_doctor(as_json=arguments.json)


def _schema(_: argparse.Namespace, __: list[str]) -> int:
    from liteferry.config.load import job_schema

    print(json.dumps(job_schema(), indent=2))
    return 0


def _completion(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry.commands.completion import script

    print(script(build_parser(), arguments.shell))
    return 0


def _demo(arguments: argparse.Namespace, _: list[str]) -> int:
    from liteferry.commands.demo import run_demo

    return run_demo(arguments.output, with_broken=arguments.with_broken)


# Other tools' words for these, which are not near in their letters.
_OTHER_COMMANDS = dict.fromkeys(("export", "convert", "build", "start"), "run") | {
    "validate": "check",
    "plan": "check",
    "ls": "show",
}
_OTHER_FLAGS = {
    **dict.fromkeys(("--model", "--models", "--saved_model_dir", "--keras_model_file", "--input"), "--checkpoints"),
    **dict.fromkeys(("--data", "--dataset", "--rows", "--representative_dataset"), "--samples"),
    **dict.fromkeys(("--output_file", "--output_dir", "--out_dir", "--dest"), "--output"),
    **dict.fromkeys(("--formats", "--quantize", "--quantization"), "--variants"),
    **dict.fromkeys(("--workers", "--jobs", "--num_workers"), "--processes"),
    **dict.fromkeys(("--job", "--job_file", "--file"), "--config"),
}

_COMMANDS = {
    "run": _run,
    "check": _check,
    "compare": _compare,
    "inspect": _inspect,
    "show": _show,
    "report": _report,
    "verify": _verify,
    "kit": _kit,
    "ship": _ship,
    "prune": _prune,
    "doctor": _doctor,
    "schema": _schema,
    "completion": _completion,
    "demo": _demo,
}
