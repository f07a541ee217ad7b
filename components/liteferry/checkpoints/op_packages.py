"""Maps operations that TensorFlow itself does not have, by the prefix of their names, to the Python package that registers them
when imported. Taken from the packages' own operation definitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

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


def in_words(operations: Iterable[str]) -> str:
    """` (it is tensorflow_text)`, the packages that operations come from; "" if no name shows one."""
    found = sorted({package for name in operations if (package := package_of(name)) is not None})
    return f" (it is {' and '.join(found)})" if found else ""
