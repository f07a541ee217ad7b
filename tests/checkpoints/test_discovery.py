"""`discover`: what patterns name, each checkpoint once, under an id that people can read and every file system takes."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from liteferry.commands.check import check
from liteferry.config.load import job_from_flags
from liteferry.errors import JobError
from liteferry.plan.discovery import FoundCheckpoint, Pattern, discover, look_for
from liteferry.plan.job_files import find_checkpoints

HASH = "-HASH"


def make(root: Path, *names: str) -> None:
    """Files; a name that ends with '/' becomes a SavedModel."""
    for name in names:
        path = root / name
        if name.endswith("/"):
            (path / "variables").mkdir(parents=True)
            for file in (
                "saved_model.pb",
                "fingerprint.pb",
                "variables/variables.index",
                "variables/variables.data-00000-of-00001",
            ):
                (path / file).touch()
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def find(root: Path, *patterns: str) -> list[FoundCheckpoint]:
    return discover([f"{root}/{pattern}" for pattern in patterns])


def readable(ids: Sequence[str]) -> list[str]:
    return sorted(re.sub(r"-[0-9a-f]{12}$", HASH, model_id) for model_id in ids)


@pytest.mark.parametrize(
    ("files", "pattern", "ids"),
    [
        pytest.param(["a.keras", "b.h5", "c.hdf5"], "*", ["a", "b", "c"], id="the suffix goes"),
        pytest.param(["a.weights.h5"], "*", ["a"], id="a suffix of two parts goes as a whole"),
        pytest.param(["A.KERAS"], "*", ["A"], id="suffixes in capitals"),
        pytest.param(["v1.2.keras"], "*", ["v1.2"], id="a dot that is no suffix stays"),
        pytest.param(["model"], "*", ["model"], id="no suffix"),
        pytest.param(
            ["exp/1/a.keras", "exp/2/a.keras"], "exp/*/a.keras", ["1-a", "2-a"], id="folders below the wildcard tell apart"
        ),
        pytest.param(["exp/1/a.keras"], "exp/1/a.keras", ["a"], id="a path without wildcard is its name"),
        pytest.param(["export/1/", "export/2/"], "export/*", ["1", "2"], id="SavedModels"),
        pytest.param(["export/"], "export/", ["export"], id="a slash at the end"),
        pytest.param(["run[1]/a.keras"], "run[1]/*.keras", ["a"], id="brackets in a real folder"),
        pytest.param(["a[1].keras"], "a[1].keras", ["a_1" + HASH], id="brackets in a real name"),
        pytest.param(["a b:c.keras"], "*", ["a_b_c" + HASH], id="what some file system refuses"),
        pytest.param(["größe.keras"], "*", ["groe" + HASH], id="letters beyond ASCII lose their marks"),
        pytest.param(["模型.keras"], "*", ["model" + HASH], id="letters without any ASCII"),
        pytest.param(["...keras", "..x"], ".*", ["model" + HASH, "x" + HASH], id="names made of dots"),
        pytest.param(["<img src=x onerror=alert(1)>.keras"], "*", ["img_src_x_onerror_alert_1" + HASH], id="HTML"),
        pytest.param(["-rf.keras"], "*", ["rf" + HASH], id="what a shell takes for a flag"),
        pytest.param(["CON.keras", "nul.x.keras"], "*", ["CON" + HASH, "nul.x" + HASH], id="names that Windows reserves"),
        pytest.param(["x" * 240 + ".keras"], "*", ["x" * 100 + HASH], id="a very long name"),
        pytest.param(["A.keras", "a.keras"], "*", ["A" + HASH, "a" + HASH], id="names that differ in case alone"),
        pytest.param(["a.keras", "a.h5"], "*", ["a" + HASH, "a" + HASH], id="one stem, two suffixes"),
        pytest.param(["a/b.keras", "a-b.keras"], "**/*.keras", ["a-b" + HASH, "a-b" + HASH], id="a folder and a dash"),
        pytest.param(["a.keras", "ä.keras"], "*", ["a", "a" + HASH], id="an odd name does not rename a good one"),
        pytest.param(["a\nb.keras", "a\tb.keras"], "*", ["a_b" + HASH, "a_b" + HASH], id="control characters"),
    ],
)
def test_an_id_is_readable(tmp_path: Path, files: list[str], pattern: str, ids: list[str]) -> None:
    make(tmp_path, *files)
    assert readable([checkpoint.model_id for checkpoint in find(tmp_path, pattern)]) == sorted(ids)


HARD_NAMES = [
    *("a.keras", "A.keras", "a.h5", "a.weights.h5", "a_.keras", "_a.keras", "-a.keras", "a b.keras", "a_b.keras", "a:b.keras"),
    *(
        "a\u0301.keras",
        "\u00e1.keras",
        "模型.keras",
        "型模.keras",
        "....keras",
        ".keras",
        "x" * 240,
        "x" * 241,
        "CON",
        "con.keras",
    ),
    *(
        "sub/a.keras",
        "sub-a.keras",
        "sub/-a.keras",
        "SUB/a.keras",
        "a\n.keras",
        "ﬁ.keras",
        "fi.keras",
        "ı.keras",
        "I.keras",
        "ſ",
        "s",
    ),
    os.fsdecode(b"\xff.keras"),
]


def test_ids_are_safe_and_unique_also_where_case_does_not_count(tmp_path: Path) -> None:
    make(tmp_path, *HARD_NAMES)
    found = find(tmp_path, "**/*", ".*")
    assert sorted(os.path.relpath(checkpoint.uri, tmp_path) for checkpoint in found) == sorted(HARD_NAMES)
    assert len({checkpoint.model_id.casefold() for checkpoint in found}) == len(HARD_NAMES)
    for checkpoint in found:
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,112}[A-Za-z0-9])?", checkpoint.model_id), checkpoint.model_id


def test_no_file_name_takes_the_id_of_another_checkpoint(tmp_path: Path) -> None:
    make(tmp_path, "a b.keras")
    (victim,) = find(tmp_path, "*")
    make(tmp_path, f"{victim.model_id}.keras")
    ids = {os.path.basename(checkpoint.uri): checkpoint.model_id for checkpoint in find(tmp_path, "*")}
    assert ids["a b.keras"] == victim.model_id
    assert len(set(ids.values())) == 2


def test_ids_are_the_same_in_every_run_and_order(tmp_path: Path) -> None:
    make(tmp_path, "a.keras", "A.keras", "b/c.keras")
    patterns = ["*.keras", "b/*.keras"]
    first = find(tmp_path, *patterns)
    assert find(tmp_path, *patterns) == first
    assert {checkpoint.model_id for checkpoint in find(tmp_path, *reversed(patterns))} == {
        checkpoint.model_id for checkpoint in first
    }


def test_an_id_stays_when_other_checkpoints_come(tmp_path: Path) -> None:
    make(tmp_path, "a.keras", "b c.keras")
    before = {checkpoint.uri: checkpoint.model_id for checkpoint in find(tmp_path, "*")}
    make(tmp_path, "d.keras", "b  c.keras", "ä.keras", "0.keras")
    after = {checkpoint.uri: checkpoint.model_id for checkpoint in find(tmp_path, "*")}
    assert before.items() <= after.items()


# What is a checkpoint and what is not


@pytest.mark.parametrize("second", ["a.keras", "*.keras", "./a.keras", "sub/../a.keras", "/a.keras", "**"])
def test_what_two_patterns_name_is_found_once_and_belongs_to_the_first(tmp_path: Path, second: str) -> None:
    make(tmp_path, "a.keras", "sub/other")
    found = [checkpoint for checkpoint in find(tmp_path, "a.*", second) if checkpoint.uri.endswith(".keras")]
    assert [(checkpoint.model_id, checkpoint.entry) for checkpoint in found] == [("a", 0)]


def test_a_path_is_absolute_whatever_the_pattern_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "sub/a.keras")
    monkeypatch.chdir(tmp_path)
    expected = [("a", f"{tmp_path}/sub/a.keras")]
    assert [(checkpoint.model_id, checkpoint.uri) for checkpoint in discover(["sub/*"])] == expected
    assert [(checkpoint.model_id, checkpoint.uri) for checkpoint in discover(["sub/a.keras"])] == expected
    monkeypatch.chdir(tmp_path / "sub")
    assert [(checkpoint.model_id, checkpoint.uri) for checkpoint in discover(["a*"])] == expected
    assert [(checkpoint.model_id, checkpoint.uri) for checkpoint in discover([f"file://{tmp_path}/sub/a.keras"])] == expected


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        ("models/*", ["models/export", "models/m.keras"]),  # a folder of notes alone is ignored, and told
        ("models/**", ["models/export", "models/m.keras"]),
        ("models/**/*", ["models/export", "models/m.keras"]),
        ("**/*.keras", ["models/m.keras"]),
        ("models/export/*.pb", ["models/export/fingerprint.pb", "models/export/saved_model.pb"]),
        ("models/notes", ["models/notes"]),
        ("models/.*", ["models/.hidden.keras"]),
        ("nothing/*", []),
    ],
)
def test_a_pattern_names_checkpoints_not_their_parts(tmp_path: Path, pattern: str, named: list[str]) -> None:
    make(tmp_path, "models/export/", "models/m.keras", "models/notes/readme.txt", "models/.hidden.keras")
    found = sorted(os.path.relpath(checkpoint.uri, tmp_path) for checkpoint in find(tmp_path, pattern))
    assert found == named


def test_the_prefix_of_a_tensorflow_checkpoint_is_its_index(tmp_path: Path) -> None:
    make(tmp_path, "ck/ckpt-1.index", "ck/ckpt-1.data-00000-of-00001", "ck/ckpt-10.index")
    assert [checkpoint.uri for checkpoint in find(tmp_path, "ck/ckpt-1")] == [f"{tmp_path}/ck/ckpt-1.index"]
    assert not find(tmp_path, "ck/ckpt-2")


def test_a_link_to_nothing_is_found_so_that_it_gets_a_report(tmp_path: Path) -> None:
    (tmp_path / "a.keras").symlink_to("gone.keras")
    assert [checkpoint.model_id for checkpoint in find(tmp_path, "*")] == ["a"]


# In a job


def test_a_pattern_that_names_nothing_is_refused_with_its_key(tmp_path: Path) -> None:
    make(tmp_path, "a.keras")
    job = job_from_flags(checkpoints=[f"{tmp_path}/*.keras", f"{tmp_path}/*.h5", f"{tmp_path}/nowhere/x"])
    with pytest.raises(JobError) as caught:
        find_checkpoints(job)
    assert [problem.split(" names no file or directory")[0] for problem in caught.value.problems] == [
        f"models[1].checkpoints: '{tmp_path}/*.h5'",
        f"models[2].checkpoints: '{tmp_path}/nowhere/x'",
    ]


def test_a_pattern_whose_checkpoints_another_entry_has_is_no_mistake(tmp_path: Path) -> None:
    make(tmp_path, "a.keras")
    job = job_from_flags(checkpoints=[f"{tmp_path}/*.keras", f"{tmp_path}/a*"])
    assert [checkpoint.entry for checkpoint in find_checkpoints(job)] == [0]


def test_a_folder_of_versions_is_its_newest_or_all_of_them(tmp_path: Path) -> None:
    make(tmp_path, "serving/1/", "serving/2/", "serving/10/")
    newest, every = (look_for([Pattern(pattern=f"{tmp_path}/serving", versions=versions)]) for versions in ("newest", "all"))
    assert [(at.model_id, os.path.relpath(at.uri, tmp_path)) for at in newest.checkpoints] == [("serving", "serving/10")]
    assert sorted(os.path.relpath(at.uri, tmp_path) for at in every.checkpoints) == ["serving/1", "serving/10", "serving/2"]


def test_what_lies_beside_versions_takes_none_of_them_away(tmp_path: Path) -> None:
    make(tmp_path, "base/1/", "base/2/", "base/tmp/README", "base/monitoring.config", "base/best.keras")
    ids = {at.model_id: os.path.relpath(at.uri, tmp_path) for at in find(tmp_path, "base")}
    assert ids == {"base": "base/2", "best": "base/best.keras"}


def test_numbered_folders_of_archives_are_models_of_their_own(tmp_path: Path) -> None:
    """Folds of a cross-validation, seeds, runs: only SavedModels and Orbax's steps are numbered as versions."""
    make(tmp_path, "folds/0/model.keras", "folds/1/model.keras")
    assert [at.model_id for at in find(tmp_path, "folds")] == ["0-model", "1-model"]


