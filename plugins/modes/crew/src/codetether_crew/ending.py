"""A run that ends because something failed: it is stopped, and a person is told how to go on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from codetether.api import CodetetherError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def failing(stop: Callable[[str], None], again: Callable[[], str]) -> Iterator[None]:
    """`stop` is told why when the block fails, or whoever it is done for leaves; the error is told with `again`, the command
    that goes on with the run ("": there is nothing to go on with).
    """
    try:
        yield
    except BaseException as error:
        told = error
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            told = CodetetherError(f"{error.filename or 'a file'}: {error.strerror}")
        why = "interrupted"
        if isinstance(told, CodetetherError):
            why = told.message
            told.hint = _with(told.hint, again())
        stop(why)
        raise told from None


def _with(hint: str, again: str) -> str:
    if not again or again in hint:
        return hint
    return f"{hint}; then {again}" if hint else f"go on: {again}"
