"""Whose hooks they are: a person's own always run; those of a repository only as it was when it was trusted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from codetether.api import Finding, is_trusted

if TYPE_CHECKING:
    from codetether.api import Kernel

    from codetether_extension_shell_hooks import HookSettings, HooksSettings

TRUST = "read them, then run `codetether config trust`"


class Hook(NamedTuple):
    """A hook and where it is from: `own` when no file of a repository has a word in it."""

    name: str
    settings: HookSettings
    own: bool
    origin: str

    @property
    def confined(self) -> bool:
        """Whether it runs in the sandbox: only a person can let a hook out of it."""
        return self.settings.sandbox or not self.own


def hooks_of(kernel: Kernel, key: str, settings: HooksSettings) -> list[Hook]:
    """All that are set, in order."""
    return [_hook(kernel, key, name, each) for name, each in settings.hooks.items()]


def _hook(kernel: Kernel, key: str, name: str, settings: HookSettings) -> Hook:
    config = kernel.config
    written = config.table(key)["hooks"]
    fields = written[name] if isinstance(written, dict) else ()
    path = ("plugins", key, "hooks", name) if fields else ("plugins", key, "hooks")
    origins = [config.origin(*path, field) for field in fields] or [config.origin(*path)]
    theirs = [
        each for each in origins if Path(each).is_absolute() and each != str(config.dirs.file)
    ]
    return Hook(name, settings, not theirs, theirs[0] if theirs else origins[0])


def still_trusted(kernel: Kernel) -> bool:
    """Whether the repository the settings are from is as the person trusted it; reads files."""
    return is_trusted(kernel.config.directory, kernel.dirs)


def findings(kernel: Kernel, key: str, settings: HooksSettings) -> Iterable[Finding]:
    """One line for each hook."""
    trusted = still_trusted(kernel)
    for hook in hooks_of(kernel, key, settings):
        text = f"{hook.name} ({hook.settings.event}) runs `{hook.settings.command}`"
        where = f"{text}; from {hook.origin}"
        if hook.own or trusted:
            yield Finding("ok", key, where)
        else:
            yield Finding("warning", key, f"{where}; left out: that repository has changed", TRUST)
