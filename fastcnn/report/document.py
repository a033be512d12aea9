"""The frame of every page: one HTML document that loads nothing and runs nothing, with its style inside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources

# What a browser may load for the page: pictures and style that are inside it.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def document(title: str, parts: Sequence[str], footer: str, styles: Sequence[str] = ()) -> str:
    """Return a page as HTML.

    Parameters
    ----------
    title : str
        What the browser's tab shows.
    parts : sequence of str
        The body, as HTML.
    footer : str
    styles : sequence of str
        Style sheets of this package besides ``style.css``, by the names of their files.
    """
    found = resources.files(__package__)
    style = "".join(found.joinpath(name).read_text("utf-8") for name in ("style.css", *styles))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n'
        + "\n".join(parts)
        + f"\n<footer>{escape(footer)}</footer>\n</main>\n</body>\n</html>\n"
    )
