"""Fetches the pages' JavaScript libraries anew, at the versions pinned here: `python tools/vendor_assets.py` (needs npm).

What is fetched must have the digest that stands here; to raise a version, change it, run, and put in the digest it tells you
after a look at the library's changes. The tests compare the files in the package with these digests.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ROOT / "components" / "liteferry" / "report" / "assets"
TESTS = ROOT / "tests" / "browser" / "vendor"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Library:
    """One npm package: which of its files go where, each with its sha256."""

    name: str
    version: str
    folder: pathlib.Path
    files: dict[str, tuple[str, str]]  # path in the package -> (our file name, sha256)


LIBRARIES = (
    Library(
        name="chart.js",
        version="4.6.1",
        folder=PAGES,
        files={
            "dist/chart.umd.min.js": ("chart.min.js", "c17f2ce49fb9c71ef7fb39c03f868804ac5ab34730149976eebe6b7f807bef0c"),
            "LICENSE.md": ("chart.LICENSE.txt", "41a84aa2caba645f966a18d9c2056b73e6d3a81d80bc0046bc0011a2634d4cce"),
        },
    ),
    Library(
        name="datatables.net",
        version="3.1.5",
        folder=PAGES,
        files={
            "js/dataTables.min.js": ("datatables.min.js", "38017a5586acd9c6eb6bbfe8b6938e1a25bdc717c5acfcb07e0c9d663282c59d"),
            "License.txt": ("datatables.LICENSE.txt", "62b5fdd54371b4f6bd07a60dbc78b38814f49a8028213f540dc2733cad605382"),
        },
    ),
    Library(
        name="axe-core",
        version="4.14.1",
        folder=TESTS,
        files={
            "axe.min.js": ("axe.min.js", "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"),
            "LICENSE": ("axe.LICENSE.txt", "af175b9d96ee93c21a036152e1b905b0b95304d4ae8c2c921c7609100ba8df7e"),
        },
    ),
)


def fetch(library: Library) -> list[str]:
    """Writes the library's files. Returns what is wrong with them; a file with another digest is not written."""
    problems = []
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", "--pack-destination", scratch, f"{library.name}@{library.version}"]
        subprocess.run(command, check=True, cwd=scratch)
        (packed,) = pathlib.Path(scratch).glob("*.tgz")
        with tarfile.open(packed) as archive:
            for path, (name, expected) in library.files.items():
                member = archive.extractfile(f"package/{path}")
                if member is None:
                    problems.append(f"{library.name} {library.version}: {path} is no file")
                    continue
                content = without_source_map(member.read())
                found = hashlib.sha256(content).hexdigest()
                if found == expected:
                    library.folder.mkdir(parents=True, exist_ok=True)
                    (library.folder / name).write_bytes(content)
                else:
                    problems.append(f"{library.name} {library.version}: {path} has sha256 {found}, not {expected}")
    return problems


def without_source_map(content: bytes) -> bytes:
    """A reference to a source map makes developer tools ask for a file that is not vendored."""
    lines = [line for line in content.splitlines(keepends=True) if not line.startswith(b"//# sourceMappingURL=")]
    return b"".join(lines)


def main() -> int:
    """Fetches every library; exit status 1 when one is not what it was."""
    problems = [problem for library in LIBRARIES for problem in fetch(library)]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
