"""Every element delivered twice, as a runner may do that retries: one report for each model, the same facts, nothing mixed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support import Run, facts_of, liteferry

# The real launcher and the real stages; the runner below them hands on everything twice.
TWICE = """
    import sys
    import apache_beam as beam
    from liteferry import cli
    from liteferry.stages import discover, export, publish

    def twice(transform):
        expand = transform.expand
        again = beam.FlatMap(lambda element: [element, element])
        transform.expand = lambda self, elements: expand(self, elements | "Twice" >> again)

    for transform in (discover.SplitFinished, export.ExportModels, publish.JudgeAndPublish):
        twice(transform)
    sys.exit(cli.main(sys.argv[1:]))
"""


def test_models_that_are_processed_twice_are_reported_once(demo: Run, tmp_path: Path) -> None:
    fleet = demo.out / "fleet"
    checkpoints = [str(fleet / "checkpoints" / f"{name}.keras") for name in ("cnn", "mlp", "broken_truncated")]
    arguments = ["--checkpoints", *checkpoints, "--samples", str(fleet / "digits.parquet"), "--variants", "float32"]
    out = tmp_path / "out"
    command = [sys.executable, "-c", textwrap.dedent(TWICE), "run", *arguments, "--output", str(out)]
    once = Run(tmp_path / "once", liteferry("run", *arguments, "--output", tmp_path / "once"))
    said = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    run = Run(out, said)
    assert run.model_ids() == once.model_ids() != set(), said.stderr
    for model_id in run.model_ids():
        assert facts_of(run.report(model_id)) == facts_of(once.report(model_id))
    assert said.stdout.replace(str(out), "OUT") == once.said.stdout.replace(str(once.out), "OUT")
    assert said.returncode == once.said.returncode, said.stderr
    verified = liteferry("verify", out)
    assert verified.returncode == 0, verified.stdout
