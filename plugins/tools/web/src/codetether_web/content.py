"""What kind of thing an answer's body is, and its text when it has one."""

from __future__ import annotations

import codecs
import re
from typing import Literal

import msgspec

from codetether_web.request import Page

Kind = Literal["html", "text", "pdf", "binary"]

_CHARSET = re.compile(rb"""charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{2,40})""", re.IGNORECASE)
# Only encodings of the web. Python has others that are slow or mean something else (idna, punycode, utf-7).
_KNOWN = re.compile(
    r"utf-?8(-sig)?|utf-?16(-?[bl]e)?|ascii|(iso-?)?8859-\d{1,2}|iso8859-\d{1,2}|cp\d{3,4}|windows-\d{3,4}"
    r"|shift_jis|euc_jp|euc_kr|gb2312|gbk|gb18030|big5|koi8-[ru]|mac-roman"
)
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TEXTS = ("json", "xml", "yaml", "javascript", "ecmascript", "toml", "markdown", "csv", "x-sh")


class Body(msgspec.Struct, frozen=True):
    """`text` is empty for pdf and binary. `mime` is what the server said, without parameters."""

    kind: Kind
    mime: str
    text: str = ""


def body_of(page: Page) -> Body:
    """The body read as what it is; no header can make bytes into text."""
    said = page.headers.get("content-type", "")
    mime = said.partition(";")[0].strip().lower()[:100]
    kind = _kind(mime, page.body)
    if kind in ("pdf", "binary"):
        return Body(kind, mime)
    return Body(kind, mime, _text(page.body, said))


def _kind(mime: str, body: bytes) -> Kind:
    start = body[:1024]
    if mime == "application/pdf" or start.startswith(b"%PDF-"):
        return "pdf"
    if b"\0" in start and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "binary"
    if mime in ("text/html", "application/xhtml+xml"):
        return "html"
    if mime.startswith("text/") or any(word in mime for word in _TEXTS):
        return "text"
    if mime in ("", "application/octet-stream", "binary/octet-stream"):
        return _guess(body)
    return "binary"


def _guess(body: bytes) -> Kind:
    head = body[:4096].lstrip()
    if head[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "html"
    try:
        head[:-3].decode("utf-8")
    except UnicodeDecodeError as error:
        return "text" if error.start > len(head) - 7 else "binary"
    return "text"


def _text(body: bytes, said: str) -> str:
    for bom, name in _BOMS:
        if body.startswith(bom):
            return body.decode(name, "replace")
    for found in (_CHARSET.search(said.encode()), _CHARSET.search(body[:2048])):
        if found and (name := _encoding(found.group(1).decode())):
            return body.decode(name, "replace")
    return body.decode("utf-8", "replace")


def _encoding(label: str) -> str:
    try:
        name = codecs.lookup(label).name
    except (LookupError, ValueError):
        return ""
    # The web calls Windows' Latin by the name of the ISO's.
    return ("cp1252" if name in ("iso8859-1", "ascii") else name) if _KNOWN.fullmatch(name) else ""
