"""A kernel for a test: a home of its own, the plugins chosen, and a model that says what the test wrote."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetether.catalog import Row, scan
from codetether.testing.replies import Said

if TYPE_CHECKING:
    from codetether.kernel import Kernel
    from codetether.ports import Plugin
    from codetether.words import Request

MODEL = "scripted/test"
HINT = "install codetether-provider-scripted beside the tests"


@asynccontextmanager
async def make_kernel(
    home: Path | None = None,
    *,
    replies: Sequence[Said] | Callable[[Request], Said] | None = None,
    plugins: Sequence[str] | None = None,
    off: Sequence[str] = (),
    extra: Mapping[str, type[Plugin]] | None = None,
    settings: Mapping[str, Any] | None = None,
    directory: Path | None = None,
    context: int | None = None,
) -> AsyncIterator[Kernel]:
    """A kernel whose settings and data live under `home` (default: a temporary folder, removed afterwards).

    `replies`: what the model `scripted/test` says, in order, or a function from the Request; with them it is the
    default model, and `kernel.provider("scripted").asked` holds the Requests. `context` is its window in tokens.
    `plugins`: the switches (`tools:bash`, `tools`, a distribution) that are on, besides the scripted provider; None is
    everything installed. `off` takes away. `extra`: plugin classes by key, as if they were installed. `settings`:
    dotted keys as for `Kernel.load`. `directory`: whose project settings are read (default: `home`/work). What the
    surrounding cache knows of this machine's sandboxes is known under `home` too.
    """
    from codetether.config import Config
    from codetether.kernel import Kernel

    with _folder(home) as place, _at_home(place):
        work = directory or place / "work"
        work.mkdir(parents=True, exist_ok=True)
        rows = [row for row in scan() if row.key not in (extra or {})]
        rows += [_row(key, cls) for key, cls in (extra or {}).items()]
        chosen = dict(settings or {})
        if plugins is not None:
            chosen["plugins.only"] = [*plugins, "providers:scripted", *(extra or {})]
        if replies is not None:
            chosen.setdefault("default_model", MODEL)
        async with Kernel(Config.load(work, off=off, overrides=chosen), rows) as kernel:
            for key, cls in (extra or {}).items():
                kernel.host._register(cls(kernel, key), key)
            if replies is not None:
                _scripted(kernel).use(replies, context=context)
            yield kernel


def _scripted(kernel: Kernel) -> Any:
    from codetether.errors import PluginError

    try:
        return kernel.provider("scripted")
    except PluginError as error:
        raise PluginError(error.message, HINT) from error


def _row(key: str, cls: type[Plugin]) -> Row:
    kind, _, name = key.partition(":")
    return Row(
        kind, name, f"{cls.__module__}:{cls.__qualname__}", "a-test", "0", cls.__doc__ or "", ""
    )


def _proofs() -> Iterator[tuple[str, bytes]]:
    """What attacks on the sandboxes of this machine showed. Each says what it holds for, and is believed for that only."""
    from codetether.dirs import Dirs
    from codetether.errors import ConfigError

    try:
        cache = Dirs.find().cache
    except ConfigError:
        return  # a test without a home
    for file in cache.glob("sandbox-*.json"):
        yield file.name, file.read_bytes()


def _know(proofs: Sequence[tuple[str, bytes]]) -> None:
    """Begin with these: attacking anew for each kernel would take most of a test's time."""
    from codetether.dirs import Dirs
    from codetether.files import write_atomic

    cache = Dirs.find().cache
    for name, proof in proofs:
        cache.mkdir(parents=True, exist_ok=True)
        if not (cache / name).exists():
            write_atomic(cache / name, proof)


@contextmanager
def _folder(home: Path | None) -> Iterator[Path]:
    if home is not None:
        yield home
        return
    with tempfile.TemporaryDirectory(prefix="codetether-") as made:
        yield Path(made).resolve()


@contextmanager
def _at_home(home: Path) -> Iterator[None]:
    """Point HOME and the XDG directories below `home`, and back again."""
    known = list(_proofs())
    ours = {"HOME": str(home)} | {
        f"XDG_{kind}_HOME": str(home / kind.lower())
        for kind in ("CONFIG", "DATA", "CACHE", "STATE")
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    _know(known)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
