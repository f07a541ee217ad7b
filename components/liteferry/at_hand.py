"""What a piece of work needs from object stores, held on this machine while it runs, and called by its URI in what comes of it.

Sandboxes have no network and no credentials: they get local paths only. A job whose inputs are all local passes through as it is.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from liteferry import local_cache, sandbox, storage
from liteferry.errors import Reason, ReasonCode, Stage, StorageError
from liteferry.local_cache import Copies, Wanted
from liteferry.plan import ModelPlan, distant_code
from liteferry.sample_copies import wanted_of, with_copies


@dataclasses.dataclass(frozen=True, kw_only=True)
class Needs:
    """What of a plan is needed: its checkpoint, the user's code and assets, and which shards of the samples."""

    checkpoint: bool = False
    code: bool = False
    shards: Collection[int] = ()


@dataclasses.dataclass(frozen=True)
class AtHand:
    """`plans` with local paths where there were URIs. `problems`: model_id -> why something that its plan needs cannot be had."""

    plans: tuple[ModelPlan, ...]
    problems: dict[str, Reason]
    _copies: Copies

    def run(self, function: str, argument: Any, **options: Any) -> sandbox.Outcome:
        """`sandbox.run`; what comes of it speaks of URIs."""
        outcome = sandbox.run(function, argument, **options)
        if not self._copies.paths:
            return outcome
        return dataclasses.replace(
            outcome, results=self._copies.in_uris(outcome.results), error=self._copies.in_uris(outcome.error)
        )


@contextlib.contextmanager
def at_hand(plans: Sequence[ModelPlan], needs: Callable[[ModelPlan], Needs]) -> Iterator[AtHand]:
    """Holds copies of all that the plans need while the context lasts.

    Raises:
      NoRoomError: all of it together is more than the cache holds.
    """
    wanted = [(plan, *one) for plan in plans for one in _wanted(plan, needs(plan))]
    with local_cache.lease([one for _, one, _ in wanted]) as copies:
        problems: dict[str, Reason] = {}
        for plan, one, stage in wanted:
            problem = copies.problems.get(one.uris[0])
            if problem is not None:
                problems.setdefault(plan.model_id, storage_reason(problem, stage))
        yield AtHand(tuple(_local(plan, copies) for plan in plans), problems, copies)


def storage_reason(error: StorageError, stage: Stage) -> Reason:
    """Why a model ended whose inputs could not be had."""
    return Reason(code=ReasonCode.STORAGE_FAILED, stage=stage, message=str(error))


def _wanted(plan: ModelPlan, needs: Needs) -> Iterator[tuple[Wanted, Stage]]:
    if needs.checkpoint and storage.is_remote(plan.uri):
        yield Wanted(uris=plan.files or (plan.uri,), stamp=plan.stamp), Stage.LOAD
    for files in distant_code(plan) if needs.code else ():
        yield Wanted(uris=files, stamp=plan.code_stamps.get(files[0])), Stage.LOAD
    if plan.samples.sample_set is not None:
        for one in wanted_of(plan.samples.sample_set.shards[index] for index in needs.shards):
            yield one, Stage.SAMPLES


def _local(plan: ModelPlan, copies: Copies) -> ModelPlan:
    if not copies.paths:
        return plan
    samples = plan.samples
    if samples.sample_set is not None:
        samples = dataclasses.replace(samples, sample_set=with_copies(samples.sample_set, copies.paths))
    return dataclasses.replace(
        plan,
        path=copies.paths.get(plan.uri, plan.path),
        load=dataclasses.replace(plan.load, modules=tuple(copies.paths.get(module, module) for module in plan.load.modules)),
        signatures=tuple(
            dataclasses.replace(signature, assets={name: copies.paths.get(path, path) for name, path in signature.assets.items()})
            for signature in plan.signatures
        ),
        samples=samples,
    )
