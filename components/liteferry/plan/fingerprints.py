"""The digest, size and sibling family of a checkpoint. They are computed once, and taken from the cache where the store reports
that the checkpoint has not changed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import glob as globbing
from collections.abc import Callable

from liteferry import storage
from liteferry.checkpoints.gathered import SHARDED
from liteferry.checkpoints.reach import beside, leads_out
from liteferry.errors import StorageError
from liteferry.plan.model_plan import ModelPlan, sha256_of
from liteferry.storage import digest_cache, local_cache
from liteferry.storage.local_cache import Wanted


def files_of(uri: str) -> list[str]:
    """The files of a checkpoint. A TensorFlow checkpoint is named by its index, with data files beside it; sharded weights by
    the JSON file that lists the shards; weights may have their architecture beside them. Any other checkpoint is the named file
    or folder.
    """
    if not storage.is_remote(uri):
        return [uri, *beside(uri)]
    if uri.endswith(SHARDED):
        return [uri, *storage.glob(f"{globbing.escape(uri.removesuffix(SHARDED))}_?????.weights.h5")]
    if uri.endswith(".index"):
        return [uri, *storage.glob(f"{globbing.escape(uri.removesuffix('.index'))}.data-*")]
    return [uri]


def fingerprint(plan: ModelPlan, *, with_family: bool = True) -> ModelPlan:
    """The plan with the checkpoint's digest, size and, unless `with_family` is False, family, which takes a scan. A checkpoint
    that cannot be read in two attempts keeps None; loading will report why.

    A checkpoint on a store that has not changed since this machine took its digest is not read: then the plan `is_remembered`,
    and has no family. See `read_remembered`.
    """
    return _twice(functools.partial(_recalled, with_family=with_family), plan)


def read_remembered(plan: ModelPlan) -> ModelPlan:
    """`fingerprint` that always reads the checkpoint."""
    return _twice(_read, plan) if plan.is_remembered else plan


def _twice(take: Callable[[ModelPlan], ModelPlan], plan: ModelPlan) -> ModelPlan:
    for _ in range(2):
        with contextlib.suppress(StorageError, OSError):
            return take(plan)
    return dataclasses.replace(plan, digest=None, size_bytes=None, is_remembered=False)


def _recalled(plan: ModelPlan, *, with_family: bool) -> ModelPlan:
    if not storage.is_remote(plan.uri):
        return _read(plan, with_family=with_family)
    files = tuple(files_of(plan.uri))
    seen = local_cache.seen(files)
    known = digest_cache.lookup(files, seen.mark)
    if known is None:
        return _read(plan, with_family=with_family)
    return dataclasses.replace(
        plan, digest=known.digest, size_bytes=known.size_bytes, files=files, stamp=seen.stamp, is_remembered=True
    )


def _read(plan: ModelPlan, *, with_family: bool = True) -> ModelPlan:
    from liteferry.plan.siblings import share_key_of

    if not storage.is_remote(plan.uri) and leads_out(storage.require_local(plan.uri), plan.load.links):
        return dataclasses.replace(plan, digest=None, size_bytes=None, is_remembered=False)
    files = tuple(files_of(plan.uri))
    seen = local_cache.seen(files) if storage.is_remote(plan.uri) else None
    with local_cache.lease([Wanted(uris=files, stamp=seen.stamp if seen else None)]) as copies:
        copies.raise_problems()
        parts = [copies.path(file) for file in files]
        digests = [storage.digest(part) for part in parts]
        digest = digests[0] if len(parts) == 1 else sha256_of(digests)
        size_bytes = sum(storage.size_bytes(part) for part in parts)
        # A user's function may read values of the model while it is traced; such a graph cannot be shared.
        has_family = with_family and not plan.signatures
        share_key = None if not has_family else share_key_of(parts[0], recipe_digest=plan.recipe_digest, load=plan.load)
    if seen:
        digest_cache.store(files, seen.mark, digest_cache.Known(digest, size_bytes))
    return dataclasses.replace(
        plan,
        digest=digest,
        size_bytes=size_bytes,
        share_key=share_key,
        files=files,
        stamp=seen.stamp if seen else None,
        is_remembered=False,
    )
