"""What a reader is given: files made out of a seed, the same for the same numbers, on every machine."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.campaigns.fuzz import archives, hdf5, protos, raw, records, values

SEEDS = Path(__file__).parent / "seeds"
CORPUS = Path(__file__).parent / "corpus"
KEPT, TABLE = -1, -2  # in place of a seed: what is kept in the corpus, and what stands in the table


@dataclasses.dataclass(frozen=True)
class Link:
    """A symbolic link in place of a file."""

    target: str


Files = Mapping[str, "bytes | Link"]


@dataclasses.dataclass(frozen=True)
class Input:
    """Files by their path relative to a folder, and which of them the reader is told of."""

    entry: str
    files: Files

    def write(self, folder: Path) -> str:
        """Makes the files and returns the path of the entry."""
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Link):
                path.symlink_to(content.target)
            else:
                path.write_bytes(content)
        return os.path.join(folder, self.entry)


@functools.cache
def seed_files(kind: str) -> dict[str, bytes]:
    folder = SEEDS / kind
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


Change = Callable[[random.Random, bytes], bytes]


def _one_file(kind: str, change: Change, *, beside: Mapping[str, bytes] | None = None) -> Callable[[random.Random], Input]:
    """One of a kind's seeds, changed; the others are what it may be spliced with."""

    def make(rng: random.Random) -> Input:
        seeds = seed_files(kind)
        name = rng.choice(sorted(seeds))
        content = change(rng, seeds[name])
        if rng.random() < 0.03:
            other = seeds[rng.choice(sorted(seeds))]
            content = content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other)) :]
        return Input(entry=name, files={**(beside or {}), name: content})

    return make


def _samples(rng: random.Random) -> Input:
    seeds = seed_files("samples")
    name = rng.choice(sorted(set(seeds) - {"schema.pbtxt"}))
    if name.endswith(".npz"):
        content = archives.zipped(rng, seeds[name])
    elif ".tfrecord" in name:
        content = records.tfrecord(rng, seeds[name])
    elif name.endswith(".parquet"):
        content = records.parquet(rng, seeds[name])
    else:
        content = records.arrow(rng, seeds[name])
    files = {name: content}
    if ".tfrecord" in name and rng.random() < 0.3:
        files = {name: seeds[name], "schema.pbtxt": _text(rng, seeds["schema.pbtxt"])}
    return Input(entry=name, files=files)


def _text(rng: random.Random, content: bytes) -> bytes:
    """Words of a text swapped for others."""
    if rng.random() < 0.4:
        return raw.damage(rng, content)
    words = content.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(
        (raw.text(rng).encode("utf-8", "replace"), str(raw.integer(rng)).encode(), b"{", b"}")
    )
    return b" ".join(words)


def _saved_model(rng: random.Random) -> Input:
    seeds = seed_files("saved_model")
    top = rng.choice(("saved_model", "writes"))
    files: dict[str, bytes | Link] = {name: content for name, content in seeds.items() if name.startswith(f"{top}/")}
    graph, index = f"{top}/saved_model.pb", f"{top}/variables/variables.index"
    kind = rng.random()
    if kind < 0.75:
        files[graph] = protos.changed(rng, seeds[graph])
    elif kind < 0.88:
        files[index] = records.index(rng, seeds[index])
    elif kind < 0.96:
        name = f"{top}/{rng.choice(('assets/more', 'variables/more', 'more'))}"
        files[name] = Link(rng.choice(("/etc/hostname", "../../../canary/kept", ".", "..", "/", "more", "nowhere")))
    else:
        del files[rng.choice(sorted(files))]
    return Input(entry=top, files=files)


def _job(rng: random.Random) -> Input:
    seeds = seed_files("job")
    files: dict[str, bytes | Link] = {**seeds, **_JOB_FILES}
    entry = rng.choice(("job.yaml", "job.yaml", "job.json"))
    if rng.random() < 0.15:
        files["recipe.json"] = values.json_text(rng, seeds["recipe.json"])
    elif rng.random() < 0.1:
        files["eval_config.pbtxt"] = _text(rng, seeds["eval_config.pbtxt"])
        files["job.yaml"] = seeds["job.yaml"].split(b"metrics:")[0] + b"eval_config: eval_config.pbtxt\n"
        entry = "job.yaml"
    else:
        change = values.yaml_text if entry.endswith(".yaml") else values.json_text
        files[entry] = change(rng, seeds[entry])
    return Input(entry=entry, files=files)


def _vouch(files: dict[str, bytes | Link]) -> None:
    """Markers for the reports as they are now: somebody who means it would do as much."""
    from liteferry.output.model_folder import vouch_for

    for name in [name for name in files if name.endswith("/report.json")]:
        for marker in ("BLESSED", "NOT_BLESSED"):
            place = f"{os.path.dirname(name)}/{marker}"
            content = files[name]
            if place in files and isinstance(content, bytes):
                files[place] = vouch_for(content)


