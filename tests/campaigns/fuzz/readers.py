"""What LiteFerry does with each kind of input, up to where a process that may die takes over.

A reader returns one word for what came of it, or raises. What is a LiteFerryError is a clear answer; anything else is a finding.
`LAUNCHER`: readers that the launcher or a worker runs itself; a crash of one of them would be the end of a run.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from liteferry.errors import LiteFerryError, ModelError, ReasonCode
from liteferry.report.formats import printable

# What a terminal would obey, and what a page would run.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_MARKUP = ("<img src=x", "</script><script>alert")
_SEED_MODELS = ("mlp", "broken_truncated")


class BrokenPromiseError(AssertionError):
    """An answer that must not be given."""


def _printable(text: str) -> None:
    found = _UNPRINTABLE.search(text)
    if found:
        at = found.start()
        raise BrokenPromiseError(f"prints a control character: {text[max(0, at - 40) : at + 40]!r}")


def _told(error: LiteFerryError) -> str:
    """The word for an error that LiteFerry raises on purpose, after a look at what it says."""
    message = str(error)
    if len(message) > 50_000:
        raise BrokenPromiseError(f"an error of {len(message):,} characters: {message[:200]!r}")
    if isinstance(error, ModelError):
        if error.reason.code is ReasonCode.INTERNAL:
            raise BrokenPromiseError(f"says INTERNAL: {message[:500]}")
        return error.reason.code.value
    return type(error).__name__


def inspect(path: str) -> str:
    """`liteferry inspect`, and what `check` and loading look at before anything is built."""
    from liteferry.commands.inspect import child
    from liteferry.commands.inspect.text import as_text

    answer = json.loads(json.dumps(child.answer(path)))
    if "error" in answer:
        _printable(printable(answer["error"]["message"]))
        if answer["error"]["code"] == ReasonCode.INTERNAL.value:
            raise BrokenPromiseError(str(answer["error"]))
        return str(answer["error"]["code"])
    _printable(as_text(answer["facts"]))
    return "facts" if not answer["facts"].get("findings") else "findings"


def share_key(path: str) -> str:
    """What a worker reads of every .keras archive to find its siblings. (HDF5 is looked at in a sandbox.)"""
    from liteferry.plan import siblings

    if siblings._starts_as_hdf5(path):
        return "hdf5"
    return "key" if siblings.share_key_of(path, recipe_digest="r") else "no key"


def keras(path: str) -> str:
    """Both, as a run does."""
    return f"{inspect(path)}, {share_key(path)}"


def job(path: str) -> str:
    from liteferry.config.load import load_job
    from liteferry.plan.job_files import find_checkpoints, refuse_missing_files

    try:
        loaded = load_job(path)
        loaded.model_dump_json()
        refuse_missing_files(loaded)
        return f"job of {min(len(find_checkpoints(loaded)), 3)}"
    except LiteFerryError as error:
        return _told(error)


def runner_config(path: str) -> str:
    from liteferry.pipeline.beam_options import flags_of

    try:
        return f"{min(len(flags_of(path)), 5)} flags"
    except LiteFerryError as error:
        return _told(error)


def _plan_of(out: str, model_id: str) -> Any:
    """The plan whose work the seed's report says is done."""
    from liteferry.loading.model import LoadSpec
    from liteferry.plan.model_plan import BoundSamples, ModelPlan
    from liteferry.sandbox.outcome import Limits
    from liteferry.tflite.lowering import LoweringOptions
    from liteferry.tflite.quantize import QuantizationOptions
    from tests.campaigns.fuzz.inputs import seed_files

    report = json.loads(seed_files("out")[f"models/{model_id}/report.json"])
    return ModelPlan(
        model_id=model_id,
        uri=report["checkpoint"]["uri"],
        digest=report["checkpoint"]["digest"],
        recipe_digest=report["recipe_digest"],
        out=out,
        load=LoadSpec(),
        metadata={},
        samples=BoundSamples(name=None, spec=None, sample_set=None, problem=None),
        variants=(),
        require=(),
        gates={},
        limits=Limits(seconds=900, memory_bytes=8 * 10**9),
        batch_size=64,
        quantization=QuantizationOptions(),
        lowering=LoweringOptions(),
    )


