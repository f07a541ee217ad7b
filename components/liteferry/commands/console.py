"""Output for terminals and logs that cannot show every character: replaces such characters with plain letters, never raises."""

from __future__ import annotations

import codecs
import io
import sys

# Non-ASCII characters that LiteFerry itself prints; others become a question mark.
_PLAIN = {
    "✓": "+",
    "✗": "x",
    "★": "*",
    "–": "-",
    "—": "-",
    "…": "...",
    "’": "'",
    "“": '"',
    "”": '"',
    "∞": "inf",
    "×": "x",
    "·": ".",
    "→": "->",
    "━": "-",
    "─": "-",
    "│": "|",
    "╸": "-",
    "╺": "-",
}
_HANDLER = "liteferry_plain"


def show_plain_where_needed() -> None:
    """Lets standard output and error replace what their encoding has no character for. Streams that a caller has put in their
    place are left as they are.
    """
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """An error handler for encoding: replaces characters that cannot be written with ASCII ones."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(letter, "?") for letter in error.object[error.start : error.end]), error.end
