"""The docs say what is so: links lead somewhere, examples parse and run, tables list what there is and nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from liteferry.checkpoints.detection import Kind
from liteferry.cli import build_parser
from liteferry.config.job import Variant
from liteferry.config.load import load_job
from liteferry.errors import JobError, ReasonCode, Stage
from liteferry.report.fleet import COLUMNS
from liteferry.report.hints import HINTS
from tests.support import Run

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted([README, ROOT / "CHANGELOG.md", ROOT / "runner_configs" / "README.md", *DOCS.glob("*.md")])
RUNNER_CONFIGS = sorted((ROOT / "runner_configs").glob("*.yaml"))
WHOLE_JOBS = [README, DOCS / "job_file.md", DOCS / "checkpoints.md"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block: the words after the fence ("python demo"), its text, and the block that follows it in the page."""

    page: pathlib.Path
    line: int
    words: str
    text: str
    following: Block | None = None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


_FENCED = re.compile(r"^```(?P<words>[^\n`]*)\n(?P<text>.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\((?P<target>[^()\s]+)\)")
_CODE = re.compile(r"`([^`]+)`")


def blocks_of(page: pathlib.Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found: list[Block] = []
    for match in reversed(list(_FENCED.finditer(text))):
        line = text.count("\n", 0, match.start()) + 1
        following = found[-1] if found else None
        found.append(Block(page=page, line=line, words=match["words"].strip(), text=match["text"], following=following))
    return found[::-1]


def prose_of(page: pathlib.Path) -> str:
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def blocks(pages: Sequence[pathlib.Path], *words: str) -> list[Block]:
    return [block for page in pages for block in blocks_of(page) if block.words in words]


def sections_of(page: pathlib.Path) -> dict[str, str]:
    """Heading -> the text below it, down to the next heading of any level."""
    parts = re.split(r"^#+ (.+)$", prose_of(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows_of(section: str) -> list[list[str]]:
    """The cells of every table row but the headings and the rules under them."""
    lines = [line.strip() for line in section.splitlines()]
    rules = {number for number, line in enumerate(lines) if re.fullmatch(r"\|[\s:|-]+\|", line)}
    wanted = [line for number, line in enumerate(lines) if line.startswith("|") and not {number, number + 1} & rules]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in wanted]


def anchors_of(page: pathlib.Path) -> set[str]:
    """The anchors that GitHub gives headings: lower case, punctuation gone, blanks to hyphens."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), flags=re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}


def links() -> list[tuple[pathlib.Path, str]]:
    found = [(page, match["target"]) for page in PAGES for match in _LINK.finditer(prose_of(page))]
    return [(page, target) for page, target in found if not target.startswith(("https://", "http://", "mailto:"))]


@pytest.mark.parametrize(("page", "target"), links(), ids=lambda value: getattr(value, "name", value))
def test_every_relative_link_leads_somewhere(page: pathlib.Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    assert path.exists(), f"{page}: {target} is not there"
    if anchor:
        assert anchor in anchors_of(path), f"{page}: {path.name} has no heading for #{anchor}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, new = set[pathlib.Path](), {README}
    while new:
        reached |= new
        new = {(page.parent / target.partition("#")[0]).resolve() for page, target in links() if page in new} - reached
    assert {page for page in PAGES if page.parent == DOCS} <= reached


def commands_in(block: Block) -> Iterator[list[str]]:
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            end = next((number for number, word in enumerate(words) if word in (">", "|", "&&")), len(words))
            yield words[:end]


def shell_commands() -> list[tuple[str, list[str]]]:
    return [(str(block), words) for block in blocks(PAGES, "bash") for words in commands_in(block)]


@pytest.mark.parametrize(("where", "words"), [(w, c) for w, c in shell_commands() if c[0] == "liteferry"])
def test_every_command_shown_is_one_that_the_parser_takes(where: str, words: list[str]) -> None:
    _, unknown = build_parser().parse_known_args(words[1:])  # exits where a command, a value or a required flag is wrong
    assert not unknown, f"{where}: liteferry does not know {unknown}"


@pytest.mark.parametrize(("where", "words"), [(w, c) for w, c in shell_commands() if c[0] == "make"])
def test_every_make_target_shown_exists(where: str, words: list[str]) -> None:
    targets = re.findall(r"^([a-z_-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {word for word in words[1:] if "=" not in word} <= set(targets), where


def test_shell_blocks_hold_no_other_commands() -> None:
    assert {words[0] for _, words in shell_commands()} <= {"liteferry", "make", "pip"}


def test_hints_name_commands_that_there_are() -> None:
    (action,) = (action for action in build_parser()._actions if action.dest == "command")
    named = {(code, name) for code, hint in HINTS.items() for name in re.findall(r"`liteferry (\w+)", hint)}
    assert named
    assert {(code, name) for code, name in named if name not in (action.choices or ())} == set()


def test_the_readme_lists_the_commands_that_there_are() -> None:
    listed = {_CODE.findall(row[0])[0].split()[1] for row in rows_of(sections_of(README)["Commands"])}
    (action,) = (action for action in build_parser()._actions if action.dest == "command")
    assert listed == set(action.choices or ())


@pytest.mark.parametrize("block", blocks(WHOLE_JOBS, "yaml"), ids=str)
def test_every_job_file_shown_is_one(block: Block, tmp_path: pathlib.Path) -> None:
    (tmp_path / "job.yaml").write_text(block.text, encoding="utf-8")
    assert load_job(tmp_path / "job.yaml").models


@pytest.mark.parametrize("block", blocks(WHOLE_JOBS, "yaml bad"), ids=str)
def test_every_bad_job_file_is_refused_with_the_words_shown(block: Block, tmp_path: pathlib.Path) -> None:
    (tmp_path / "job.yaml").write_text(block.text, encoding="utf-8")
    with pytest.raises(JobError) as refused:
        load_job(tmp_path / "job.yaml")
    assert block.following is not None and block.following.words == "text"
    assert str(refused.value).replace(str(tmp_path / "job.yaml"), "job.yaml") == block.following.text.strip()


@pytest.mark.parametrize("block", blocks(PAGES, "python", "python demo"), ids=str)
def test_python_shown_is_python(block: Block) -> None:
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize("block", blocks(PAGES, "python demo"), ids=str)
def test_python_shown_runs_beside_a_finished_demo(block: Block, demo: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "demo_output").symlink_to(demo.out)
    command = [sys.executable, "-c", block.text]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout, "a snippet shows something"
    if block.following is not None and block.following.words == "text":
        assert done.stdout.strip() == block.following.text.strip()


def without_sizes(line: str) -> str:
    return " ".join(re.sub(r"\([\d.]+ ?k?B\)", "(size)", line).split())


def test_the_demo_prints_what_the_readme_shows(demo: Run) -> None:
    (shown,) = (block.following for block in blocks_of(README) if "liteferry demo" in block.text and block.words == "bash")
    assert shown is not None
    printed = {without_sizes(line) for line in demo.said.stdout.splitlines()}
    missing = [line for line in shown.text.splitlines() if without_sizes(line) not in printed]
    assert shown.text.count("\n") >= 13
    assert not missing, demo.said.stdout


def test_every_reason_code_has_its_section_with_cause_and_fix() -> None:
    sections = sections_of(DOCS / "reason_codes.md")
    codes = {heading: text for heading, text in sections.items() if re.fullmatch(r"[A-Z_]+", heading)}
    assert list(codes) == [code.value for code in ReasonCode]
    for heading, text in codes.items():
        assert "**Cause.**" in text and "**Fix.**" in text, heading


def test_every_stage_is_explained() -> None:
    rows = rows_of(sections_of(DOCS / "reason_codes.md")["Stages"])
    assert [row[0].strip("`") for row in rows] == [stage.value for stage in Stage]


def test_every_kind_of_checkpoint_has_its_row() -> None:
    rows = rows_of(sections_of(DOCS / "checkpoints.md")["Kinds"])
    assert [row[0].strip("`") for row in rows] == [kind.value for kind in Kind]


def test_every_variant_has_its_row() -> None:
    rows = rows_of(sections_of(DOCS / "variants.md")["Variants"])
    variants = [row[0].strip("`") for row in rows]
    assert variants[: len(Variant)] == [variant.value for variant in Variant]


# Where a report's keys are names of something, and what docs/reports.md writes in their place.
NAMES = {
    "targets": "<target>",
    "targets.<target>.variants": "<variant>",
    "targets.<target>.variants.<variant>.parity": "<output>",
    "twin.parity": "<output>",
    "input_ranges": "<input>",
    "variants": "<variant>",
    "variants.<variant>.parity": "<output>",
    "variants.<variant>.slices": "<slice>",
    "variants.<variant>.slices.<slice>.parity": "<output>",
    "variants.<variant>.rows_not_in_slices": "<columns>",
    "variants.<variant>.scatter": "<output>",
    "saved_model.scatter": "<output>",
    "saved_model.slices": "<slice>",
    "saved_model.slices.<slice>.parity": "<output>",
    "saved_model.rows_not_in_slices": "<columns>",
    "noise_floor.reference.outputs": "<output>",
    "noise_floor.float32.outputs": "<output>",
    "variants.<variant>.ops": "<operator>",
    "variants.<variant>.weights": "<dtype>",
    "variants.<variant>.held.weights": "<dtype>",
    "variants.<variant>.held.operators": "<dtype>",
    "variants.<variant>.metrics": "<metric>",
    "variants.<variant>.metrics.<metric>.limit": "<kind>",
    "variants.<variant>.metric_slices": "<slice>",
    "variants.<variant>.metric_slices.<slice>": "<metric>",
    "variants.<variant>.metric_slices.<slice>.<metric>.limit": "<kind>",
    "saved_model.fidelity": "<output>",
    "saved_model.signatures": "<signature>",
    "variants.<variant>.contract.signatures": "<signature>",
    "saved_model.metrics": "<metric>",
    "saved_model.metrics.<metric>.limit": "<kind>",
    "saved_model.metric_slices": "<slice>",
    "saved_model.metric_slices.<slice>": "<metric>",
    "saved_model.metric_slices.<slice>.<metric>.limit": "<kind>",
    "metrics.reference": "<metric>",
    "metrics.slices": "<slice>",
    "metrics.slices.<slice>": "<metric>",
    "metrics.row_counts": "<slice>",
    "files": "<path>",
    "worst_rows[].inputs": "<input>",
    "environment": "<package>",
    "timings_s": "<step>",
}
ANY_JSON = ("metadata", "judged_by", "judged_before", "nonfinite", "takes_back", "held_back")
# What docs/reports.md calls "the same keys": the keys below the second path stand for the star of the first.
SAME_KEYS = {
    "saved_model.together.inputs[].*": "saved_model.signatures.<signature>.inputs[]",
    "saved_model.together.outputs[].*": "saved_model.signatures.<signature>.outputs[]",
    "variants.<variant>.contract.outputs[].*": "variants.<variant>.contract.inputs[]",
    "variants.<variant>.contract.signatures.<signature>.inputs[].*": "variants.<variant>.contract.inputs[]",
    "variants.<variant>.contract.signatures.<signature>.outputs[].*": "variants.<variant>.contract.inputs[]",
    "variants.<variant>.metric_slices.<slice>.<metric>.*": "variants.<variant>.metrics.<metric>",
    "saved_model.metrics.<metric>.*": "variants.<variant>.metrics.<metric>",
    "saved_model.metric_slices.<slice>.<metric>.*": "variants.<variant>.metrics.<metric>",
    "metrics.slices.<slice>.<metric>.*": "metrics.reference.<metric>",
}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(path, value) of everything in a report that is not an object; an empty list is there as one item, null."""
    if isinstance(value, dict) and path not in ANY_JSON:
        for key, item in value.items():
            name = NAMES.get(path, str(key))
            yield from leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value or [None]:
            yield from leaves(item, f"{path}[]")
    else:
        yield path, value


def documented_types() -> dict[str, str]:
    """Path -> type, of every leaf that docs/reports.md has, with its shorthands written out."""
    types = documented_paths()
    return {path: kind for path, kind in types.items() if is_leaf(path, types)}


def documented_paths() -> dict[str, str]:
    """The same with the objects and lists that hold leaves, where they have a row of their own."""
    sections = sections_of(DOCS / "reports.md")
    types = {row[0].strip("`"): row[1] for row in rows_of(sections["report.json"])}
    statistics = {row[0].strip("`"): row[1] for row in rows_of(sections["Statistics"])}
    examples = {row[0].strip("`"): row[1] for row in rows_of(sections["Worst examples and gates"])}
    for path in list(types):
        parent, _, last = path.rpartition(".")
        if path in SAME_KEYS:
            prefix = f"{SAME_KEYS[path]}."
            types |= {f"{parent}.{key.removeprefix(prefix)}": kind for key, kind in types.items() if key.startswith(prefix)}
        elif parent.endswith("scatter.<output>"):
            types |= {f"{parent}.{key.rpartition('.')[2]}": kind for key, kind in examples.items() if key.startswith("scatter.")}
        elif last == "*":
            types |= {f"{parent}.{key}": kind for key, kind in statistics.items()}
        elif last == "reason":
            types |= {f"{path}.{key}": types[f"reason.{key}"] for key in ("code", "stage", "message")}
        elif last in ("worst_examples[]", "gates[]"):
            types |= {f"{parent}.{key}": kind for key, kind in examples.items() if key.startswith(last)}
    return {path: kind for path, kind in types.items() if not path.endswith(".*")}


def is_leaf(path: str, paths: Any) -> bool:
    return not any(other.startswith((f"{path}.", f"{path}[")) for other in paths)


@pytest.fixture(scope="module")
def report_values(demo: Run, kitchen_sink: Run) -> dict[str, list[Any]]:
    """Path -> its values in all reports of the demo, in one with task metrics, and in one with more slices than are kept, and
    in one of several signatures."""
    values: dict[str, list[Any]] = {}
    others = [kitchen_sink.report(name) for name in ("measured", "in_three_parts", "codec")]
    for report in [*map(demo.report, demo.model_ids()), *others]:
        for path, value in leaves(report):
            values.setdefault(path, []).append(value)
    return values


def test_the_keys_of_real_reports_are_those_of_the_docs(report_values: dict[str, list[Any]]) -> None:
    real = {path for path in report_values if is_leaf(path, report_values)}
    documented = set(documented_types())
    for path in real - documented:
        if all(value is None for value in report_values[path]):  # always null or empty: the docs say what would be in it
            inside = {key for key in documented if key.startswith(f"{path}.")}
            assert inside, f"{path} is not in docs/reports.md"
            documented -= inside
            real.remove(path)
    assert real - documented == set(), "not in docs/reports.md"
    assert documented - real == set(), "in docs/reports.md, but in no report"


PYTHON_TYPES: dict[str, tuple[type, ...]] = {"text": (str,), "integer": (int,), "number": (int, float), "object": (dict,)}


def fits(value: Any, kind: str) -> bool:
    if value is None:
        return "null" in kind
    if isinstance(value, bool):
        return "true" in kind
    return any(isinstance(value, types) for word, types in PYTHON_TYPES.items() if word in kind)


def test_the_values_of_real_reports_have_the_types_of_the_docs(report_values: dict[str, list[Any]]) -> None:
    for path, kind in documented_types().items():
        is_item = path.endswith("[]")  # an empty list stands as one null
        odd = [value for value in report_values.get(path, []) if not fits(value, kind) and not (is_item and value is None)]
        assert not odd, f"{path}: {odd[:3]} is not {kind}"


def test_the_keys_of_fleet_json_are_those_of_the_docs(demo: Run) -> None:
    facts = json.loads((demo.out / "fleet.json").read_text(encoding="utf-8"))
    rows = rows_of(sections_of(DOCS / "reports.md")["fleet.json"])
    paths = [path for row in rows for path in _CODE.findall(row[0])]
    assert {re.split(r"[.\[]", path)[0] for path in paths} == set(facts)
    assert {path.split(".")[1] for path in paths if path.startswith("totals.")} == set(facts["totals"])
    (of_a_model,) = (row[2] for row in rows if row[0] == "`models[]`")
    assert _CODE.findall(of_a_model) == list(facts["models"][0])
    assert list(facts["rows"][0]) == list(COLUMNS)


def test_the_columns_of_fleet_parquet_are_those_of_the_docs() -> None:
    rows = rows_of(sections_of(DOCS / "reports.md")["fleet.parquet"])
    assert [(row[0].strip("`"), row[1]) for row in rows] == list(COLUMNS.items())


def test_every_runner_configuration_has_its_row() -> None:
    rows = rows_of(prose_of(ROOT / "runner_configs" / "README.md"))
    assert {re.sub(r".*\((.+)\)", r"\1", row[0]) for row in rows} == {path.name for path in RUNNER_CONFIGS}


def test_the_launcher_started_by_path_is_liteferry_run() -> None:
    command = [sys.executable, str(ROOT / "pipelines" / "export.py"), "--output=out", "--config=missing.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "COLUMNS": "80"})
    assert done.returncode == 2
    assert "missing.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_page_holds_the_marks_of_a_merge() -> None:
    marks = re.compile(r"^(<{7}|>{7}|\|{7}) |^={7}$", flags=re.MULTILINE)
    assert [page.name for page in PAGES if marks.search(page.read_text(encoding="utf-8"))] == []
