"""Whether a number makes the same input in another process, for `test_config_fuzz`. In a sandbox: it needs the libraries."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.campaigns.fuzz import config_mutations
from tests.campaigns.fuzz.graph_mutations import GraphMutator, Seed, seeds

_NUMBERS = range(200)


def tell(request: None, reporter: Any) -> None:
    """Hands over, for graphs and for architectures, the numbers that came out otherwise where a process differs."""
    reporter.result({"graphs": _differing(*_graphs()), "architectures": _differing(*_architectures())})


def _differing(one: Iterator[str], other: Iterator[str]) -> list[str]:
    return [f"{left} | {right}" for left, right in zip(one, other, strict=True) if left != right]


def _graphs() -> tuple[Iterator[str], Iterator[str]]:
    """Of seeds traced later, whose functions stand in the opposite order."""
    with tempfile.TemporaryDirectory() as folder:
        words = Path(folder, "words.txt")
        words.write_text("1 1\n")
        early, late = seeds(Path(folder, "early"), words), seeds(Path(folder, "late"), words)
    made = [GraphMutator(those, 7, ["/nowhere"]) for those in (early, [_turned(seed) for seed in late])]
    one, other = ((mutator.make(number)[2] for number in _NUMBERS) for mutator in made)
    return one, other


def _turned(seed: Seed) -> Seed:
    from tensorflow.core.protobuf import saved_model_pb2

    saved_model = saved_model_pb2.SavedModel.FromString(seed.content)
    library = saved_model.meta_graphs[0].graph_def.library
    functions = list(library.function)[::-1]
    del library.function[:]
    library.function.extend(functions)
    return Seed(folder=seed.folder, content=saved_model.SerializeToString())


def _architectures() -> tuple[Iterator[str], Iterator[str]]:
    """Where more modules are in memory."""
    made = config_mutations.seeds()
    one = [_text(config_mutations.Mutator(made, 7), number) for number in _NUMBERS]
    sys.modules["keras.src.planted"] = planted = ModuleType("keras.src.planted")
    vars(planted)["planted"] = print
    config_mutations.import_everything.cache_clear()
    return iter(one), (_text(config_mutations.Mutator(made, 7), number) for number in _NUMBERS)


def _text(mutator: config_mutations.Mutator, number: int) -> str:
    return json.dumps(mutator.make(number), default=str)
