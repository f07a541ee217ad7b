"""Sample files on object stores: read from this machine's cache, called by their URIs in whatever is said of them."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from liteferry import storage
from liteferry.errors import ReasonCode, SamplesError, StorageError
from liteferry.storage import local_cache
from liteferry.storage.local_cache import Wanted

if TYPE_CHECKING:
    from liteferry.samples.sample_set import SampleSet, Shard


@contextlib.contextmanager
def readable(uri: str, *, stamp: str | None = None, copy: str | None = None) -> Iterator[str]:
    """The local path of a sample file while the context lasts: `copy`, if somebody holds one already; of a local file, itself.

    Raises:
      SamplesError: STORAGE_FAILED when it cannot be had, or is not what it was at `stamp`; what is raised inside, with the URI.
    """
    if not storage.is_remote(uri):
        yield storage.require_local(uri)
        return
    path = copy
    try:
        if path is not None:
            yield path
            return
        with local_cache.localise(uri, stamp=stamp) as path:
            yield path
    except StorageError as error:
        raise SamplesError(ReasonCode.STORAGE_FAILED, str(error)) from error
    except SamplesError as error:
        raise SamplesError(error.reason.code, error.reason.message.replace(path or uri, uri)) from error


def wanted_of(shards: Iterable[Shard]) -> list[Wanted]:
    """What has to be at hand to read these shards, each file once."""
    parts = [part for shard in shards for part in (shard, *shard.more) if storage.is_remote(part.path)]
    return list(dict.fromkeys(Wanted(uris=(part.path,), stamp=part.stamp) for part in parts))


def with_copies(sample_set: SampleSet, paths: Mapping[str, str]) -> SampleSet:
    """The set with what it reads at those paths, by URI."""
    return dataclasses.replace(sample_set, shards=tuple(_with_copies(shard, paths) for shard in sample_set.shards))


def _with_copies(shard: Shard, paths: Mapping[str, str]) -> Shard:
    more = tuple(_with_copies(part, paths) for part in shard.more)
    return dataclasses.replace(shard, copy=paths.get(shard.path, shard.copy), more=more)
