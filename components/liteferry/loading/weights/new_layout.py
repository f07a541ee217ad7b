"""Weights in the layout of `.keras` and `.weights.h5`: every array of the file is used, every variable of the model filled.

The libraries write one group of arrays for each layer, under the attribute that holds it or, in a list of layers, under its
class and a number. Keras 3 writes the layer's name beside it, tf_keras does not. A loader looks for each group by its place and
ignores all others. So the check is that the model would save to exactly the places that the file has.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints.detection import CheckpointFacts, Kind
from liteferry.errors import ModelError, ReasonCode, Stage
from liteferry.loading import layer_names
from liteferry.loading.weights.mismatch import mismatch, shape_of
from liteferry.loading.weights.names import LayerNames, NoMatchError, Slot, match

_WEIGHTS_FILE = "model.weights.h5"
_WEIGHTS_FILES = re.compile(r"model\.weights(_\d+)?\.h5")
# Training's state: what an optimizer, metrics, losses and random generators keep.
_BOOKKEEPING = re.compile(
    r"(^|/)(optimizer|_optimizer|metrics|_metrics|_?compile_metrics|_?compile_loss|_?loss_tracker|_?seed_generators?)(/|$)"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Places:
    """Arrays by their place, `layers/dense/vars/0`, and the names of layers by the place of their group,
    where the file has them.
    """

    arrays: Mapping[str, Any]
    names: Mapping[str, str]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every array, by its place."""
        return {place: shape_of(array) for place, array in self.arrays.items()}

    def slots(self, *, named: bool = True) -> list[Slot]:
        """Every array under the names of the layers that lists of layers hold, in place of their class and number."""
        return [Slot(name=self._named(place) if named else place, shape=shape) for place, shape in self.shapes().items()]

    def _named(self, place: str) -> str:
        parts = place.split("/")
        named = [
            self.names.get("/".join(parts[: at + 1]), part) if _is_in_list(parts, at) else part for at, part in enumerate(parts)
        ]
        return "/".join(part for part in named if part != "vars")  # arrays of one layer are called 0, 1, ...


def _is_in_list(parts: Sequence[str], at: int) -> bool:
    return at > 0 and parts[at - 1] == "layers"


@contextlib.contextmanager
def opened(path: str, facts: CheckpointFacts) -> Iterator[list[Any]]:
    """The open HDF5 files with the weights: one, or the shards of an archive."""
    import h5py

    with contextlib.ExitStack() as stack:
        sources: list[Any] = [path]
        if facts.kind is Kind.KERAS:
            archive = stack.enter_context(zipfile.ZipFile(path))
            names = [name for name in archive.namelist() if _WEIGHTS_FILES.fullmatch(name)]
            sources = [io.BytesIO(archive.read(name)) for name in names]
        yield [stack.enter_context(h5py.File(source, "r")) for source in sources]


