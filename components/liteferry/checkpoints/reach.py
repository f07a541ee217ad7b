"""The files of a checkpoint: what a process that loads it may read of the disk, without its neighbours."""

from __future__ import annotations

import glob as globbing
import os

from liteferry.checkpoints.gathered import companions
from liteferry.checkpoints.links import WRITTEN_OUT, LinkRule, follow, follow_part, is_inside, reachable, root_of
from liteferry.errors import ModelError


def files_of_checkpoint(path: str, links: LinkRule = WRITTEN_OUT) -> list[str]:
    """Files and folders that make up a local checkpoint.

    Args:
      path: a file, a folder, or the .index file or the prefix of a TensorFlow checkpoint.
      links: where symbolic links may lead.

    Returns:
      The real path itself, for an index also its data files, and the allowed targets of links. Nothing for a link that may not be
        followed: loading it raises the error.
    """
    real = os.path.realpath(path)
    if links.root is not None and not links.trusted and not is_inside(real, root_of(links.root)):
        return []
    prefix = path.removesuffix(".index")
    if (beside := companions(path)) and os.path.isfile(real):
        return [real, *(place for name in beside for place in reachable(name, links))]
    if not path.endswith(".index") and not os.path.isfile(f"{path}.index"):
        return reachable(path, links) if os.path.isdir(real) else [real]
    shards = globbing.glob(f"{globbing.escape(prefix)}.data-?????-of-?????")
    return [real, f"{prefix}.index", *(shard for shard in shards if not os.path.islink(shard)), *reachable(path, links)]


def leads_out(path: str, links: LinkRule) -> bool:
    """Whether a local checkpoint, or a link in its folder, leads to a place that links may not reach. A process without
    confinement, such as the launcher, reads nothing of such a checkpoint, not even for a digest: the link may lead anywhere on
    the disk.
    """
    try:
        real = follow(path, links)
        for above, folders, names in os.walk(real):
            for place in (os.path.join(above, name) for name in (*folders, *names)):
                if os.path.islink(place):
                    follow_part(path, real, os.path.relpath(place, real), links)
    except ModelError:
        return True
    return False
