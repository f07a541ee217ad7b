"""Exports in which LiteFerry's own loader makes a mistake, for tests that the second opinion notices it. Run in sandboxes."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Sequence
from typing import Any


def off_by_a_hundredth(plans: Sequence[Any], reporter: Any) -> None:
    """Every floating point answer of what the loader returns is a hundredth too large, every whole number one."""

    def changed(outputs: Any) -> Any:
        import tensorflow as tf

        return {name: value * 1.01 if value.dtype.is_floating else value + tf.ones_like(value) for name, value in outputs.items()}

    _export(plans, reporter, lambda model: dataclasses.replace(model, call=lambda tensors: changed(model.call(tensors))))


def one_output_dropped(plans: Sequence[Any], reporter: Any) -> None:
    """The last output of what the loader returns is lost."""
    _export(
        plans,
        reporter,
        lambda model: dataclasses.replace(model, call=lambda tensors: dict(list(model.call(tensors).items())[:-1])),
    )


def two_weights_swapped(plans: Sequence[Any], reporter: Any) -> None:
    """Two variables of one shape have each other's values."""

    def swapped(model: Any) -> Any:
        kernels = [weight for weight in model.keep.weights if len(weight.shape) > 1]
        first, second = next(
            (a, b) for at, a in enumerate(kernels) for b in kernels[at + 1 :] if tuple(a.shape) == tuple(b.shape)
        )
        value = first.numpy()
        first.assign(second.numpy())
        second.assign(value)
        return model

    _export(plans, reporter, swapped)


def in_one_of_several(plans: Sequence[Any], reporter: Any) -> None:
    """A fault for the model `wrong` and one for the model `swapped`, none for others."""
    from liteferry.exporting import export

    faults = {"wrong": off_by_a_hundredth, "swapped": two_weights_swapped}
    faults.get(plans[0].model_id, export.export_models)(plans, reporter)


def aborts_on_one_weight(plans: Sequence[Any], reporter: Any) -> None:
    """The process dies as soon as it has loaded the model whose file is called `sweep_3`, alone or among its siblings."""
    from liteferry import checkpoints
    from liteferry.exporting import export

    examine = checkpoints.examine

    def examined(path: str, *arguments: Any, **keywords: Any) -> Any:
        if os.path.basename(path).startswith("sweep_3"):
            os.abort()
        return examine(path, *arguments, **keywords)

    checkpoints.examine = examined
    export.export_models(plans, reporter)


def _export(plans: Sequence[Any], reporter: Any, spoil: Any) -> None:
    from liteferry.exporting import export
    from liteferry.loading import loaders

    load = loaders.load

    def faulty(*arguments: Any, **keywords: Any) -> Any:
        return spoil(load(*arguments, **keywords))

    loaders.load = faulty
    export.export_models(plans, reporter)


def killed(request: Any, reporter: Any) -> None:
    """A second opinion that something outside kills, each time."""
    os.kill(os.getpid(), signal.SIGKILL)


def aborted(request: Any, reporter: Any) -> None:
    """A second opinion that takes its process with it."""
    os.abort()


def speechless(request: Any, reporter: Any) -> None:
    """A second opinion that ends without a word."""


def leaves_a_link(plans: Sequence[Any], reporter: Any) -> None:
    """An honest export that leaves a link beside its artifacts once the model's end has been told."""
    from liteferry.exporting import export

    export.export_models(plans, reporter)
    os.symlink("/etc/hostname", os.path.join(plans[0].staging_directory(), "notes.txt"))
