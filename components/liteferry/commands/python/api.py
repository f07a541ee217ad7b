"""`liteferry.export`, `liteferry.export_fleet` and `liteferry.compare`: the commands for programs and notebooks."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from liteferry import storage
from liteferry.commands.python import live
from liteferry.commands.python.here import report_of, run_here
from liteferry.commands.python.results import Exported, ExportedFleet, of_report
from liteferry.config.job import Job, ModelSpec, SamplesSpec
from liteferry.config.load import load_job, parse_job
from liteferry.errors import JobError, did_you_mean
from liteferry.samples.formats.rows import NAMED_BY_PLACE

if TYPE_CHECKING:
    from liteferry.commands.compare.compare import Compared

_CHECKPOINTS = "checkpoints"  # below the output: checkpoints saved from live models
_NAME = "samples"
_ENDLESS = -1  # tf.data.INFINITE_CARDINALITY


def export(model: Any, samples: Any, *, output: str | os.PathLike[str], force: bool = False, **keys: Any) -> Exported:
    """Exports one model and proves the result, in this process and sandboxes that stay warm for the next call.

    Args:
      model: path of a checkpoint, a Keras model, or a `tf.Module` with signatures. A live Keras model is called on the rows
        before it is saved, and the export must reproduce these answers.
      samples: sample rows: path, pattern or folder; a dict of arrays by column; one array, or a tuple `(x, y)` as `Model.fit`
        takes it, whose columns are then called `x` and `y`; a pandas DataFrame; a `tf.data.Dataset`.
      output: folder for artifacts and reports.
      force: export again even if an earlier result is valid.
      **keys: keys of a job file, wherever they stand there: `inputs`, `label`, `id`, `take` of the samples; `builder`,
        `signature`, `metadata` of the model; `variants`, `gates`, `metrics`, `modules`, `trust`, `policy` of the job.

    Raises:
      JobError: keys or values that no job has. What the model does is in the result, not raised.
    """
    out = storage.absolute(os.fspath(output))
    with _rows(samples) as rows:
        entry, sample_keys, rest = _sorted_keys(keys)
        asked: live.Answers | None = None
        if isinstance(model, (str, os.PathLike)):
            path = os.path.abspath(os.fspath(model)) if "://" not in os.fspath(model) else os.fspath(model)
        else:
            spec = _job({"checkpoints": "unused"}, {**sample_keys, "path": rows}, rest).samples[_NAME]
            asked = live.answers(model, spec)
            path = live.save(model, os.path.join(out, _CHECKPOINTS))
        job = _job({**entry, "checkpoints": path}, {**sample_keys, "path": rows}, rest)
        ids = run_here(job, out, force=force or asked is not None, confirm=asked.confirm if asked else None)
        if len(ids) != 1:
            what = f"{path} names {len(ids)} checkpoints ({', '.join(ids[:5])})"
            raise JobError([f"model: {what}; name one of them, or call export_fleet"], source="export")
        return of_report(*report_of(out, ids[0]))


def export_fleet(job: Any, output: str | os.PathLike[str], *, force: bool = False) -> ExportedFleet:
    """Exports every checkpoint of a job, as `liteferry run` does.

    Args:
      job: path of a job file, a mapping as one holds it, or a `Job`.
      output: folder for artifacts and reports.
      force: export models again even if an earlier result is valid.

    Raises:
      JobError: the job is wrong; every problem is listed.
    """
    from liteferry.commands.run import How, run_job
    from liteferry.commands.show import read_fleet
    from liteferry.pipeline.run_request import RunRequest

    out = storage.absolute(os.fspath(output))
    if isinstance(job, Mapping):
        job = parse_job(job, base_dir=os.getcwd(), source="job")
    elif not isinstance(job, Job):
        job = load_job(job)
    run_job(RunRequest(job=job, out=out, force=force), How(is_quiet=True))
    facts = read_fleet(out)
    models = tuple(of_report(*report_of(out, model["model_id"])) for model in facts["models"])
    return ExportedFleet(out=out, models=models, facts=facts)


def compare(reference: Any, candidate: Any, samples: Any, **keys: Any) -> Compared:
    """Parity of any two artifacts on the same rows, as `liteferry compare` computes it.

    Args:
      reference, candidate: checkpoint, SavedModel folder or .tflite file, either of them, by path.
      samples: as in `export`.
      **keys: keys of a samples entry, `gates` as metric -> limit, `rows` as ids, `builder`, `modules` and `trust`.

    Raises:
      JobError, ModelError, SamplesError: names that do not match, a side that cannot be loaded or run, rows that cannot be read.
    """
    from liteferry.commands.compare.compare import compare as compare_artifacts
    from liteferry.loading.model import LoadSpec

    gates, ids = keys.pop("gates", None), keys.pop("rows", ())
    entry, sample_keys, rest = _sorted_keys(keys)
    with _rows(samples) as rows:
        job = _job({**entry, "checkpoints": "unused"}, {**sample_keys, "path": rows}, rest)
        load = LoadSpec(
            modules=tuple(job.modules),
            trust=tuple(trust.value for trust in job.trust),
            builder=job.models[0].builder,
            builder_args=dict(job.models[0].builder_args),
            signature=job.models[0].signature,
        )
        paths = os.fspath(reference), os.fspath(candidate)
        return compare_artifacts(*paths, job.samples[_NAME], gates=gates, rows=tuple(ids), load=load)


def _sorted_keys(keys: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Keys of the model, of the samples and of the job. `metrics` is the job's."""
    of_job = {name for name in Job.model_fields if name not in ("models", "samples")}
    of_model = {
        name for name in ModelSpec.model_fields if name not in ("checkpoints", "samples", "metrics", "versions", "exclude")
    }
    of_samples = {name for name in SamplesSpec.model_fields if name != "path"}
    known = of_job | of_model | of_samples
    unknown = [name for name in keys if name not in known]
    if unknown:
        raise JobError([f"{name}: no such key{did_you_mean(name, known)}" for name in unknown], source="export")
    parts: tuple[dict[str, Any], dict[str, Any], dict[str, Any]] = ({}, {}, {})
    for name, value in keys.items():
        parts[0 if name in of_model else 1 if name in of_samples else 2][name] = value
    return parts


