"""Unified diffs: git's with its extended headers, GNU diff's, and models' with wrong counts or bare `@@`."""

from __future__ import annotations

import re

from codetether_editing.patch import FilePatch, Hunk, wrong

_HUNK = re.compile(r"@@+ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_ESCAPES = {"n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, '"': 34, "\\": 92}
NO_NEWLINE = "\\"


def parse(lines: list[str]) -> list[FilePatch]:
    """The files of a diff; lines that belong to none are passed over. Raises ToolError."""
    if lines and lines[-1] == "":
        lines = lines[:-1]
    return _Parser(lines).files()


class _Parser:
    def __init__(self, lines: list[str]) -> None:
        self._lines = lines
        self._at = 0

    def files(self) -> list[FilePatch]:
        found: list[FilePatch] = []
        while self._at < len(self._lines):
            if self._line().startswith("diff --git "):
                found.append(self._git())
            elif self._is_header(self._at):
                found.append(self._plain())
            elif self._line().startswith("@@ "):
                raise wrong(f"Line {self._at + 1} of the patch is a hunk before any file name.")
            else:
                self._at += 1
        return found

    def _line(self, ahead: int = 0) -> str:
        place = self._at + ahead
        return self._lines[place].rstrip("\r") if place < len(self._lines) else ""

    def _is_header(self, place: int) -> bool:
        pair = self._lines[place : place + 2]
        return len(pair) == 2 and pair[0].startswith("--- ") and pair[1].startswith("+++ ")

    # --- names ---
    def _git(self) -> FilePatch:
        first = self._line()
        self._at += 1
        headers: dict[str, str] = {}
        while self._at < len(self._lines):
            line = self._line()
            match = re.match(
                r"(old mode|new mode|new file mode|deleted file mode|rename from|rename to|copy from|copy to"
                r"|similarity index|dissimilarity index|index) ?(.*)",
                line,
            )
            if not match:
                break
            headers[match[1]] = match[2]
            self._at += 1
        if self._line().startswith(("Binary files ", "GIT binary patch")):
            raise wrong("The patch changes a binary file, which this tool cannot.")
        file = self._git_names(first, headers)
        if self._is_header(self._at):
            old, new = _name(self._line()[4:], strip=True), _name(self._line(1)[4:], strip=True)
            self._at += 2
            if "rename from" not in headers and "copy from" not in headers:
                file.old, file.new = old, new
            file.hunks = self._hunks()
        self._check_modes(file, headers)
        return file

    def _git_names(self, first: str, headers: dict[str, str]) -> FilePatch:
        for kind in ("rename", "copy"):
            if f"{kind} from" in headers and f"{kind} to" in headers:
                old, new = (_unquoted(headers[f"{kind} {end}"]) for end in ("from", "to"))
                return FilePatch(old, new, copy=kind == "copy")
        name = _twice(first.removeprefix("diff --git "))
        file = FilePatch(name, name)
        if "new file mode" in headers:
            file.old = None
        if "deleted file mode" in headers:
            file.new = None
        return file

    def _check_modes(self, file: FilePatch, headers: dict[str, str]) -> None:
        if file.old is None and file.new is None:
            raise wrong("A part of the patch names no file.")
        for key in ("new file mode", "deleted file mode", "old mode", "new mode"):
            if headers.get(key, "100").strip()[:3] != "100":
                raise wrong(
                    f"{file.new or file.old} is no regular file in the patch (mode {headers[key]})."
                )
        mode = headers.get("new file mode") or headers.get("new mode")
        if mode:
            file.executable = bool(int(mode[-3:], 8) & 0o111) if mode[-3:].isdigit() else None
        if " " in headers.get("index", "") and not headers["index"].split(" ")[1].startswith("100"):
            raise wrong(f"{file.new or file.old} is no regular file in the patch.")

    def _plain(self) -> FilePatch:
        first, second = self._line()[4:], self._line(1)[4:]
        strip = first.startswith(("a/", '"a/', "/dev/null")) and second.startswith(
            ("b/", '"b/', "/dev/null")
        )
        old, new = _name(first, strip=strip), _name(second, strip=strip)
        if old is None and new is None:
            raise wrong(f"Line {self._at + 1} of the patch names no file.")
        self._at += 2
        file = FilePatch(old, new, self._hunks())
        if not file.hunks:
            raise wrong(f"The patch has no hunk for {new or old}.")
        if old is not None and new is not None:
            file.old, file.other = new, old if old != new else None
        return file

    # --- hunks ---
    def _hunks(self) -> list[Hunk]:
        found: list[Hunk] = []
        while self._at < len(self._lines) and self._line().startswith("@@"):
            line = self._line()
            self._at += 1
            match = _HUNK.match(line)
            if match is None:
                body = self._scanned()
                hunk = Hunk(body, hints=(hint,) if (hint := line.strip("@ ")) else ())
            else:
                counts = int(match[2] or 1), int(match[4] or 1)
                body = self._counted(*counts) or self._scanned()
                hunk = Hunk(body, int(match[1]))
                if not counts[0]:
                    hunk.start = int(match[1]) + 1 if int(match[1]) else 0
            if not body:
                raise wrong(f"The hunk at line {self._at} of the patch is empty.")
            found.append(hunk)
        return found

    def _counted(self, old: int, new: int) -> list[tuple[str, str]]:
        """The hunk's lines when the header's counts fit them; nothing when they do not."""
        body: list[tuple[str, str]] = []
        place = self._at
        while old > 0 or new > 0:
            if place >= len(self._lines):
                return []
            line = self._lines[place]
            sign = line[:1] if line not in ("", "\r") else " "
            if sign == NO_NEWLINE and body:
                _cut_newline(body)
            elif sign in " -+":
                old -= sign != "+"
                new -= sign != "-"
                body.append((sign, (line[1:] if line[:1] == sign else line) + "\n"))
            else:
                return []
            place += 1
        if place < len(self._lines) and self._lines[place].startswith(NO_NEWLINE):
            _cut_newline(body)
            place += 1
        if old or new or self._goes_on(place):
            return []
        self._at = place
        return body

    def _goes_on(self, place: int) -> bool:
        """Whether a line of the hunk is left after the counts are used up."""
        if place >= len(self._lines) or self._is_header(place):
            return False
        line = self._lines[place]
        return line[:1] in {"+", "-", " "} and line.rstrip() not in {"--", "-"}

    def _scanned(self) -> list[tuple[str, str]]:
        """The hunk's lines up to the next header."""
        body: list[tuple[str, str]] = []
        while self._at < len(self._lines):
            line = self._lines[self._at]
            if line.startswith(("@@", "diff ", "```", "index ")) or self._is_header(self._at):
                break
            sign = line[:1] if line not in ("", "\r") else " "
            if sign == NO_NEWLINE and body:
                _cut_newline(body)
            elif sign in " -+":
                body.append((sign, (line[1:] if line[:1] == sign else line) + "\n"))
            else:
                raise wrong(
                    f"Line {self._at + 1} of the patch begins with neither space, + nor -: {line[:80]!r}."
                )
            self._at += 1
        while body and body[-1] == (" ", "\n"):
            body.pop()
        return body


