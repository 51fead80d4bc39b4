"""HTML made readable: no scripts, styles, navigation or hidden parts; headings, links, lists, tables and code stay."""

from __future__ import annotations

import re
from typing import Literal

HTML = 3_000_000  # characters converted; the rest of a longer page is left out
DEPTH = 200  # elements within elements; what lies deeper is left out
_NEVER = (
    "script", "style", "template", "noscript", "iframe", "object", "embed", "svg", "canvas", "dialog",
    "input", "select", "textarea", "button", "img[src^='data:']", "a.headerlink", "a.anchor",
)  # fmt: skip
_AROUND = ("nav", "footer", "aside", "[role='navigation']", "[role='search']", "[role='banner']")
_SCRIPT_LINK = re.compile(r"\]\(\s*<?\s*(?:javascript|vbscript|data):[^)\n]*\)", re.IGNORECASE)
_EMPTY_LINES = re.compile(r"\n[ \t]*(?:\n[ \t]*){2,}")
LITTLE = 200  # characters: with less than this, what looked like surroundings was the page


def to_markdown(html: str, url: str) -> str:
    """Markdown, with addresses made whole against `url`."""
    return _converted(html, url, "markdown")


def to_text(html: str, url: str) -> str:
    """Words only."""
    return _converted(html, url, "plain")


def _converted(html: str, url: str, form: Literal["markdown", "plain"]) -> str:
    text = _convert(html[:HTML], url, form, (*_NEVER, *_AROUND))
    if len(text) < LITTLE:
        text = _convert(html[:HTML], url, form, _NEVER)
    return _EMPTY_LINES.sub("\n\n", _SCRIPT_LINK.sub("]()", text)).strip() + _left_out(html)


def _left_out(html: str) -> str:
    return f"\n\n[only the first {HTML} characters were converted]" if len(html) > HTML else ""


def _convert(html: str, url: str, form: str, without: tuple[str, ...]) -> str:
    from html_to_markdown import ConversionOptions, convert

    options = ConversionOptions(
        output_format=form,
        extract_metadata=False,
        max_depth=DEPTH,
        base_url=url,
        bullets="-",
        exclude_selectors=list(without),
    )
    return convert(html, options).content or ""
