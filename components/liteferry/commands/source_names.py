"""The names that a user's modules define, read from their syntax trees; nothing is imported."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import os
from collections.abc import Iterator, Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A module of the job. `names`: classes, functions and variables of its top level; `is_open`: it may define more names,
    through a star import or because only its package is named. `problem`: why it cannot be imported, if its source shows that.
    """

    module: str
    names: frozenset[str] = frozenset()
    is_open: bool = False
    problem: str | None = None

    @property
    def stem(self) -> str:
        """The name under which the module is imported."""
        return os.path.basename(self.module).removesuffix(".py") if self.module.endswith(".py") else self.module


def read(module: str) -> Source:
    """Reads a `.py` file's syntax; for an installed module, only checks that it can be found."""
    if not module.endswith(".py"):
        top = module.partition(".")[0]
        try:
            is_there = importlib.util.find_spec(top) is not None
        except (ImportError, ValueError):
            is_there = False
        beside = f"{module.replace('.', '/')}.py"
        fix = f"for the file write --modules {beside}" if os.path.isfile(beside) else "install it, or name a .py file"
        problem = None if is_there else f"modules: no module {top!r} is installed here; {fix}"
        return Source(module=module, is_open=True, problem=problem)
    try:
        with open(module, encoding="utf-8") as file:
            tree = ast.parse(file.read(), module)
    except SyntaxError as error:
        return Source(module=module, problem=f"modules: {module}, line {error.lineno}: {error.msg}; correct it")
    except (OSError, ValueError) as error:
        return Source(module=module, problem=f"modules: {module} cannot be read ({error})")
    names, is_open = set(), False
    for node in _top_level(tree.body):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            is_open = is_open or any(alias.name == "*" for alias in node.names)
            names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
    return Source(module=module, names=frozenset(names), is_open=is_open)


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of the top level, those below `if` and `try` among them."""
    for node in body:
        yield node
        for field in ("body", "orelse", "finalbody"):
            if isinstance(node, (ast.If, ast.Try, ast.With)):
                yield from _top_level(getattr(node, field, []))
        for handler in node.handlers if isinstance(node, ast.Try) else []:
            yield from _top_level(handler.body)


def builder_problem(builder: str, sources: Sequence[Source]) -> str | None:
    """Why `module:name` cannot be the builder, if the files show that; else None."""
    module, _, name = builder.partition(":")
    if module.endswith(".py"):
        stem = os.path.basename(module).removesuffix(".py")
        fix = f"write {stem}:{name}, and list {module} under modules (--modules {module})"
        return f"builder {builder}: a builder is named by its module, not by its file; {fix}"
    found = next((source for source in sources if module in (source.stem, source.module)), None)
    if found is None:
        top = read(module)
        if top.problem is None:
            return None
        return f"builder {builder}: there is no module {module!r}; list {module}.py under modules (--modules {module}.py)"
    first = name.partition(".")[0]
    if found.problem is None and not found.is_open and first not in found.names:
        there = ", ".join(sorted(found.names)[:8]) or "nothing"
        return f"builder {builder}: {found.module} defines no {first!r}; it defines {there}"
    return None
