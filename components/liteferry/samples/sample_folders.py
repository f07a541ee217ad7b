"""Resolves a folder given as samples: the files to read in it, or the folder itself if it is one set of rows as a whole."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence

from liteferry import storage
from liteferry.errors import ReasonCode, SamplesError
from liteferry.samples.formats import media_folder, registry

_SPLIT = "Split-"
_EVALUATION_SPLITS = ("eval", "test", "validation")


def files_of(folder: str) -> list[str]:
    """The paths to read for a local folder.

    - images or .wav files, perhaps in a subfolder for each class, and a saved `tf.data` dataset: the folder itself;
    - a dataset of Hugging Face or of TFDS, and TFX's Examples: the files of its only split, or of `eval` in TFX's;
    - else its files, if all are of known formats of samples.

    Raises:
      SamplesError: SAMPLES_MISSING if there is nothing to read, or if there are several splits; the message names them.
    """
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    if registry.is_saved_dataset(folder):
        return [folder]
    if "dataset_dict.json" in names:
        return files_of(_only(folder, [name for name in names if os.path.isfile(os.path.join(folder, name, "state.json"))]))
    if "state.json" in names and "dataset_info.json" in names:
        return _all(folder, [name for name in names if name.endswith(".arrow")])
    if "features.json" in names and "dataset_info.json" in names:
        return _of_tfds(folder, names)
    splits = [name for name in names if name.startswith(_SPLIT)]
    if splits:
        return files_of(os.path.join(folder, _tfx_split(folder, splits)))
    readable = [name for name in names if registry.is_known(os.path.join(folder, name))]
    if readable:
        return _all(folder, readable)
    if media_folder.files_in(folder):
        return [folder]
    raise _nothing(folder, names)


_SCHEMA_PLACES = ("schema.pbtxt", "transformed_metadata/schema.pbtxt", "transform_graph/transformed_metadata/schema.pbtxt")


def schema_of(path: str, said: str | None) -> str | None:
    """The file of the schema that TFRecord files have: what the job says, in a folder of TFX's SchemaGen or Transform the file in
    it; else what Transform has written beside the examples that `path` names: `transform_graph/N` beside
    `transformed_examples/N`.
    """
    if said is not None:
        is_folder = not said.endswith((".pbtxt", ".pb")) and storage.is_directory(said)
        inside = [storage.join(said, name) for name in _SCHEMA_PLACES] if is_folder else []
        return next((place for place in inside if storage.exists(place)), said)
    above, name, below = path.rpartition(f"/{_TRANSFORMED}/")
    if not name or storage.is_remote(path):
        return None
    place = os.path.join(above, "transform_graph", below.partition("/")[0], _SCHEMA_PLACES[1])
    return place if os.path.isfile(place) else None


_TRANSFORMED = "transformed_examples"


def _all(folder: str, names: Sequence[str]) -> list[str]:
    if not names:
        raise _nothing(folder, names)
    return [os.path.join(folder, name) for name in names]


def _only(folder: str, splits: Sequence[str]) -> str:
    if len(splits) == 1:
        return os.path.join(folder, splits[0])
    raise _choose(folder, splits, f"{folder}/{splits[0] if splits else 'SPLIT'}")


def _of_tfds(folder: str, names: Sequence[str]) -> list[str]:
    """Files of a TFDS folder are called DATASET-SPLIT.tfrecord-00000-of-00001."""
    files = [name for name in names if ".tfrecord" in name]
    splits = sorted({name.partition(".tfrecord")[0] for name in files})
    if not files:
        kinds = sorted({os.path.splitext(name.partition("-of-")[0])[0].rpartition(".")[2] for name in names if "-of-" in name})
        told = f"{folder}: a TFDS folder of {', '.join(kinds) or 'no'} files, and only TFRecord ones are read"
        raise _missing(f"{told}; prepare it with `builder.download_and_prepare(file_format='tfrecord')`")
    if len(splits) > 1:
        raise _choose(folder, [split.rpartition("-")[2] for split in splits], f"'{folder}/{splits[0]}.tfrecord*'")
    return _all(folder, files)


def _tfx_split(folder: str, splits: Sequence[str]) -> str:
    """Prefers `eval`: rows that the model was not trained on prove it equally well, and are fewer."""
    if len(splits) == 1:
        return splits[0]
    for name in _EVALUATION_SPLITS:
        if f"{_SPLIT}{name}" in splits:
            return f"{_SPLIT}{name}"
    raise _choose(folder, splits, f"{folder}/{splits[0]}")


def _choose(folder: str, splits: Sequence[str], example: str) -> SamplesError:
    listed = ", ".join(splits) or "none"
    return _missing(f"{folder}: holds several splits ({listed}); name the one you mean, for example {example}")


def _nothing(folder: str, names: Sequence[str]) -> SamplesError:
    known = [name for name in names if fnmatch.fnmatch(name, "*.*")][:5]
    there = f"there are {', '.join(known)}" if known else "it has no files"
    return _missing(
        f"{folder}: is a folder without samples; {there}. Give {registry.FORMATS}, or a folder of images or .wav files"
    )


def _missing(message: str) -> SamplesError:
    return SamplesError(ReasonCode.SAMPLES_MISSING, message)
