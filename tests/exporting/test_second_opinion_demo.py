"""In the demo every blessed model is confirmed by its library's own loader, or is a sibling of one that is."""

from __future__ import annotations

from tests.support import Run


def test_every_blessed_model_is_confirmed(demo: Run) -> None:
    blessed = {name: report for name in demo.model_ids() if (report := demo.report(name))["status"] == "blessed"}
    assert len(blessed) >= 5
    for name, report in blessed.items():
        opinion = report["saved_model"]["second_opinion"]
        assert opinion["code"] is None, (name, opinion)
        if opinion["status"] == "none":
            assert opinion["why"].startswith("a sibling of "), (name, opinion)
            leader = opinion["why"].removeprefix("a sibling of ").split(":")[0]
            opinion = demo.report(leader)["saved_model"]["second_opinion"]
        assert opinion["status"] == "equal" and opinion["rows"] > 0, (name, opinion)
        assert opinion["max_rel"] <= 1e-5 and opinion["by"], (name, opinion)
