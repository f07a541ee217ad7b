"""The only room that imports Beam: the pipeline, its stages, and the options of runners. Importing the room itself does not
import Beam.
"""

from typing import TYPE_CHECKING, Any

from liteferry.pipeline.run_request import RunRequest

if TYPE_CHECKING:
    from liteferry.pipeline.batch_export import BatchExport, run

__all__ = ["BatchExport", "RunRequest", "run"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from liteferry.pipeline import batch_export

    return getattr(batch_export, name)
