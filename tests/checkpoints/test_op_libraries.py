"""The process that runs a SavedModel may import neither Keras nor packages that do. Of a package that the job names, it loads the
native libraries that define what the graph needs.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from liteferry.sandbox import Flavor, Limits
from tests.support.units import run_unit

OPERATION = "LiteFerryTwice"
SOURCE = """
void *TF_NewOpDefinitionBuilder(const char *name);
void TF_OpDefinitionBuilderAddInput(void *builder, const char *spec);
void TF_OpDefinitionBuilderAddOutput(void *builder, const char *spec);
void *TF_NewStatus(void);
void TF_DeleteStatus(void *status);
void TF_RegisterOpDefinition(void *builder, void *status);

__attribute__((constructor)) static void register_operation(void) {
  void *builder = TF_NewOpDefinitionBuilder("%s");
  TF_OpDefinitionBuilderAddInput(builder, "x: float");
  TF_OpDefinitionBuilderAddOutput(builder, "y: float");
  void *status = TF_NewStatus();
  TF_RegisterOpDefinition(builder, status);
  TF_DeleteStatus(status);
}
"""
GRAPH = """
import sys
from liteferry.commands.inspect.child import protobufs_alone
protobufs_alone()
from tensorflow.core.protobuf import saved_model_pb2
model = saved_model_pb2.SavedModel()
graph = model.meta_graphs.add().graph_def
graph.node.add(name="x", op="Placeholder")
function = graph.library.function.add()
function.node_def.add(name="y", op=sys.argv[1])
open(sys.argv[2], "wb").write(model.SerializeToString())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package with two libraries, of which one cannot be loaded, another with none, and a SavedModel."""
    compiler, spec = shutil.which("cc"), importlib.util.find_spec("tensorflow")
    if compiler is None:
        pytest.skip("no C compiler")
    assert spec is not None and spec.submodule_search_locations
    for package in ("twice_ops", "other_ops"):
        (tmp_path / package / "native").mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("raise ImportError('this package imports Keras')\n")
    (tmp_path / "twice_ops" / "native" / "_broken.so").write_bytes(b"no library")
    (tmp_path / "source.c").write_text(SOURCE % OPERATION)
    at = ["-L", spec.submodule_search_locations[0], "-l:libtensorflow_framework.so.2"]
    library = tmp_path / "twice_ops" / "native" / "_twice.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "source.c", *at], check=True)
    (tmp_path / "model").mkdir()
    return tmp_path


def test_a_library_is_loaded_that_defines_a_missing_operation(folder: Path) -> None:
    graph: list[str | Path] = [sys.executable, "-c", GRAPH, OPERATION, folder / "model" / "saved_model.pb"]
    subprocess.run(graph, check=True)
    turns = [[], ["other_ops"], [str(folder / "twice_ops" / "__init__.py")], ["not_installed"], ["other_ops", "twice_ops"]]
    outcome = run_unit(
        "tests.checkpoints.op_library_units:register",
        (str(folder), OPERATION, turns),
        flavor=Flavor.CLEAN,
        limits=Limits(seconds=60, memory_bytes=8 * 10**9),
        readable=[str(folder)],
    )
    assert outcome.error is None, outcome.error
    *before, last = outcome.results
    nothing = {"registered": False, "loaded": [], "imported": []}
    assert before == [nothing] * 4
    assert last == {"registered": True, "loaded": ["_twice.so"], "imported": []}