def out(path: str) -> str:
    """`show`, `verify --no_rows`, `report`, and what a run reads before it goes on."""
    from liteferry.commands import report_pages, show, verify
    from liteferry.output.progress import Watcher
    from liteferry.report import changes

    words = []

    def listen() -> None:
        watcher = Watcher(path)
        lines = list(watcher.new_lines())
        json.dumps([lines, watcher.running])

    def summary() -> None:
        facts = show.read_progress(path)
        show.print_summary(facts)
        show.status_of(facts)

    def check() -> None:
        verify.print_verification(verify.verify(path, processes=1, with_rows=False), as_json=False)

    def resume() -> None:
        from liteferry.output import finished

        for model_id in _SEED_MODELS:
            plan = _plan_of(path, model_id)
            finished.finished_report(plan)
            finished.numbered(plan)

    def history() -> None:
        found, new = changes.since_last_run(path, report_pages.read_reports(path), run_id="r")
        changes.in_words(found)
        json.dumps(new)

    def pages() -> None:
        report_pages.rebuild_pages(path)
        for folder, _, names in os.walk(path):
            for name in names:
                if name.endswith(".html"):
                    with open(os.path.join(folder, name), encoding="utf-8") as file:
                        page = file.read()
                    for markup in _MARKUP:
                        if markup in page:
                            raise BrokenPromiseError(
                                f"{name} holds markup out of a report: {page[page.index(markup) - 60 :][:120]!r}"
                            )

    for step in (listen, summary, check, resume, history, pages):
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            try:
                step()
                words.append("done")
            except LiteFerryError as error:
                words.append(_told(error))
        _printable(said.getvalue().replace(path, ""))
    return " ".join(words)


def samples(path: str) -> str:
    """`open_samples`, as a reader process does it, then rows bound to a signature and read, which sandboxes do."""
    from liteferry.config.job import SamplesSpec
    from liteferry.samples.batches import read_batches
    from liteferry.samples.binding import bind
    from liteferry.samples.opening import open_samples
    from liteferry.types import Signature, TensorSpec

    schema = os.path.join(os.path.dirname(path), "schema.pbtxt")
    try:
        spec = SamplesSpec(path=path, schema_file=schema if os.path.exists(schema) else None)
        found = open_samples(spec)
        json.dumps({name: [column.dtype, list(column.shape)] for name, column in found.columns.items()})
        rows = 0
        for name, column in list(found.columns.items())[:8]:
            shape = (None, *column.shape)
            inputs = (TensorSpec(name=name, shape=shape, dtype=column.dtype),)
            binding = bind(found, spec, Signature(inputs=inputs, outputs=inputs), samples_name="rows")
            for shard in found.shards[:4]:
                for batch in read_batches(shard, binding, batch_size=4):
                    rows += len(batch.ids)
                    if rows > 1000:
                        return "rows"
        return "rows" if rows else "no rows"
    except LiteFerryError as error:
        return _told(error)


def image(path: str) -> str:
    from liteferry.samples.formats.rows import Rows
    from liteferry.samples.images import ImageDecoding, decode_images

    with open(path, "rb") as file:
        content = file.read()
    rows = Rows(np.array([content], object), np.zeros((1, 0), np.int64))
    try:
        for channels in (1, 3, 4):
            decode_images(rows, ImageDecoding(channels=channels, scale=1 / 255), where=path, numbers=[0])
        return "image"
    except LiteFerryError as error:
        return _told(error)


READERS: dict[str, Callable[[str], Any]] = {
    "keras": keras,
    "h5": inspect,
    "archive": inspect,
    "saved_model": inspect,
    "tf_checkpoint": inspect,
    "tflite": inspect,
    "samples": samples,
    "image": image,
    "job": job,
    "runner_config": runner_config,
    "out": out,
}
# Where a crash of the reader would be one of the launcher; elsewhere a process is meant to die.
LAUNCHER = ("job", "runner_config", "out")