def _cut_newline(body: list[tuple[str, str]]) -> None:
    sign, text = body[-1]
    body[-1] = sign, text.removesuffix("\n")


def _name(text: str, *, strip: bool) -> str | None:
    """The path after `--- ` or `+++ `; None for /dev/null."""
    text = text.partition("\t")[0].rstrip(" ") if not text.startswith('"') else text
    name = _unquoted(text)
    if name == "/dev/null":
        return None
    return name.partition("/")[2] if strip and name[:2] in {"a/", "b/"} else name


def _unquoted(text: str) -> str:
    """A name as git quotes it: octal bytes and C escapes between double quotes."""
    text = text.strip()
    if not text.startswith('"'):
        return text
    inner = text[1:].rpartition('"')[0]
    data = bytearray()
    for match in re.finditer(r"\\([0-7]{3})|\\(.)|([^\\]+)", inner):
        octal, escape, plain = match.groups()
        if octal:
            data.append(int(octal, 8) & 255)
        elif escape:
            data.append(_ESCAPES.get(escape, ord(escape[0]) & 255))
        else:
            data += plain.encode("utf-8", "surrogateescape")
    return data.decode("utf-8", "surrogateescape")


def _twice(text: str) -> str:
    """The name in `a/NAME b/NAME`."""
    if text.startswith('"'):
        return _unquoted(text[: text.index('" ') + 1] if '" ' in text else text).partition("/")[2]
    half = (len(text) - 1) // 2
    one, other = text[:half], text[half + 1 :]
    if one.partition("/")[2] != other.partition("/")[2]:
        raise wrong(f"The names in 'diff --git {text[:200]}' cannot be told apart.")
    return one.partition("/")[2]
