"""What a part of the kitchen sink is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import Run


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    """`writer`: Python that writes checkpoints into the working directory, which is the part's own; one process runs all writers,
    because Keras, tf_keras and TensorFlow are slow to import. `job`: is called before, writes what needs no such library into
    that folder, and says what the job gets: `models`, `samples`, `modules`, with whole paths.
    """

    name: str
    writer: str
    job: Callable[[Path, Run], dict[str, Any]]
