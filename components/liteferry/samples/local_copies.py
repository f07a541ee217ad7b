"""Sample files on object stores: reads them from this machine's cache; results and errors name their URIs."""

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
    """The local path of a sample file while the context lasts: the file itself, or `copy` if one was made already, or a new copy.

    Raises:
      SamplesError: STORAGE_FAILED when the file cannot be fetched, or has changed since `stamp`; errors raised inside the
        context, with the URI.
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
    """The remote files that must be in the cache to read these shards, each once."""
    parts = [part for shard in shards for part in (shard, *shard.more) if storage.is_remote(part.path)]
    return list(dict.fromkeys(Wanted(uris=(part.path,), stamp=part.stamp) for part in parts))


def with_copies(sample_set: SampleSet, paths: Mapping[str, str]) -> SampleSet:
    """The sample set with local copies of its files; `paths`: by URI."""
    return dataclasses.replace(sample_set, shards=tuple(_with_copies(shard, paths) for shard in sample_set.shards))


def _with_copies(shard: Shard, paths: Mapping[str, str]) -> Shard:
    more = tuple(_with_copies(part, paths) for part in shard.more)
    return dataclasses.replace(shard, copy=paths.get(shard.path, shard.copy), more=more)