_JOB_FILES: dict[str, bytes] = {
    "my_models.py": b"def build(units=1):\n    raise AssertionError('reading a job runs nothing')\n",
    "vocabulary.txt": b"one\n",
    "a.keras": b"no checkpoint",
    "weights/b.h5": b"no checkpoint",
    "tf/c.index": b"no checkpoint",
    "rows.npz": b"no rows",
}


def _out(rng: random.Random) -> Input:
    """A finished run's folder with one of its files changed; `running` makes it look like one that goes on."""
    seeds = seed_files("out")
    files: dict[str, bytes | Link] = dict(seeds)
    texts = [name for name in sorted(seeds) if name.endswith((".json", ".jsonl"))]
    name = rng.choice(texts)
    if name.endswith(".jsonl"):
        lines = seeds[name].splitlines()
        at = rng.randrange(len(lines))
        lines[at] = values.json_text(rng, lines[at])
        files[name] = b"\n".join(lines) + b"\n" if rng.random() < 0.9 else raw.damage(rng, seeds[name])
    else:
        files[name] = values.json_text(rng, seeds[name])
    if rng.random() < 0.9:
        _vouch(files)
    if rng.random() < 0.3:
        files[".staging/submitted/1.json"] = values.json_text(rng, b'{"host": "laptop", "pid": 1, "since": 1700000000.0}')
    if rng.random() < 0.05:
        odd = rng.choice((Link("/"), Link("."), Link("../canary/kept"), Link("nowhere"), b"a file", b""))
        files[rng.choice(("models/odd", "models/mlp/odd", "fleet.json", "models/mlp/report.json", ".history/last_run.json"))] = (
            odd
        )
    return Input(entry=".", files=files)


MAKERS: dict[str, Callable[[random.Random], Input]] = {
    "keras": _one_file("keras", archives.zipped),
    "h5": _one_file("h5", hdf5.changed),
    "archive": _one_file(
        "archive", lambda rng, content: (archives.zipped if content.startswith(b"PK") else archives.tarred)(rng, content)
    ),
    "saved_model": _saved_model,
    "tf_checkpoint": _one_file("tf_checkpoint", records.index),
    "tflite": _one_file("tflite", records.tflite),
    "samples": _samples,
    "image": _one_file("image", records.image),
    "job": _job,
    "runner_config": _one_file("runner_config", values.yaml_text),
    "out": _out,
}


def kept(kind: str) -> list[str]:
    """Names of the kept inputs of a kind, sorted: those that broke something once."""
    return sorted(path.name for path in (CORPUS / kind).glob("*") if path.is_dir())


def _kept_input(kind: str, name: str) -> Input:
    """A kept input: the files that differ from a seed, over that seed's; see corpus/broke.json."""
    told = json.loads((CORPUS / "broke.json").read_text())[f"{kind}/{name}"]
    folder = CORPUS / kind / name
    files: dict[str, bytes | Link] = {} if not told["over_seed"] else _over_seed(kind)
    files |= {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    for link, target in told.get("links", {}).items():
        files[link] = Link(target)
    return Input(entry=told["entry"], files=files)


def _over_seed(kind: str) -> dict[str, bytes | Link]:
    return {**seed_files(kind), **(_JOB_FILES if kind == "job" else {})}


def keep(kind: str, seed: int, number: int, name: str, broke: str) -> None:
    """Keeps an input in the corpus under a name, with what it broke."""
    given = make(kind, seed, number)
    over_seed = kind in ("out", "job", "saved_model")
    known = _over_seed(kind) if over_seed else {}
    entry: dict[str, Any] = {"broke": broke, "entry": given.entry, "over_seed": over_seed}
    for path, content in given.files.items():
        if isinstance(content, Link):
            entry.setdefault("links", {})[path] = content.target
        elif known.get(path) != content:
            target = CORPUS / kind / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    (CORPUS / kind / name).mkdir(parents=True, exist_ok=True)
    told = json.loads((CORPUS / "broke.json").read_text()) if (CORPUS / "broke.json").exists() else {}
    told[f"{kind}/{name}"] = entry
    (CORPUS / "broke.json").write_text(json.dumps(dict(sorted(told.items())), indent=1) + "\n")


def make(kind: str, seed: int, number: int) -> Input:
    """The input with this number, of this kind; of those that are kept, for the seed `KEPT`; of the table, for `TABLE`."""
    if seed == TABLE:
        from tests.campaigns.fuzz import table

        return table.make(kind, number)
    if seed == KEPT:
        return _kept_input(kind, kept(kind)[number])
    return MAKERS[kind](random.Random(f"{seed} {kind} {number}"))
