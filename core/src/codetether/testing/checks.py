"""What a fault must not do: leave processes behind, let a secret out. And a disk that is full, without root."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote


def processes_with(marker: str) -> dict[int, str]:
    """The running processes whose environment contains `marker`, by pid, with their command line; this one left out.

    Linux only: it reads /proc. Give every child of a test a variable of its own and look for that.
    """
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):  # it ended meanwhile, or is not ours
            if marker.encode() in (entry / "environ").read_bytes():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = command.decode(errors="replace").strip()
    return found


def forms_of(secret: str) -> set[bytes]:
    """The bytes a secret may hide in: as it is, escaped for JSON and URLs, and in base64 at any offset."""
    raw = secret.encode()
    escaped = (json.dumps(secret, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False))
    forms = {raw, quote(secret, safe="").encode(), *(text.encode() for text in escaped)}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw)
        start = (
            0 if offset == 0 else offset + 1
        )  # characters that the bytes before it have a part in
        end = len(encoded.rstrip(b"=")) - ((len(raw) + offset) % 3 > 0)
        forms.add(encoded[start:end])
    return forms


def files_with(secret: str, *folders: Path) -> list[Path]:
    """The files below `folders` that hold `secret` in any of its forms, in content or name."""
    forms = forms_of(secret)
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if any(form in os.fsencode(path.name) for form in forms)
        or (path.is_file() and any(form in path.read_bytes() for form in forms))
    ]


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes: a write that would is short, the next one fails with
    EFBIG. POSIX only; files of pytest itself count too, so keep it short.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
