"""A folder of images or of .wav files, with a subfolder for each class or without: one row a file, in the order of their paths.

Columns: `image`, the encoded file, or `audio`, its samples from -1 to 1; `label`, the number of the class, classes in the order
of their names; `class`, its name; `file`, its path below the folder. Without subfolders there is no class.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from liteferry.samples.formats import wav
from liteferry.samples.formats.rows import ColumnSpec, FileFacts, RowRange, Rows, changed, mismatch, rows_of_array

_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_AUDIO = (".wav",)
IMAGE, AUDIO, LABEL, CLASS, FILE = "image", "audio", "label", "class", "file"
_RANGE_ROWS = 4096
_MOST_FILES = 5_000_000
_MOST_FILE_BYTES = 2**30
_TEXT = ColumnSpec(dtype="string", shape=())
# Subfolders that are parts of a data set, not classes.
_SPLITS = {"train", "training", "test", "testing", "val", "valid", "validation", "eval", "dev", "holdout"}


def files_in(folder: str) -> list[str]:
    """The images or .wav files of a folder, by their paths below it, sorted; none if it is not such a folder."""
    found = []
    for above, folders, names in os.walk(folder):
        # Hidden ones are those of a system: macOS packs ._NAME beside each file, and a folder of them.
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        shown = [name for name in names if not name.startswith(".")]
        media = [os.path.join(above, name) for name in shown if name.lower().endswith(_IMAGES + _AUDIO)]
        if (odd := next((path for path in media if not os.path.isfile(path)), None)) is not None:
            raise mismatch(f"{odd}: is no file but a pipe, a socket, a device or a link to nothing; remove it")
        found += [os.path.relpath(path, folder) for path in media]
        if len(found) > _MOST_FILES:
            raise mismatch(f"{folder}: holds more than {_MOST_FILES:,} files; name a part of it")
    return sorted(found)


def describe_media(path: str) -> FileFacts:
    files = _files(path)
    is_audio = _is_audio(path, files)
    columns = {AUDIO: _audio_spec(path, files)} if is_audio else {IMAGE: ColumnSpec(dtype="string", shape=(), is_image=True)}
    if _classes(path, files):
        columns |= {LABEL: ColumnSpec(dtype="int64", shape=()), CLASS: _TEXT}
    whole, rest = divmod(len(files), _RANGE_ROWS)
    return FileFacts(columns={**columns, FILE: _TEXT}, range_sizes=(*[_RANGE_ROWS] * whole, rest))


def read_media(path: str, columns: Mapping[str, ColumnSpec], wanted: RowRange) -> Iterator[dict[str, Rows]]:
    """Memory: one block of files."""
    files = _files(path)
    classes = _classes(path, files)
    chosen = files[wanted.start : wanted.start + wanted.count]
    if len(chosen) < wanted.count:
        raise changed(path, f"{len(files)} files, had {wanted.start + wanted.count} or more")
    for begin in range(0, len(chosen), wanted.block_rows):
        block = chosen[begin : begin + wanted.block_rows]
        yield {name: _column(path, name, block, classes) for name in columns}


def _column(path: str, name: str, files: Sequence[str], classes: Sequence[str]) -> Rows:
    if name == AUDIO:
        return _joined([wav.samples_of(_of_a_row(path, file)) for file in files])
    if name == IMAGE:
        return _texts([_content(path, file) for file in files])
    if name == LABEL:
        return rows_of_array(np.array([classes.index(_class(file)) for file in files], np.int64))
    return _texts([(_class(file) if name == CLASS else file).encode("utf-8", "surrogateescape") for file in files])


def _files(path: str) -> list[str]:
    files = files_in(path)
    if not files:
        raise mismatch(f"{path}: holds no images ({', '.join(_IMAGES)}) and no .wav files")
    return files


def _is_audio(path: str, files: Sequence[str]) -> bool:
    kinds = {file.lower().endswith(_AUDIO) for file in files}
    if len(kinds) > 1:
        raise mismatch(f"{path}: holds images and .wav files; name a folder with one of them")
    return kinds == {True}


def _class(file: str) -> str:
    return file.split(os.sep)[0]


def _classes(path: str, files: Sequence[str]) -> list[str]:
    """The names of the subfolders, sorted; none if files lie in the folder itself."""
    in_folders = [os.sep in file for file in files]
    if any(in_folders) and not all(in_folders):
        loose = next(file for file in files if os.sep not in file)
        raise mismatch(f"{path}: {loose} lies beside the subfolders that are its classes; move it into one, or remove it")
    classes = sorted({_class(file) for file in files}) if all(in_folders) else []
    if classes and {name.lower() for name in classes} <= _SPLITS:
        raise mismatch(
            f"{path}: holds the parts of a data set ({', '.join(classes)}) and not classes; name the one you mean, for example "
            f"{os.path.join(path, classes[0])}"
        )
    return classes


def _content(path: str, file: str) -> bytes:
    with open(_of_a_row(path, file), "rb") as opened:
        return opened.read()


def _of_a_row(path: str, file: str) -> str:
    place = os.path.join(path, file)
    if os.path.getsize(place) > _MOST_FILE_BYTES:
        raise mismatch(f"{place}: has {os.path.getsize(place):,} bytes, too many for one row")
    return place


def _audio_spec(path: str, files: Sequence[str]) -> ColumnSpec:
    """The shape that all files share; None for a length in which they differ."""
    shapes = {wav.header_of(os.path.join(path, file)).shape() for file in files[:_RANGE_ROWS]}
    ranks = {len(shape) for shape in shapes}
    if len(ranks) > 1:
        raise mismatch(f"{path}: some files are mono and others are not; convert them to one number of channels")
    sizes = [{shape[axis] for shape in shapes} for axis in range(ranks.pop())]
    is_all = len(files) <= _RANGE_ROWS
    return ColumnSpec(
        dtype="float32",
        shape=tuple(size.pop() if len(size) == 1 and (is_all or axis) else None for axis, size in enumerate(sizes)),
    )


def _joined(arrays: Sequence[np.ndarray]) -> Rows:
    shapes = np.array([array.shape for array in arrays], np.int64).reshape(len(arrays), -1)
    return Rows(np.concatenate([array.reshape(-1) for array in arrays]), shapes)


def _texts(values: Sequence[bytes]) -> Rows:
    found = np.empty(len(values), object)
    found[:] = values
    return Rows(found, np.zeros((len(values), 0), np.int64))
