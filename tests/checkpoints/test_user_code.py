"""The user's modules: files that import each other, and that a job names in any order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from liteferry.loading import user_code


@pytest.fixture
def modules(tmp_path: Path) -> Iterator[list[str]]:
    """A file that imports its neighbour and registers with it; the job names both."""
    (tmp_path / "uc_shapes.py").write_text("TABLE = {}\nclass Shape: pass\n")
    (tmp_path / "uc_circles.py").write_text(
        "import uc_shapes\nclass Circle(uc_shapes.Shape): pass\nuc_shapes.TABLE['circle'] = Circle\n"
    )
    yield [str(tmp_path / "uc_circles.py"), str(tmp_path / "uc_shapes.py")]
    for name in ("uc_shapes", "uc_circles"):
        sys.modules.pop(name, None)
    sys.path.remove(str(tmp_path))


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_that_its_neighbour_imported_is_not_imported_twice(modules: list[str], order: int) -> None:
    offered = user_code.gather(modules[::order], {})
    assert not offered.problems
    assert issubclass(offered.objects["Circle"], offered.objects["Shape"])
    assert user_code.resolve("uc_shapes:TABLE", key="builder") == {"circle": offered.objects["Circle"]}


def test_each_gathering_imports_anew_since_keras_may_mean_the_other_library(modules: list[str]) -> None:
    first, second = (user_code.gather(modules, {}).objects["Circle"] for _ in range(2))
    assert first is not second
