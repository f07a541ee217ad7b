"""Figures in a page of the docs, made by a run and put between two markers."""

from __future__ import annotations

from pathlib import Path


def replace_between(page: Path, marks: tuple[str, str], content: str) -> None:
    """Puts `content` between two lines that stand in the page once each. Raises ValueError when they do not."""
    text = page.read_text(encoding="utf-8")
    begin, end = marks
    if text.count(begin) != 1 or end not in text.partition(begin)[2]:
        raise ValueError(f"{page}: {begin} and {end} have to stand in it, in this order")
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    page.write_text(f"{head}{begin}\n\n{content}\n\n{end}{tail}", encoding="utf-8")
