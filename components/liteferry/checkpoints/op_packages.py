"""Maps operations that TensorFlow itself does not have, by the prefix of their names, to the Python package that registers them
when imported. Taken from the packages' own operation definitions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from liteferry.errors import ModelError, ReasonCode, Stage

_TEXT = "tensorflow_text"
_FORESTS = "tensorflow_decision_forests"  # ydf writes such models by way of it, and registers no operation itself
STARTS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("Sentencepiece", "Wordpiece", "FastWordpiece", "FastBert", "FastSentencepiece"), _TEXT),
        **dict.fromkeys(("WhitespaceTokenize", "TFText>", "ByteSplit", "SplitMergeTokenize", "SentenceFragments"), _TEXT),
        **dict.fromkeys(("CaseFoldUTF8", "NormalizeUTF8", "UnicodeScriptTokenize", "ConstrainedSequence", "RougeL"), _TEXT),
        **dict.fromkeys(("MaxSpanningTree", "NgramsStringJoin", "PhraseTokenize", "Utf8Binarize", "SegmentBoundary"), _TEXT),
        "SimpleML": _FORESTS,
        "Addons>": "tensorflow_addons",
        **dict.fromkeys(("IO>", "TFIO>"), "tensorflow_io"),
    }
)


def package_of(operation: str) -> str | None:
    """The package that registers an operation, if its name shows it."""
    return next((package for start, package in STARTS.items() if operation.startswith(start)), None)


def provides(modules: Iterable[str], operation: str) -> bool:
    """Whether one of the job's modules is the package that registers an operation."""
    return any(module.partition(".")[0] == package_of(operation) for module in modules)


def unknown_operations(path: str, operations: Collection[str]) -> ModelError:
    """The error of a graph whose operations nothing has registered."""
    return ModelError(
        ReasonCode.LOAD_UNKNOWN_OPERATION,
        Stage.LOAD,
        f"{path}: its graph needs operations that TensorFlow does not have ({', '.join(sorted(operations)[:8])}); list the "
        f"package that registers them under `modules` (--modules){in_words(operations)}, and install it where it runs",
    )


def in_words(operations: Iterable[str]) -> str:
    """` (it is tensorflow_text)`, the packages that operations come from; "" if no name shows one."""
    found = sorted({package for name in operations if (package := package_of(name)) is not None})
    return f" (it is {' and '.join(found)})" if found else ""
