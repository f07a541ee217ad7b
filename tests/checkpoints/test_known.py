"""What `check` remembers of siblings: equal architectures are judged once, and weights that differ in their numbers alone are not
looked over again; weights that differ in anything else are.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from liteferry.checkpoints import detection, h5_files
from liteferry.checkpoints.known import Known, Layout
from liteferry.errors import ModelError
from tests.commands.test_newcomers import write_model


def weights(seed: int, *, name: str = "0", link: bool = False) -> bytes:
    """Two arrays as Keras writes them; with a link to another file in place of the second."""
    stream = io.BytesIO()
    random = np.random.default_rng(seed)
    with h5py.File(stream, "w") as file:
        file[f"layers/dense/vars/{name}"] = random.normal(size=(4, 3)).astype(np.float32)
        if link:
            file["layers/dense/vars/1"] = h5py.ExternalLink("/etc/passwd", "/")
        else:
            file["layers/dense/vars/1"] = random.normal(size=3).astype(np.float32)
    return stream.getvalue()


def places(content: bytes) -> list[tuple[int, int]] | None:
    with h5py.File(io.BytesIO(content), "r") as file:
        return h5_files.refuse_unsafe("m", file, stored_bytes=len(content))


def test_a_layout_is_that_of_all_files_that_differ_in_numbers_alone() -> None:
    first = weights(0)
    found = places(first)
    assert found is not None and [size for _, size in sorted(found)] == [48, 12]
    layout = Layout.of(memoryview(first), found)
    assert layout is not None
    assert layout.is_of(memoryview(weights(1)))
    assert not layout.is_of(memoryview(weights(1, name="2")))
    assert not layout.is_of(memoryview(weights(1, link=True)))


@pytest.mark.parametrize("data", [[(0, 8), (4, 8)], [(0, 10_000_000)]])
def test_arrays_that_overlap_or_reach_beyond_the_file_are_no_layout(data: list[tuple[int, int]]) -> None:
    assert Layout.of(memoryview(bytes(100)), data) is None


def test_arrays_in_pieces_are_looked_over_every_time() -> None:
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        file.create_dataset("x", data=np.zeros((8, 8)), chunks=(2, 2))
    assert places(stream.getvalue()) is None


def put(path: Path, content: bytes) -> str:
    import zipfile

    write_model(path)
    with zipfile.ZipFile(path) as archive:
        kept = {name: archive.read(name) for name in ("config.json", "metadata.json")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in kept.items():
            archive.writestr(name, text)
        archive.writestr("model.weights.h5", content)
    return str(path)


def test_siblings_share_their_architecture_and_hostile_weights_among_them_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    honest = h5_files._look_over

    def counted(*given: Any) -> Any:
        looked.append(given[0])
        return honest(*given)

    monkeypatch.setattr(h5_files, "_look_over", counted)
    known = Known()
    first = detection.look(put(tmp_path / "a.keras", weights(0)), known=known)
    second = detection.look(put(tmp_path / "b.keras", weights(1)), known=known)
    assert second.config is first.config and len(looked) == 1
    with pytest.raises(ModelError, match="is a link to another file"):
        detection.look(put(tmp_path / "c.keras", weights(2, link=True)), known=known)
    detection.look(str(tmp_path / "b.keras"))
    assert len(looked) == 3, "without a memory each file is looked over"
