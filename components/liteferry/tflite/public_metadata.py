"""TFLite Metadata in a .tflite file, as Android's and MediaPipe's libraries read it: labels, normalisation, associated files.

The format (metadata_schema.fbs 1.5.0): a flatbuffer of its own in the file's metadata under `TFLITE_METADATA`, and the associated
files as a zip archive behind the model. Its packages bring OpenCV and matplotlib, so the few tables that are written here are
built with flatbuffers alone. Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import io
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from liteferry.tflite import flatbuffer, rewriting

NAME = "TFLITE_METADATA"
_IDENTIFIER = b"M001"
_MIN_PARSER = {False: "1.0.0", True: "1.0.1"}  # whether there is a vocabulary
_LABELS, _VOCABULARY, _DESCRIPTIONS = 2, 5, 1  # AssociatedFileType: TENSOR_AXIS_LABELS, VOCABULARY, DESCRIPTIONS
_FEATURES, _IMAGE = 1, 2  # ContentProperties
_RGB, _GRAYSCALE = 1, 2  # ColorSpaceType
_NORMALIZATION = 1  # ProcessUnitOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """A local file that travels in the .tflite file, under its own name. `kind`: labels, vocabulary or description."""

    path: str
    kind: str = "description"

    @property
    def name(self) -> str:
        return os.path.basename(self.path)

    def content(self) -> bytes:
        """Raises OSError."""
        with open(self.path, "rb") as file:
            return file.read()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tensor:
    """What a reader is told of an input or an output, by the name that it has in the signature. `mean`, `std`: with which an
    app normalises an input before it calls the file, (value - mean) / std, one number or one for each channel.
    """

    name: str
    description: str = ""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    files: tuple[File, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a file says of its model. `tensors` may leave out inputs and outputs about which nothing is said."""

    name: str
    description: str = ""
    version: str = ""
    author: str = ""
    license: str = ""
    tensors: tuple[Tensor, ...] = ()
    files: tuple[File, ...] = ()

    def all_files(self) -> tuple[File, ...]:
        """Those of the model and of its tensors."""
        return (*self.files, *(file for tensor in self.tensors for file in tensor.files))

    def mapped(self, *, names: Mapping[str, str], paths: Mapping[str, str]) -> ModelFacts:
        """The same with other names of tensors and other paths of files, where these mappings have one."""

        def moved(files: tuple[File, ...]) -> tuple[File, ...]:
            return tuple(dataclasses.replace(file, path=paths.get(file.path, file.path)) for file in files)

        tensors = tuple(
            dataclasses.replace(tensor, name=names.get(tensor.name, tensor.name), files=moved(tensor.files))
            for tensor in self.tensors
        )
        return dataclasses.replace(self, tensors=tensors, files=moved(self.files))


def embed(content: bytes, facts: ModelFacts) -> bytes:
    """The file with this metadata; operators, tensors and weights are the same.

    Raises:
      ValueError: a tensor that the file does not have, labels that are more or fewer than the entries of the tensor's last axis,
        normalisation of more or fewer channels than it has, or two files of one name.
      OSError: a file cannot be read.
    """
    contract = flatbuffer.read_contract(content)
    known = {tensor.name: tensor for tensor in (*contract.inputs, *contract.outputs)}
    for tensor in facts.tensors:
        if tensor.name not in known:
            raise ValueError(f"tensors.{tensor.name}: the file has no such input or output; it has {', '.join(sorted(known))}")
        _refuse_other_sizes(tensor, known[tensor.name].shape)
    packed = _packed(facts, contract)
    return _with_files(rewriting.with_metadata_buffer(content, NAME, packed), _contents(facts))


def _refuse_other_sizes(tensor: Tensor, shape: Sequence[int | None]) -> None:
    last = shape[-1] if len(shape) > 1 else None
    if last is None:
        return
    if len(tensor.mean) not in (0, 1, last):
        raise ValueError(
            f"tensors.{tensor.name}: `mean` has {len(tensor.mean)} numbers, the last axis {last}; give one, or {last}"
        )
    for file in tensor.files:
        count = len(file.content().decode(errors="replace").splitlines())
        if file.kind == "labels" and count != last:
            raise ValueError(f"tensors.{tensor.name}: {file.name} has {count} labels, one a line, the last axis {last} entries")