def _job(entry: Mapping[str, Any], rows: Mapping[str, Any], rest: Mapping[str, Any]) -> Job:
    raw = {**rest, "models": [dict(entry)], "samples": {_NAME: dict(rows)}}
    try:
        return parse_job(raw, base_dir=os.getcwd(), source="export")
    except JobError as error:
        told = [problem.replace(f"samples.{_NAME}.", "").replace("models[0].", "") for problem in error.problems]
        raise JobError(told, source="export") from error


@contextlib.contextmanager
def _rows(samples: Any) -> Iterator[str]:
    """The path of the rows; rows in memory are written to a temporary folder that exists while the context lasts."""
    if isinstance(samples, (str, os.PathLike)):
        path = os.fspath(samples)
        yield path if "://" in path else os.path.abspath(path)
        return
    with tempfile.TemporaryDirectory(prefix="liteferry-rows-") as folder:
        yield _written(samples, folder)


def _written(samples: Any, folder: str) -> str:
    """Writes rows in memory into a folder. Returns the path to read."""
    if hasattr(samples, "to_parquet"):
        return _written_by(lambda path: samples.rename(columns=str).to_parquet(path, index=False), folder, "samples.parquet")
    if hasattr(samples, "element_spec") and hasattr(samples, "save"):
        if int(samples.cardinality()) == _ENDLESS:
            raise JobError(["samples: the dataset repeats without end; give a part of it, samples.take(100)"], source="export")
        return _written_by(samples.save, folder, "samples")
    columns = _columns(samples)
    if columns is None:
        what = "a path, an array, a tuple (x, y), a dict of arrays, a DataFrame or a tf.data.Dataset"
        raise JobError([f"samples: {type(samples).__name__} is none of {what}"], source="export")
    arrays: dict[str, Any] = {name: _array(name, value) for name, value in columns.items()}
    path = os.path.join(folder, "samples.npz")
    np.savez(path, **arrays)
    return path


def _written_by(write: Callable[[str], Any], folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    try:
        write(path)
    except Exception as error:  # of pandas, pyarrow or TensorFlow, or of the user's functions in a pipeline
        raise JobError([f"samples: cannot be written down: {type(error).__name__}: {error}"], source="export") from error
    return path


def _columns(samples: Any) -> dict[str, Any] | None:
    """Name -> values of a dict, an array, or a tuple with the names that a `tf.data.Dataset` of such tuples gets."""
    if isinstance(samples, Mapping):
        return {str(name): value for name, value in samples.items()}
    if isinstance(samples, tuple) and len(samples) <= len(NAMED_BY_PLACE):
        parts = {name: part for name, part in zip(NAMED_BY_PLACE, samples, strict=False) if part is not None}
        inner = [part if isinstance(part, Mapping) else {name: part} for name, part in parts.items()]
        return {str(name): value for part in inner for name, value in part.items()}
    return {NAMED_BY_PLACE[0]: samples} if hasattr(samples, "__array__") else None


def _array(name: str, value: Any) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise JobError([f"samples: column {name!r} is no array: {error}"], source="export") from error
    if array.dtype.hasobject:
        items = array.ravel().tolist()
        if all(isinstance(item, (str, bytes)) for item in items):
            texts = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in items]
            return np.array(texts, np.str_).reshape(array.shape)
        raise JobError([f"samples: column {name!r} holds Python objects; give numbers or text"], source="export")
    return array


@dataclasses.dataclass(frozen=True, kw_only=True)
class CallbackOptions:
    """The metric that `export_callback` watches. `monitor`: a key of an epoch's logs. `mode`: whether less or more of it is
    better.
    """

    monitor: str = "val_loss"
    mode: str = "min"


def export_callback(samples: Any, *, output: str | os.PathLike[str], options: CallbackOptions | None = None, **keys: Any) -> Any:
    """A Keras callback that keeps the weights of the best epoch; when training ends it exports the model with them.

    After `fit` its attribute `exported` is what `export` returns. The model itself keeps the weights of the last epoch.

    Args:
      samples, output, **keys: as in `export`.
      options: which epoch is the best; by default the one with the least `val_loss`, or the last epoch if the logs do not have
        it.
    """
    import keras

    chosen = options or CallbackOptions()

    class ExportBest(keras.callbacks.Callback):  # type: ignore[misc]
        exported: Exported | None = None

        def __init__(self) -> None:
            super().__init__()
            self._best: float | None = None
            self._weights: Sequence[np.ndarray] | None = None

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            value = (logs or {}).get(chosen.monitor)
            is_best = value is None or self._best is None or (value < self._best if chosen.mode == "min" else value > self._best)
            if is_best:
                self._best = value if value is not None else self._best
                self._weights = self.model.get_weights()

        def on_train_end(self, logs: Mapping[str, float] | None = None) -> None:
            last = self.model.get_weights()
            try:
                if self._weights is not None:
                    self.model.set_weights(self._weights)
                self.exported = export(self.model, samples, output=output, force=True, **keys)
            finally:
                self.model.set_weights(last)

    return ExportBest()
