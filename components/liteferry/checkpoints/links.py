"""Symbolic links in the paths of a job. One rule for every kind of checkpoint.

A path that the job spells out is followed: its author meant the target. A link found by a pattern or inside a folder may lead to
a place inside the checkpoint's own root. Any other target was chosen by somebody else, and needs `trust: [links]`.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection

from liteferry.errors import ModelError, ReasonCode, Stage

LINKS = "links"
# A cache of Hugging Face: `models--ORG--NAME/snapshots/REVISION/...` are links into `models--ORG--NAME/blobs`.
_CACHE = re.compile(r"^(?P<root>.*/(models|datasets|spaces)--[^/]+)/snapshots(/|$)")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LinkRule:
    """A rule for the allowed targets of links. `root`: the folder that a pattern searched, None for a path that the job writes
    out. `trusted`: links may lead anywhere.
    """

    root: str | None = None
    trusted: bool = False

    @classmethod
    def of(cls, trust: Collection[str], *, root: str | None = None) -> LinkRule:
        """The rule of a job's `trust` list."""
        return cls(root=root, trusted=LINKS in trust)


WRITTEN_OUT = LinkRule()


def root_of(folder: str) -> str:
    """The folder that counts as one unit with `folder`: for a snapshot in a Hugging Face cache the model's folder there, else
    itself.
    """
    real = os.path.realpath(folder)
    cache = _CACHE.match(real)
    if cache and os.path.isdir(os.path.join(cache["root"], "blobs")):
        return cache["root"]
    return real


def follow(path: str, rule: LinkRule) -> str:
    """The real path of a checkpoint.

    Raises:
      ModelError: LOAD_UNSAFE for a link out of the folder that a pattern searched.
    """
    real = os.path.realpath(path)
    if rule.root is not None and not rule.trusted and not is_inside(real, root_of(rule.root)):
        raise _leads_out(path, path, real, root_of(rule.root))
    return real


def follow_part(checkpoint: str, folder: str, name: str, rule: LinkRule) -> str:
    """The real path of a file in a checkpoint's folder.

    Args:
      checkpoint: as the job names it, for errors.
      folder: where the checkpoint lies, without links.
      name: of the file below it.

    Raises:
      ModelError: LOAD_UNSAFE for a link out of the folder, or out of the cache that it is in.
    """
    place = os.path.join(folder, name)
    real = os.path.realpath(place)
    root = root_of(folder)
    if rule.trusted or is_inside(real, root) or (rule.root is not None and is_inside(real, root_of(rule.root))):
        return real
    raise _leads_out(checkpoint, name, real, root)


def reachable(folder: str, rule: LinkRule) -> list[str]:
    """The real places that a checkpoint's folder may lead to by links, itself first: a process that reads it needs read access
    to them.
    """
    real = os.path.realpath(folder)
    roots = [root_of(real)] if rule.root is None else [root_of(real), root_of(rule.root)]
    targets = []
    for inside, folders, names in os.walk(real):
        places = [os.path.join(inside, name) for name in (*folders, *names)]
        targets += [os.path.realpath(place) for place in places if os.path.islink(place)]
    allowed = [target for target in targets if rule.trusted or any(is_inside(target, root) for root in roots)]
    return list(dict.fromkeys([real, *allowed]))


def is_inside(path: str, root: str) -> bool:
    """Whether a path without links is `root` or below it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def _leads_out(checkpoint: str, link: str, target: str, root: str) -> ModelError:
    named = "it" if link == checkpoint else link
    return ModelError(
        ReasonCode.LOAD_UNSAFE,
        Stage.LOAD,
        f"{checkpoint}: {named} is a link to {target}, outside {root}, and the job does not name that place; nothing of it was "
        "read. Name the file itself under `checkpoints`, or add `trust: [links]` to the job file if you trust its maker",
    )