def files_in(content: bytes) -> dict[str, bytes]:
    """The associated files of a .tflite file, by name; empty where there are none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    except zipfile.BadZipFile:
        return {}


def _contents(facts: ModelFacts) -> dict[str, bytes]:
    paths: dict[str, str] = {}
    for file in facts.all_files():
        if paths.setdefault(file.name, file.path) != file.path:
            raise ValueError(f"two files are called {file.name}; the .tflite file holds one of each name")
    return {file.name: file.content() for file in facts.all_files()}


def _with_files(content: bytes, files: Mapping[str, bytes]) -> bytes:
    """The archive stands behind the model, where runtimes do not look; the same files give the same bytes."""
    if not files:
        return content
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, mode="a") as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)
    return buffer.getvalue()


# Tables are written from the leaves up, since a flatbuffer's table may only refer to what is written already.


def _packed(facts: ModelFacts, contract: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    told = {tensor.name: tensor for tensor in facts.tensors}
    sides = [
        _vector(builder, [_tensor(builder, told.get(spec.name, Tensor(name=spec.name)), spec) for spec in side])
        for side in (
            sorted(contract.inputs, key=lambda spec: spec.position),
            sorted(contract.outputs, key=lambda spec: spec.position),
        )
    ]
    subgraph = _table(builder, 10, {2: sides[0], 3: sides[1]})
    subgraphs = _vector(builder, [subgraph])
    has_vocabulary = any(file.kind == "vocabulary" for tensor in facts.tensors for file in tensor.files)
    texts = {0: facts.name, 1: facts.description, 2: facts.version, 4: facts.author, 5: facts.license}
    texts[7] = _MIN_PARSER[has_vocabulary]
    slots = {number: builder.CreateString(text) for number, text in texts.items() if text}
    if facts.files:
        slots[6] = _files(builder, facts.files)
    builder.Finish(_table(builder, 8, {**slots, 3: subgraphs}), _IDENTIFIER)
    return bytes(builder.Output())


def _tensor(builder: Any, tensor: Tensor, spec: Any) -> int:
    slots = {0: builder.CreateString(tensor.name), 3: _content(builder, tensor, spec)}
    if tensor.description:
        slots[1] = builder.CreateString(tensor.description)
    if tensor.mean:
        slots[4] = _vector(builder, [_normalization(builder, tensor)])
    if tensor.files:
        slots[6] = _files(builder, tensor.files)
    return _table(builder, 7, slots)


def _content(builder: Any, tensor: Tensor, spec: Any) -> int:
    """An image where pixels are normalised in an input of the shape (rows, height, width, 1 or 3); else features."""
    channels = spec.shape[-1] if len(spec.shape) == 4 else None
    if not tensor.mean or channels not in (1, 3):
        return _union(builder, _FEATURES, _table(builder, 0, {}))
    builder.StartObject(2)
    builder.PrependInt8Slot(0, _RGB if channels == 3 else _GRAYSCALE, 0)
    return _union(builder, _IMAGE, builder.EndObject())


def _normalization(builder: Any, tensor: Tensor) -> int:
    std = _vector(builder, tensor.std, write=builder.PrependFloat32)
    mean = _vector(builder, tensor.mean, write=builder.PrependFloat32)
    return _union(builder, _NORMALIZATION, _table(builder, 2, {0: mean, 1: std}))


def _files(builder: Any, files: Sequence[File]) -> int:
    return _vector(builder, [_file(builder, file) for file in files])


def _file(builder: Any, file: File) -> int:
    kind = {"labels": _LABELS, "vocabulary": _VOCABULARY, "description": _DESCRIPTIONS}[file.kind]
    name = builder.CreateString(file.name)
    builder.StartObject(5)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependInt8Slot(2, kind, 0)
    return int(builder.EndObject())


def _union(builder: Any, kind: int, value: int) -> int:
    """A table whose first two fields are a union: which of its tables, and the table."""
    builder.StartObject(2)
    builder.PrependUint8Slot(0, kind, 0)
    builder.PrependUOffsetTRelativeSlot(1, value, 0)
    return int(builder.EndObject())


def _table(builder: Any, fields: int, slots: Mapping[int, int]) -> int:
    builder.StartObject(fields)
    for number, offset in sorted(slots.items()):
        builder.PrependUOffsetTRelativeSlot(number, offset, 0)
    return int(builder.EndObject())


def _vector(builder: Any, items: Sequence[Any], *, write: Callable[[Any], None] | None = None) -> int:
    builder.StartVector(4, len(items), 4)
    for item in reversed(items):
        (write or builder.PrependUOffsetTRelative)(item)
    return int(builder.EndVector())
