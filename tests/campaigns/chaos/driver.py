"""The real command with one planted fault: `python -m tests.campaigns.chaos.driver FAULT ARGUMENT run ...`.

A fault changes one function in the launching process; everything else is as users have it. Kills of processes other than the
launcher are told by one byte each in the file that the environment names.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from liteferry import cli, storage
from liteferry.errors import StorageError
from liteferry.report import fleet
from liteferry.sandbox import pool, supervision
from liteferry.storage import files
from tests.campaigns.chaos.case import KILLS


def _die() -> None:
    _tell_of_a_kill()
    os.kill(os.getpid(), signal.SIGKILL)


def _tell_of_a_kill() -> None:
    with open(os.environ[KILLS], "ab") as file:
        file.write(b"k")


def _wrap(module: Any, name: str, before: Callable[..., None] | None = None, after: Callable[..., None] | None = None) -> None:
    real = getattr(module, name)

    def wrapped(*arguments: Any, **keywords: Any) -> Any:
        if before is not None:
            before(*arguments)
        result = real(*arguments, **keywords)
        if after is not None:
            after(*arguments)
        return result

    setattr(module, name, wrapped)


def _at(number: int, matches: Callable[[Any], bool], then: Callable[[], None]) -> Callable[..., None]:
    """Does `then` the `number`th time that the first argument matches."""
    seen = 0

    def look(first: Any, *_: Any) -> None:
        nonlocal seen
        if matches(first):
            seen += 1
            if seen == number:
                then()

    return look


def _any(_: Any) -> bool:
    return True


def _fail(what: str) -> Callable[[], None]:
    def fail() -> None:
        raise StorageError(f"{what}: planted fault")

    return fail


def kill_after_export(number: str) -> None:
    from liteferry.exporting import export

    _wrap(export, "_assemble", after=_at(int(number), _any, _die))


def kill_after_evaluation(number: str) -> None:
    from liteferry.evaluation import evaluate

    _wrap(evaluate, "evaluation_of", after=_at(int(number), _any, _die))


def kill_before_report(number: str) -> None:
    _wrap(storage, "write_bytes", before=_at(int(number), lambda uri: uri.endswith("report.json"), _die))


def kill_between_report_and_marker(number: str) -> None:
    _wrap(storage, "write_bytes", before=_at(int(number), lambda uri: uri.endswith("BLESSED"), _die))


def kill_between_marker_and_publishing(number: str) -> None:
    _wrap(storage, "write_bytes", after=_at(int(number), lambda uri: uri.endswith("BLESSED"), _die))


def kill_within_publishing(number: str) -> None:
    _wrap(files, "_put_in_place", after=_at(int(number), _any, _die))


def kill_after_publishing(number: str) -> None:
    _wrap(storage, "publish_directory", after=_at(int(number), _any, _die))


def kill_within_a_write(name: str) -> None:
    """Between the temporary file and its final name."""
    _wrap(os, "replace", before=_at(1, lambda path: os.path.basename(path).startswith(f"{name}."), _die))


def kill_before_the_fleet_table(_: str) -> None:
    _wrap(fleet, "fleet_facts", before=lambda *_: _die())
    from liteferry.pipeline.stages import fleet as stage

    _wrap(stage, "fleet_facts", before=lambda *_: _die())


def kill_after_writing(name: str) -> None:
    _wrap(os, "replace", after=_at(1, lambda path: os.path.basename(path).startswith(f"{name}."), _die))


def kill_children_entering(stages: str) -> None:
    """Each of these stages, the first three times that a child says that it enters it."""
    _on_stage(stages, lambda supervision: os.kill(supervision._pid, signal.SIGKILL))


def kill_nurseries_entering(stages: str) -> None:
    _on_stage(stages, lambda supervision: os.kill(supervision._nursery.pid, signal.SIGKILL), most=1)


def _on_stage(stages: str, kill: Callable[[Any], None], most: int = 3) -> None:
    left = dict.fromkeys(stages.split(","), most)
    real = supervision.Supervision._take

    def take(self: Any, message: dict[str, Any]) -> None:
        real(self, message)
        if message["event"] == "stage" and left.get(message["stage"], 0) > 0:
            left[message["stage"]] -= 1
            kill(self)
            _tell_of_a_kill()

    supervision.Supervision._take = take  # type: ignore[method-assign]


def a_crash_in_invoke(model_id: str) -> None:
    """Native code of the interpreter crashes for one model, every time."""
    real = supervision.Supervision._take

    def take(self: Any, message: dict[str, Any]) -> None:
        real(self, message)
        if message["event"] == "stage" and message["stage"] == "evaluate" and message["subject"] == model_id:
            os.kill(self._pid, signal.SIGSEGV)

    supervision.Supervision._take = take  # type: ignore[method-assign]


def a_write_fails(number: str) -> None:
    _wrap(storage, "write_bytes", before=_at(int(number), lambda uri: "/models/" in uri, _fail("a write")))


def a_publication_fails(number: str) -> None:
    _wrap(storage, "publish_directory", before=_at(int(number), _any, _fail("a publication")))


def every_element_twice(_: str) -> None:
    """What a runner may do that retries."""
    import apache_beam as beam

    from liteferry.pipeline.stages import discover, evaluate, export, publish

    def twice(transform: Any) -> None:
        expand = transform.expand
        again = beam.FlatMap(lambda element: [element, element])
        transform.expand = lambda self, elements: expand(self, elements | "Twice" >> again)

    for transform in (discover.SplitFinished, export.ExportModels, evaluate.EvaluateParity, publish.JudgeAndPublish):
        twice(transform)


def late_and_reordered(seed: str) -> None:
    """Plans come in any order, and each unit of work begins late, those that were first last."""
    from liteferry.pipeline.stages import discover as stage

    discover: Any = stage
    rng = random.Random(int(seed))
    real_plans, real_submit = discover.plan_models, pool.WorkPool.submit

    def plans(*arguments: Any) -> Any:
        return rng.sample(found := real_plans(*arguments), len(found))

    def submit(self: Any, function: Any, *arguments: Any, priority: Any = (), **keywords: Any) -> Any:
        def late(*given: Any, **named: Any) -> Any:
            time.sleep(rng.uniform(0, 1.5))
            return function(*given, **named)

        return real_submit(self, late, *arguments, priority=(rng.random(),), **keywords)

    discover.plan_models = plans
    pool.WorkPool.submit = submit  # type: ignore[method-assign]


FAULTS: dict[str, Callable[[str], None]] = {
    name: value for name, value in globals().items() if not name.startswith("_") and getattr(value, "__module__", "") == __name__
}

if __name__ == "__main__":
    FAULTS[sys.argv[1]](sys.argv[2])
    sys.exit(cli.main(sys.argv[3:]))
