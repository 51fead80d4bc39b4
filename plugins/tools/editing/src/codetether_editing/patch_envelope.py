"""The envelope `*** Begin Patch` ... `*** End Patch`, which some models are trained to write."""

from __future__ import annotations

from codetether_editing.patch import FilePatch, Hunk, wrong

END = "*** End Patch"
END_OF_FILE = "*** End of File"
ADD, DELETE, UPDATE, MOVE = (
    "*** Add File:",
    "*** Delete File:",
    "*** Update File:",
    "*** Move to:",
)


def parse(lines: list[str]) -> list[FilePatch]:
    """The files between the marks; `lines[0]` is the first mark. Raises ToolError."""
    files: list[FilePatch] = []
    place = 1
    while place < len(lines):
        line = lines[place].rstrip()
        if line.strip() == END:
            return files
        if line.startswith("*** "):
            file, place = _file(lines, place)
            files.append(file)
        elif line:
            raise wrong(f"Line {place + 1} of the patch belongs to no file: {line[:80]!r}.")
        else:
            place += 1
    raise wrong(f"The patch does not end with {END!r}: it may have been cut.")


def _file(lines: list[str], place: int) -> tuple[FilePatch, int]:
    line = lines[place].rstrip()
    for mark in (ADD, DELETE, UPDATE):
        if line.startswith(mark):
            path = line.removeprefix(mark).strip()
            if not path:
                raise wrong(f"Line {place + 1} of the patch names no file.")
            body, after = _body(lines, place + 1)
            if mark == ADD:
                return FilePatch(None, path, [_addition(body, place)], exact=True), after
            if mark == DELETE:
                if any(line.strip() for line in body):
                    raise wrong(f"Line {place + 2} of the patch: a deletion has no lines.")
                return FilePatch(path, None, exact=False), after
            return _update(path, body, place), after
    raise wrong(f"Line {place + 1} of the patch is not understood: {line[:80]!r}.")


def _body(lines: list[str], place: int) -> tuple[list[str], int]:
    start = place
    while place < len(lines):
        line = lines[place].rstrip()
        if line.startswith("*** ") and not line.startswith((MOVE, END_OF_FILE)):
            break
        place += 1
    return lines[start:place], place


def _addition(body: list[str], place: int) -> Hunk:
    while body and not body[-1].strip():
        body = body[:-1]
    for line in body:
        if line and not line.startswith("+"):
            raise wrong(f"In the file added at line {place + 1} of the patch, lines begin with +.")
    return Hunk([("+", line[1:] + "\n") for line in body], 0)


def _update(path: str, body: list[str], place: int) -> FilePatch:
    file = FilePatch(path, path, exact=False)
    if body and body[0].startswith(MOVE):
        file.new = body[0].removeprefix(MOVE).strip()
        body, place = body[1:], place + 1
    hints: list[str] = []
    hunk = Hunk([])
    for number, line in enumerate(body, place + 2):
        if line.startswith("@@"):
            if hunk.lines:
                file.hunks.append(hunk)
                hunk, hints = Hunk([]), []
            if hint := line[2:].strip():
                hints.append(hint)
            hunk.hints = tuple(hints)
        elif line.startswith(END_OF_FILE):
            hunk.end = True
        elif line[:1] in {" ", "-", "+", ""}:
            hunk.lines.append((line[:1] or " ", line[1:] + "\n"))
        else:
            raise wrong(
                f"Line {number} of the patch begins with neither space, + nor -: {line[:80]!r}."
            )
    if hunk.lines:
        file.hunks.append(hunk)
    for hunk in file.hunks:
        while hunk.lines and hunk.lines[-1] == (" ", "\n") and not hunk.end:
            hunk.lines.pop()  # blank lines between sections are no context
    file.hunks = [hunk for hunk in file.hunks if hunk.lines]
    if not file.hunks and file.new == path:
        raise wrong(f"The update of {path} has no lines.")
    return file
