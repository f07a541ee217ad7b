"""The structure of the package in numbers, as docs/architecture.md states them with the reasons."""

from __future__ import annotations

import ast

from tests.house.test_architecture import PACKAGE, ROOT, modules


def test_functions_are_short_and_narrow_and_the_docs_state_the_numbers() -> None:
    counts = {"long": 0, "wide": 0, "excused": 0}
    for path in modules().values():
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                near = " ".join(text.splitlines()[max(0, node.lineno - 2) : node.lineno])
                parameters = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
                is_wide = len([one for one in parameters if one.arg not in ("self", "cls")]) > 5
                is_long, is_public = (node.end_lineno or 0) - node.lineno >= 60, "# wide: public" in near
                counts["long"] += is_long and "# long:" not in near
                counts["wide"] += is_wide and "# wide:" not in near
                counts["excused"] += (is_long and "# long:" in near) + (is_wide and "# wide:" in near and not is_public)
    assert (counts["long"], counts["wide"]) == (0, 0)
    assert counts["excused"] <= 10
    files, rooms = len(list(PACKAGE.glob("*.py"))), len(list(PACKAGE.glob("*/__init__.py")))
    row = f"| {files} | {rooms} | 0 | 0 | {' | '.join(map(str, counts.values()))} |"
    assert row in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), row
