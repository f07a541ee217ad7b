"""A new statistic is one class in one file: its gate, its row on the page and its keys come from that file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOY = '''
import dataclasses
import numpy as np
from liteferry.parity.statistics.base import AT_MOST, Block, Metric, Statistic

@dataclasses.dataclass(frozen=True)
class FarElements(Statistic):
    """Elements that are more than one apart."""
    count: int = 0
    name = "far_elements"
    metrics = (
        Metric(name="far_count", title="elements more than 1 apart", meaning="the same", gate=AT_MOST, defaults={"float32": 1}),
    )
    @classmethod
    def zero(cls): return cls()
    @classmethod
    def of(cls, block): return cls(int(np.count_nonzero(block.distances > 1)))
    def __add__(self, other): return FarElements(self.count + other.count)
    def to_json(self): return self.count
    @classmethod
    def from_json(cls, encoded): return cls(encoded)
    def report(self): return {"far_count": self.count}
'''
PROGRAM = """
import json
import numpy as np
from liteferry.config.cross_checks import metric_names
from liteferry.parity.gates import judge, resolve_gates
from liteferry.parity.output_stats import OutputStats
from liteferry.report.pages import tables

reference, ids = np.linspace(100.0, 200.0, 8).reshape(4, 2), list("abcd")
stats = OutputStats.empty()
for start in (0, 2):
    part, candidate = reference[start : start + 2], reference[start : start + 2] + [[2.0, 0.0], [0.0, 0.0]]
    found = OutputStats.compare(reference=part, candidate=candidate, ids=ids[start : start + 2], first_row=start)
    stats = stats.merge(OutputStats.from_json(json.loads(json.dumps(found.to_json()))))
assert stats.report()["far_count"] == 2
others = dict.fromkeys(("max_rel", "row_agreement", "column_sqnr_db", "class_recall"))
gates = resolve_gates("float32", {"float32": others})
reason = judge({"y": stats}, gates=gates, expected_outputs=["y"]).reason
assert "far_count" in reason.message and "2" in reason.message, reason
assert tables.STATISTICS["far_count"][0] == "elements more than 1 apart"
assert "far_count" in metric_names()
"""


def test_a_file_in_the_folder_is_all_that_a_new_statistic_takes(tmp_path: Path) -> None:
    copy = tmp_path / "liteferry"
    shutil.copytree(ROOT / "components" / "liteferry", copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "parity" / "statistics" / "far_elements.py").write_text(TOY)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
