"""LiteFerry as a component of a TFX pipeline. docs/orchestration.md shows it at work.

    from liteferry.tfx import LiteFerry
    ferry = LiteFerry(models=trainer.outputs["model"], examples=example_gen.outputs["examples"])
    pusher = Pusher(model=ferry.outputs["exported_models"], model_blessing=ferry.outputs["blessing"], ...)

It needs the extra `tfx`, or TFX's authoring half alone (`ml-pipelines-sdk`): names are looked up when they are first used, and
nothing else in the package comes here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from liteferry.tfx.component import LiteFerry, LiteFerrySpec
    from liteferry.tfx.executor import Executor

__all__ = ["Executor", "LiteFerry", "LiteFerrySpec"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from liteferry.tfx import component, executor
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("tfx", "ml_metadata"):
            raise
        raise ImportError(
            f"liteferry.tfx.{name} needs TFX: pip install 'liteferry[tfx]', or ml-pipelines-sdk and ml-metadata alone "
            "(docs/orchestration.md says which versions)"
        ) from error
    return getattr(executor if name == "Executor" else component, name)
