"""Loads a sibling's weights into a model that is already traced, with exact knowledge of which array of the file is which
variable.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from liteferry.checkpoints.detection import CheckpointFacts, Kind

_WEIGHTS_FILE = "model.weights.h5"


class Weights:
    """Loads siblings' weights into a model that is already traced, each array from its place in the file.

    The map from places to variables is determined once, without guessing: Keras loads a copy of the first sibling's file in
    which every array is filled with a unique number, and each variable's number shows its place. So equal arrays are no
    problem. The first sibling's own values must then be found at these places, bit for bit.
    """

    def __init__(self, path: str, facts: CheckpointFacts) -> None:
        """`path`, `facts`: of the checkpoint that was built and traced. The scanned copy may be removed before a sibling is
        loaded, so the file is kept under a second name.
        """
        self._path, self._facts = os.path.join(tempfile.mkdtemp(), os.path.basename(path)), facts
        try:
            os.link(path, self._path)
        except OSError:  # the file system has no hard links, or these are two file systems
            shutil.copyfile(path, self._path)
        self._places: list[str] | None = None
        self._layout: dict[str, _Kind] = {}
        self._is_hopeless = False

    def load(self, model: Any, path: str, facts: CheckpointFacts, variables: Sequence[Any]) -> bool:
        """Loads one sibling.

        Args:
          model: the Keras model that was traced. path, facts: the sibling's file.
          variables: the TensorFlow variables that the traced graph reads.

        Returns:
          Whether every one of `variables` now holds its array of that file, bit for bit, and the file has the same arrays as the
          first one's, by name, shape and dtype. False: load the sibling on its own.
        """
        if self._places is None and not self._is_hopeless:
            self._is_hopeless = not self._learn(model, variables)
        if self._places is None:
            return False
        try:
            with _weights_file(path, facts) as file:
                if _layout(file) != self._layout:
                    return False
                arrays = [_array(file, place) for place in self._places]
        except (OSError, KeyError, ValueError, zipfile.BadZipFile):
            return False
        for array, variable in zip(arrays, variables, strict=True):
            variable.assign(array)
        return all(_exact(array) == _exact(variable.numpy()) for array, variable in zip(arrays, variables, strict=True))

    def _learn(self, model: Any, variables: Sequence[Any]) -> bool:
        values = [_exact(variable.numpy()) for variable in variables]
        try:
            with _weights_file(self._path, self._facts) as file:
                self._layout = _layout(file)
            names = sorted(self._layout)
            model.load_weights(_marked_copy(self._path, self._facts, names))
            numbers = [_number_in(variable.numpy()) for variable in variables]
            places = [names[number - 1] for number in numbers if 0 < number <= len(names)]
            if len(set(places)) != len(variables):
                return False
            with _weights_file(self._path, self._facts) as file:
                if values != [_exact(_array(file, place)) for place in places]:
                    return False
        except Exception:  # noqa: BLE001  # Keras raises anything here; each sibling is loaded on its own then
            return False
        self._places = places
        return True


_Kind = tuple[tuple[int, ...], str]
_OF_TRAINING = re.compile(r"^(_?optimizer|optimizer_weights|_?metrics|_?loss)(/|$)")


def _layout(file: Any) -> dict[str, _Kind]:
    """Shape and dtype of every array of a weights file but training's, by its place."""
    from h5py import h5d, h5o

    found: dict[str, _Kind] = {}

    def visit(place: bytes) -> None:
        name = place.decode()
        item = None if _OF_TRAINING.match(name) else h5o.open(file.id, place)
        if isinstance(item, h5d.DatasetID):
            found[name] = item.shape, item.dtype.str

    h5o.visit(file.id, visit)
    return found


def _array(file: Any, place: str) -> np.ndarray:
    """An array of a weights file, by h5py's low-level interface: its high-level objects take three times as long to make."""
    from h5py import h5d, h5s

    dataset = h5d.open(file.id, place.encode())
    array: np.ndarray = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5s.ALL, h5s.ALL, array)
    return array


def _marked_copy(path: str, facts: CheckpointFacts, names: Sequence[str]) -> str:
    """A copy of a checkpoint, each array of `names` filled with its number, from 1. ValueError where a dtype cannot."""
    import h5py

    folder = tempfile.mkdtemp()
    target = os.path.join(folder, "marked.keras" if facts.kind is Kind.KERAS else "marked.h5")
    weights = target
    if facts.kind is Kind.KERAS:
        weights = os.path.join(folder, _WEIGHTS_FILE)
        with zipfile.ZipFile(path) as archive, archive.open(_WEIGHTS_FILE) as member, open(weights, "wb") as copied:
            shutil.copyfileobj(member, copied, 2**20)
    else:
        shutil.copyfile(path, weights)
    with h5py.File(weights, "r+") as file:
        for number, name in enumerate(names, start=1):
            mark = np.full(file[name].shape, number, file[name].dtype)
            if mark.size and _number_in(mark) != number:
                raise ValueError(f"{name} ({file[name].dtype}) cannot hold {number}")
            file[name][...] = mark
    if facts.kind is Kind.KERAS:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as copy:
            for entry in archive.namelist():
                if entry == _WEIGHTS_FILE:
                    copy.write(weights, entry)
                elif not entry.endswith("/"):
                    copy.writestr(entry, archive.read(entry))
    return target


def _number_in(array: np.ndarray) -> int:
    """The whole number that every element of an array is; 0 where there is none such."""
    first = array.ravel()[:1].astype(np.float64)
    return int(first[0]) if first.size and first[0] == int(first[0]) and bool((array == array.ravel()[0]).all()) else 0


def _exact(array: np.ndarray) -> tuple[Any, ...]:
    return array.shape, array.dtype.str, hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()


@contextlib.contextmanager
def _weights_file(path: str, facts: CheckpointFacts) -> Iterator[Any]:
    import h5py

    source: Any = path
    if facts.kind is Kind.KERAS:
        with zipfile.ZipFile(path) as archive:
            source = io.BytesIO(archive.read(_WEIGHTS_FILE))
    with h5py.File(source, "r") as file:
        yield file
