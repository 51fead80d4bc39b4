"""The token that clients over HTTP must give."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from codetether.api import CodetetherError, write_atomic

SOUND = re.compile(r"[A-Za-z0-9._~+/=-]{20,500}")  # RFC 6750, 2.1; shorter ones could be guessed


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(32)


def token_of(path: Path) -> tuple[str, bool]:
    """The token in the file `path`, and whether it was made now. Made, it is for this user alone.

    Raises CodetetherError when others may read the file, or what it holds is no token.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1000).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return _made(path), True
    except OSError as error:
        raise CodetetherError(f"cannot read {path}: {error.strerror}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CodetetherError(f"others may read {path}", f"chmod 600 {path}")
    if not SOUND.fullmatch(text):
        raise CodetetherError(
            f"{path} holds no token",
            "a token has 20 to 500 letters, digits and . _ ~ + / = -; without the file one is made",
        )
    return text, False


def _made(path: Path) -> str:
    token = new_token()
    try:
        write_atomic(path, f"{token}\n".encode(), mode=0o600)
    except OSError as error:
        raise CodetetherError(f"cannot write {path}: {error.strerror}") from None
    return token
