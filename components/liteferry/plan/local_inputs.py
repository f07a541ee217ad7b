"""Copies a plan's remote inputs to the local cache while a sandbox runs; results and error messages keep the URIs.

Sandboxes have no network and no credentials, so they get local paths only. Nothing is copied for a job whose inputs are all
local.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from liteferry import sandbox, storage
from liteferry.checkpoints.reach import files_of_checkpoint
from liteferry.errors import Reason, ReasonCode, Stage, StorageError
from liteferry.loading.model import LoadSpec
from liteferry.plan import bound_rows, process_log
from liteferry.plan.model_plan import ModelPlan, distant_code
from liteferry.samples.local_copies import wanted_of, with_copies
from liteferry.sandbox import Outcome, SandboxSpec
from liteferry.sandbox.client import no_cleanup
from liteferry.sandbox.readable import module_paths
from liteferry.sandbox.units import Unit
from liteferry.storage import local_cache
from liteferry.storage.local_cache import Copies, Wanted

if TYPE_CHECKING:
    from liteferry.config.job import SamplesSpec
    from liteferry.samples.sample_set import SampleSet


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputNeeds:
    """Which inputs of a plan are needed: its checkpoint, the user's code and assets, and some shards of the samples."""

    checkpoint: bool = False
    code: bool = False
    shards: Collection[int] = ()


@dataclasses.dataclass(frozen=True)
class LocalInputs:
    """`plans` with local paths in place of URIs. `problems`: model_id -> why an input of its plan cannot be copied."""

    plans: tuple[ModelPlan, ...]
    problems: dict[str, Reason]
    _copies: Copies

    def run(
        self, unit: Unit, argument: Any, spec: SandboxSpec, *, before_retry: Callable[[], None] | None = no_cleanup
    ) -> Outcome:
        """`sandbox.run` of a unit that may read what its plans name; results and errors name URIs, not local copies."""
        return self._told(self.plans, unit, sandbox.run(unit, argument, self._may_read(spec), before_retry=before_retry))

    @contextlib.contextmanager
    def session(self, unit: Unit, argument: Any, spec: SandboxSpec) -> Iterator[Pieces]:
        """`sandbox.session` of a unit whose pieces are about one plan each, likewise."""
        with sandbox.session(unit, argument, self._may_read(spec)) as session:
            yield Pieces(session, lambda plan, outcome: self._told([plan], unit, outcome))

    def _may_read(self, spec: SandboxSpec) -> SandboxSpec:
        return dataclasses.replace(spec, readable=[path for plan in self.plans for path in readable_of(plan)])

    def _told(self, plans: Sequence[ModelPlan], unit: Unit, outcome: Outcome) -> Outcome:
        outcome = outcome.translated(self._copies.in_uris) if self._copies.paths else outcome
        process_log.note(plans, unit, outcome)
        return outcome


class Pieces:
    """The pieces of work of one process, each about one plan."""

    def __init__(self, session: sandbox.Session, told: Callable[[ModelPlan, Outcome], Outcome]) -> None:
        self._session, self._told = session, told

    @property
    def is_waiting(self) -> bool:
        """Whether the process can be asked for another piece."""
        return self._session.is_waiting

    def next(self, plan: ModelPlan, item: Any = None) -> Outcome:
        """The outcome of the next piece, which is about `plan`; see `sandbox.Session.next`."""
        return self._told(plan, self._session.next(item))


@contextlib.contextmanager
def hold_inputs(plans: Sequence[ModelPlan], needs: Callable[[ModelPlan], InputNeeds]) -> Iterator[LocalInputs]:
    """Holds copies of all inputs that the plans need while the context lasts.

    Raises:
      NoRoomError: together they are larger than the cache.
    """
    wanted = [(plan, *one) for plan in plans for one in _wanted(plan, needs(plan))]
    with local_cache.lease([one for _, one, _ in wanted]) as copies:
        problems: dict[str, Reason] = {}
        for plan, one, stage in wanted:
            problem = copies.problems.get(one.uris[0])
            if problem is not None:
                problems.setdefault(plan.model_id, storage_reason(problem, stage))
        yield LocalInputs(tuple(_local(plan, copies) for plan in plans), problems, copies)


def storage_reason(error: StorageError, stage: Stage) -> Reason:
    """The reason of a model whose inputs could not be copied."""
    return Reason(code=ReasonCode.STORAGE_FAILED, stage=stage, message=str(error))


def _wanted(plan: ModelPlan, needs: InputNeeds) -> Iterator[tuple[Wanted, Stage]]:
    if needs.checkpoint and storage.is_remote(plan.uri):
        yield Wanted(uris=plan.files or (plan.uri,), stamp=plan.stamp), Stage.LOAD
    for files in distant_code(plan) if needs.code else ():
        yield Wanted(uris=files, stamp=plan.code_stamps.get(files[0])), Stage.LOAD
    if plan.samples.sample_set is not None:
        for one in wanted_of(plan.samples.sample_set.shards[index] for index in needs.shards):
            yield one, Stage.SAMPLES


def readable_of(plan: ModelPlan) -> list[str]:
    """The local paths that a process may read to work on a plan: the checkpoint, the rows, the user's code with the files that
    the job names for it, and the artifacts made so far.
    """
    found = [*files_of_checkpoint(plan.checkpoint_path, plan.load.links), *readable_for_code(plan.load)]
    found += plan.asset_paths()
    samples = plan.samples
    if samples.sample_set is not None:
        found += files_of_samples(samples.sample_set, samples.spec)
    return [path for path in (*found, *bound_rows.work_directories(plan)) if not storage.is_remote(path)]


def files_of_samples(sample_set: SampleSet, spec: SamplesSpec | None) -> list[str]:
    """The files with the rows."""
    parts = [part for shard in sample_set.shards for part in (shard, *shard.more)]
    schema = [spec.schema_file] if spec is not None and spec.schema_file else []
    return list(dict.fromkeys([*(part.copy or part.path for part in parts), *schema]))


def readable_for_code(load: LoadSpec) -> list[str]:
    """The user's modules, the code beside them, files that are passed to a builder, and what the job lists under `reads`."""
    named = [*load.modules, *([load.builder.partition(":")[0]] if load.builder else [])]
    named += [reference.partition(":")[0] for reference in load.custom_objects.values()]
    arguments = [text for text in _texts(load.builder_args) if os.path.isabs(text) and os.path.isfile(text)]
    return [*(path for module in dict.fromkeys(named) for path in module_paths(module)), *arguments, *load.reads]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)


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
        file_facts=plan.file_facts and plan.file_facts.mapped(names={}, paths=copies.paths),
    )
