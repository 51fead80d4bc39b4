"""A whole conversation as a document of its own: Markdown, or one HTML file that loads nothing."""

from __future__ import annotations

import base64
import html as markup
import re
from collections.abc import Iterator

from codetether.api import (
    Image,
    Loaded,
    Message,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    clean,
    one_line,
)

from codetether_mode_sessions.view import facts, picture

SHOWN_PICTURES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }}
section {{ border-left: 4px solid #999; margin: 1rem 0; padding: .1rem 1rem; }}
section.user {{ border-color: #2563eb; }}
section.assistant {{ border-color: #16a34a; }}
section > h2:first-child {{ font-size: .8rem; color: #666; margin: .5rem 0; text-transform: uppercase; }}
pre, .said {{ white-space: pre-wrap; }}
p, pre, li, td {{ overflow-wrap: anywhere; }}
pre, code, details {{ font-family: ui-monospace, monospace; font-size: .85rem; background: #8881; }}
pre, details {{ padding: .5rem; }}
pre pre, pre code, details pre {{ background: none; padding: 0; }}
summary {{ cursor: pointer; }}
section h1, section h2, section h3 {{ font-size: 1.15rem; }}
table {{ border-collapse: collapse; }}
td, th {{ border: 1px solid #8886; padding: .2rem .6rem; text-align: left; }}
blockquote {{ border-left: 3px solid #8886; margin-left: 0; padding-left: 1rem; }}
ins {{ color: #15803d; text-decoration: none; }}
del {{ color: #b91c1c; text-decoration: none; }}
img {{ max-width: 100%; }}
dt {{ font-weight: bold; float: left; width: 8rem; clear: left; }}
.failed {{ color: #b91c1c; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #111; color: #ddd; }} ins {{ color: #4ade80; }} del {{ color: #f87171; }} }}
</style>
</head>
<body>
<h1>{title}</h1>
<dl>
{facts}
</dl>
{messages}
</body>
</html>
"""


def markdown(loaded: Loaded) -> str:
    """The conversation as Markdown; the model's own Markdown is passed on, results are fenced."""
    blocks = [f"# {_plain(one_line(loaded.title)) or loaded.header.id}"]
    blocks.append("\n".join(f"- {name}: {_plain(value)}" for name, value in facts(loaded)))
    for message in loaded.messages:
        blocks.append(f"## {_heading(message)}")
        blocks += _markdown_parts(message)
    return "\n\n".join(blocks) + "\n"


def _heading(message: Message) -> str:
    return message.role.capitalize() + (" (interrupted)" if message.interrupted else "")


def _plain(text: str) -> str:
    """`text` so that Markdown shows it as it is."""
    return re.sub(r"([\\`*_\[\]<>#|&])", r"\\\1", text)


def _markdown_parts(message: Message) -> Iterator[str]:
    for part in message.parts:
        if isinstance(part, Text):
            yield clean(part.text).strip("\n")
        elif isinstance(part, Thought):
            yield "\n".join(f"> {line}" for line in clean(part.text).split("\n"))
        elif isinstance(part, Image):
            yield f"*{picture(part)}*"
        elif isinstance(part, ToolCall):
            yield f"**{_plain(one_line(part.name))}**\n\n{_fenced(part.arguments, 'json')}"
        elif isinstance(part, ToolResult):
            failed = "" if part.ok else " (failed)"
            yield f"Result of **{_plain(one_line(part.name))}**{failed}\n\n{_fenced(part.text)}"
            yield from (f"*{picture(image)}*" for image in part.images)


def _fenced(text: str, language: str = "") -> str:
    text = clean(text).rstrip("\n")
    ticks = max((len(run) for run in re.findall(r"`{3,}", text)), default=2) + 1
    return f"{'`' * ticks}{language}\n{text}\n{'`' * ticks}"


def html(loaded: Loaded) -> str:
    """The conversation as one HTML page without scripts, links or anything from elsewhere."""
    rows = (f"<dt>{_escape(name)}</dt><dd>{_escape(value)}</dd>" for name, value in facts(loaded))
    return _PAGE.format(
        title=_escape(one_line(loaded.title) or loaded.header.id),
        facts="\n".join(rows),
        messages="\n".join(_section(message) for message in loaded.messages),
    )


def _escape(text: str) -> str:
    return markup.escape(clean(text))


def _section(message: Message) -> str:
    parts = "\n".join(_html_parts(message))
    return f'<section class="{message.role}">\n<h2>{_heading(message)}</h2>\n{parts}\n</section>'


def _html_parts(message: Message) -> Iterator[str]:
    for part in message.parts:
        if isinstance(part, Text) and message.role == "assistant":
            yield _rendered(part.text)
        elif isinstance(part, Text):
            yield f'<p class="said">{_escape(part.text)}</p>'
        elif isinstance(part, Thought):
            thought = f'<p class="said">{_escape(part.text)}</p>'
            yield f"<details><summary>Thought</summary>{thought}</details>"
        elif isinstance(part, Image):
            yield _image(part)
        elif isinstance(part, ToolCall):
            yield f"<pre><b>{_escape(part.name)}</b> {_escape(part.arguments)}</pre>"
        elif isinstance(part, ToolResult):
            failed = "" if part.ok else ' <span class="failed">failed</span>'
            summary = f"<summary>Result of {_escape(part.name)}{failed}</summary>"
            yield f"<details>{summary}<pre>{_escape(part.text)}</pre></details>"
            if isinstance(diff := part.meta.get("diff"), str):
                yield f"<pre>{_coloured(diff)}</pre>"
            yield from (_image(image) for image in part.images)


def _rendered(text: str) -> str:
    """An answer's Markdown as HTML. Markup in it is shown, not obeyed; links and pictures stay text."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.disable(["link", "image", "autolink", "reference"])
    return str(reader.render(clean(text))).rstrip()


def _coloured(diff: str) -> str:
    marks = {"+": "ins", "-": "del"}
    lines = ((_escape(line), marks.get(line[:1])) for line in diff.rstrip("\n").split("\n"))
    return "\n".join(f"<{mark}>{line}</{mark}>" if mark else line for line, mark in lines)


def _image(image: Image) -> str:
    if image.mime not in SHOWN_PICTURES:
        return f"<p>{_escape(picture(image))}</p>"
    data = base64.b64encode(image.data).decode("ascii")
    return f'<img alt="" src="data:{image.mime};base64,{data}">'