def stored(files: Sequence[Any]) -> Places:
    """The model's arrays in the files of a checkpoint, without training state."""
    import h5py

    arrays: dict[str, Any] = {}
    names: dict[str, str] = {}

    def visit(place: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            if not _BOOKKEEPING.search(place):
                arrays[place] = item
        elif place.endswith("vars") and "name" in item.attrs:
            name = item.attrs["name"]
            names[place.removesuffix("vars").rstrip("/")] = name.decode() if isinstance(name, bytes) else str(name)

    for file in files:
        file.visititems(visit)
    return Places(arrays={place: arrays[place] for place in sorted(arrays, key=_by_number)}, names=names)


def _by_number(place: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", place)]


def saved_by(model: Any) -> Places:
    """The values that a model would save: variables, or arrays if a layer converts them."""
    arrays: dict[str, Any] = {}
    names: dict[str, str] = {}
    try:
        if layer_names.is_keras_3(model):
            _record_keras_3(model, arrays, names)
        else:
            _record_tf_keras(model, arrays)
    except Exception as error:
        why = f"the model cannot say what it would save: {type(error).__name__}: {error}"
        raise ModelError(ReasonCode.LOAD_FAILED, Stage.LOAD, why) from error
    return Places(arrays={place: arrays[place] for place in sorted(arrays, key=_by_number)}, names=names)


class _Group(dict[str, Any]):
    """Stands in for a group of the file and records what a layer stores in it."""

    def __init__(self, place: str, arrays: dict[str, Any]) -> None:
        super().__init__()
        self._place, self._arrays = place, arrays

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        place = f"{self._place}/vars/{key}" if self._place else f"vars/{key}"
        if not _BOOKKEEPING.search(place):
            self._arrays[place] = value if hasattr(value, "shape") else np.asarray(value)


def _record_keras_3(model: Any, arrays: dict[str, Any], names: dict[str, str]) -> None:
    from keras.src.saving import saving_lib

    class Recorder(saving_lib.H5IOStore):  # type: ignore[misc]
        """The store that records those groups; Keras requires this type."""

        def __init__(self) -> None:
            pass

        def __bool__(self) -> bool:
            return True

        def make(self, path: str, metadata: Mapping[str, str] | None = None) -> Any:
            if metadata:
                names[path] = metadata["name"]
            return _Group(path, arrays)

    saving_lib._save_state(model, Recorder(), None, inner_path="", visited_saveables=set())


def _record_tf_keras(model: Any, arrays: dict[str, Any]) -> None:
    from tf_keras.src.saving import saving_lib

    class Recorder:
        def make(self, path: str) -> Any:
            return _Group(path, arrays)

    saving_lib._save_state(model, Recorder(), None, inner_path="", visited_trackables=set())


def refuse_differences(path: str, facts: CheckpointFacts, place: str, model: Any) -> None:
    """Raises unless a loaded model holds the file's arrays, each where the file has it.

    Args:
      path: as errors name the file; `place`: the copy of it. facts: of it. model: a Keras model.

    Raises:
      ModelError: WEIGHTS_MISMATCH with both lists.
    """
    with opened(place, facts) as files:
        in_file, in_model = stored(files), saved_by(model)
        if in_file.arrays.keys() != in_model.arrays.keys() and not _is_same_elsewhere(in_file, in_model):
            raise mismatch(path, in_file.slots(), in_model.slots(), "arrays are left over, or variables were not filled")
        held = [own for own in in_model.arrays if own in in_file.arrays]
        different = [own for own in held if not same_values(in_file.arrays[own], in_model.arrays[own])]
        if different:
            why = f"{len(different)} of {len(in_model.arrays)} do not hold it: {', '.join(different[:5])}"
            raise mismatch(path, in_file.slots(), in_model.slots(), why)
        misplaced = _misplaced(in_file, in_model, counted=layer_names.of(model).counted) if facts.kind is Kind.KERAS else []
        if misplaced:
            raise mismatch(path, in_file.slots(), in_model.slots(), ", ".join(misplaced[:5]))


def _misplaced(in_file: Places, in_model: Places, *, counted: Collection[str]) -> list[str]:
    """Layers of a whole model that hold the arrays of a layer with another given name."""
    groups = {_group(place) for place in in_model.arrays}
    return [
        f"{in_file.names[own]} was put into {name}"
        for own, name in in_model.names.items()
        if own in groups and name not in counted and in_file.names.get(own, name) != name
    ]


def _is_same_elsewhere(in_file: Places, in_model: Places) -> bool:
    """Whether the arrays at other places are the same ones: versions of a library spell a place differently."""
    theirs = [array for place, array in in_file.arrays.items() if place not in in_model.arrays]
    ours = [array for place, array in in_model.arrays.items() if place not in in_file.arrays]
    for value in ours:
        at = next((number for number, array in enumerate(theirs) if same_values(array, value)), None)
        if at is None:
            return False
        theirs.pop(at)
    return not theirs


def same_values(dataset: Any, variable: Any) -> bool:
    """Whether a variable holds a stored array, to the last bit, in the variable's own dtype."""
    if shape_of(dataset) != shape_of(variable):
        return False
    value = np.asarray(_to_numpy(variable))
    array = np.asarray(dataset)
    if array.dtype.kind == "V" or getattr(dataset, "attrs", {}).get("dtype") == "bfloat16":
        import ml_dtypes

        array = array.view(ml_dtypes.bfloat16) if array.dtype.kind == "V" else array.astype(ml_dtypes.bfloat16)
    return array.astype(value.dtype, copy=False).tobytes() == value.tobytes()


def _to_numpy(variable: Any) -> Any:
    return variable.numpy() if hasattr(variable, "numpy") else variable


def fill(path: str, place: str, facts: CheckpointFacts, model: Any, *, load: Callable[[], None]) -> tuple[str, ...]:
    """Fills a builder's model by the names in the file.

    Args:
      path: as errors name the file; `place`: the copy of it.
      facts: of the file.
      model: a Keras model with its variables.
      load: the library's own reader, which goes by places alone.

    Returns:
      What was matched without a name, as sentences.

    Raises:
      ModelError: WEIGHTS_MISMATCH where the file's names do not decide which array belongs to which variable.
    """
    with opened(place, facts) as files:
        in_file, in_model = stored(files), saved_by(model)
        is_named = bool(in_file.names)
        theirs, ours = in_file.slots(named=is_named), in_model.slots(named=is_named)
        names = layer_names.of(model) if is_named else LayerNames()
        try:
            matching = match(theirs, ours, names)
        except NoMatchError as error:
            raise mismatch(path, theirs, ours, error.why) from error
        alike = None if is_named else layer_names.interchangeable(model, in_model.shapes())
        if alike is not None:
            why = f"the file tells no layer's name, and {' and '.join(alike)} have equal shapes and could change places"
            raise mismatch(path, theirs, ours, why)
        sources = list(in_file.arrays)
        moved = {own: sources[at] for own, at in zip(in_model.arrays, matching.places, strict=True)}
    groups = {_group(own): _group(source) for own, source in moved.items()}
    if any(groups[_group(own)] != _group(source) for own, source in moved.items()):
        raise mismatch(path, theirs, ours, "the arrays of one layer of the model lie in several of the file")
    if all(own == source for own, source in groups.items()):
        load()
        refuse_differences(path, facts, place, model)
    else:
        _load_from(place, facts, model, groups)
        _refuse_unlike(path, facts, place, model, moved)
    return matching.notes


def _group(place: str) -> str:
    return place.rpartition("vars/")[0].rstrip("/")


def _load_from(place: str, facts: CheckpointFacts, model: Any, groups: Mapping[str, str]) -> None:
    """The library's own walk over the model, reading each layer's group from where its name is."""
    if layer_names.is_keras_3(model):
        from keras.src.saving import saving_lib

        known: Any = {"visited_saveables": set()}
    else:
        from tf_keras.src.saving import saving_lib

        known = {"visited_trackables": set()}

    class Renamed(saving_lib.H5IOStore):  # type: ignore[misc]
        def get(self, path: str) -> Any:
            return super().get(groups.get(path, path))

    with contextlib.ExitStack() as stack:
        archive = stack.enter_context(zipfile.ZipFile(place)) if facts.kind is Kind.KERAS else None
        store = Renamed(_WEIGHTS_FILE if archive else place, archive=archive, mode="r")
        stack.callback(store.close)
        saving_lib._load_state(model, store, None, inner_path="", **known)


def _refuse_unlike(path: str, facts: CheckpointFacts, place: str, model: Any, moved: Mapping[str, str]) -> None:
    with opened(place, facts) as files:
        in_file, in_model = stored(files), saved_by(model)
        different = [own for own, source in moved.items() if not same_values(in_file.arrays[source], in_model.arrays[own])]
        if different:
            raise mismatch(path, in_file.slots(), in_model.slots(), f"{', '.join(different[:5])} do not hold their arrays")