def test_of_orbaxs_steps_the_newest_is_taken(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        for name in ("_CHECKPOINT_METADATA", "pytree/_METADATA", "model_config/data.json"):
            (tmp_path / "orbax" / str(step) / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "orbax" / str(step) / name).write_text("{}")
    (tmp_path / "orbax" / "11.orbax-checkpoint-tmp-1").mkdir()
    (found,) = find(tmp_path, "orbax")
    assert (found.model_id, os.path.relpath(found.uri, tmp_path)) == ("orbax", "orbax/10")


def test_of_a_trainers_folder_what_serves_is_taken(tmp_path: Path) -> None:
    make(tmp_path, "Trainer/model/7/Format-Serving/", "Trainer/model/7/Format-TFMA/")
    (found,) = find(tmp_path, "Trainer/model")
    assert (found.model_id, os.path.relpath(found.uri, tmp_path)) == ("model", "Trainer/model/7/Format-Serving")


def test_what_lies_beside_checkpoints_is_listed_and_excluded_what_the_job_says(tmp_path: Path) -> None:
    make(tmp_path, "ck/a.keras", "ck/b.keras", "ck/README.md", "ck/events.out.tfevents.1")
    found = look_for([Pattern(pattern=f"{tmp_path}/ck/*", exclude=("b*",))])
    assert [at.model_id for at in found.checkpoints] == ["a"]
    assert [os.path.basename(path) for path in found.ignored] == ["README.md", "events.out.tfevents.1"]


def test_two_signatures_of_one_checkpoint_are_two_models(tmp_path: Path) -> None:
    make(tmp_path, "export/")
    path = f"{tmp_path}/export"
    patterns = [Pattern(pattern=path), Pattern(pattern=path, signature="device"), Pattern(pattern=path, signature="device")]
    found = look_for([*patterns, Pattern(pattern=path)])
    assert [(at.model_id, at.entry) for at in found.checkpoints] == [("export", 0), ("export-device", 1)]


# The output folder within the checkpoints' folder


def test_what_a_run_writes_is_no_checkpoint_of_the_next(tmp_path: Path) -> None:
    ids = []
    make(tmp_path / "all", "a.keras", "b/c.keras")
    for _ in range(2):
        ids.append([found.model_id for found in discover([Pattern(pattern=f"{tmp_path}/all/**", out=f"{tmp_path}/all/out")])])
        make(tmp_path / "all" / "out", "index.html", "models/a/saved_model/1/saved_model.pb", "attempts/a/report.json")
    assert ids == [["a", "b-c"], ["a", "b-c"]]


@pytest.mark.parametrize("link", ["to the output", "to the checkpoints"])
def test_a_link_does_not_hide_that_the_output_lies_there(tmp_path: Path, link: str) -> None:
    make(tmp_path / "all", "a.keras")
    make(tmp_path / "all" / "out", "models/a/saved_model/1/saved_model.pb")
    folder, out = tmp_path / "all", tmp_path / "all" / "out"
    if link == "to the output":
        out = tmp_path / "link"
        out.symlink_to(folder / "out")
    else:
        folder = tmp_path / "link"
        folder.symlink_to(tmp_path / "all")
    found = discover([Pattern(pattern=f"{folder}/**", out=str(out))])
    assert [at.model_id for at in found] == ["a"]


def test_check_leaves_it_out_as_the_run_does(tmp_path: Path) -> None:
    make(tmp_path / "all", "a.keras")
    make(tmp_path / "all" / "out", "models/a/saved_model/1/saved_model.pb")
    checked = check(job_from_flags(checkpoints=[f"{tmp_path}/all/**"]), out=str(tmp_path / "all" / "out"))
    assert [model.model_id for model in checked.models] == ["a"]


def test_beside_the_checkpoints_only_what_a_run_writes_is_left_out(tmp_path: Path) -> None:
    for name in ("a.keras", "models/a/saved_model/1/saved_model.pb", "index.html", "fleet.json", ".history/last_run.json"):
        make(tmp_path, name)
    assert [found.model_id for found in discover([Pattern(pattern=f"{tmp_path}/**", out=str(tmp_path))])] == ["a"]


def test_a_pattern_that_looks_into_the_output_alone_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "out/models/mine.keras")
    job = job_from_flags(checkpoints=[f"{tmp_path}/out/models/*.keras"])
    with pytest.raises(JobError, match="names nothing but what lies in the output folder"):
        find_checkpoints(job, str(tmp_path / "out"))
    assert len(find_checkpoints(job, str(tmp_path / "elsewhere"))) == 1
