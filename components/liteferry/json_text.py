"""JSON out of files that may be anybody's: nothing nests so deep that code which walks it level by level would fail."""

from __future__ import annotations

import json
from typing import Any

# A model inside a model takes four levels, a report has about ten.
MOST_LEVELS = 200


def parse(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for what is none, or nests deeper than `MOST_LEVELS`."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"it nests more than {MOST_LEVELS} levels deep") from None
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > MOST_LEVELS:
            raise ValueError(f"it nests more than {MOST_LEVELS} levels deep")
        children = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list)))
        level = [child for inside in children for child in inside]
    return value
