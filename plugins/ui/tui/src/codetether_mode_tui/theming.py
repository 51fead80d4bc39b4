"""Which theme is in force: the settings' at first, the person's choice after that, and files that change meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codetether.api import CodetetherError
from codetether_conversation import Choosing, Entry, Shown

from codetether_mode_tui.themes import Theme, is_light, load, names

if TYPE_CHECKING:
    from codetether_mode_tui.screen import Screen


class Theming:
    """`wanted` is a name, or `auto`: light or dark, as the terminal's background is. `read` gives the settings anew."""

    def __init__(
        self,
        wanted: str,
        custom: dict[str, Any],
        folder: Path,
        *,
        background: str | None = None,
        read: Callable[[], tuple[str, dict[str, Any]]] | None = None,
        watched: Path | None = None,
    ) -> None:
        self._wanted, self._custom, self._folder = wanted, custom, folder
        self._background = background
        self._read, self._watched = read, watched
        self.complaint = ""
        self._seen = self._state()

    def first(self) -> Theme:
        """The theme to begin with; a wrong one is said and replaced by `dark`."""
        return self._load()

    def _load(self) -> Theme:
        name = self._wanted
        if name == "auto":
            light = is_light(self._background, os.environ.get("COLORFGBG", ""))
            name = "light" if light else "dark"
        try:
            theme = load(name, self._folder, self._custom)
            self.complaint = ""
        except CodetetherError as error:
            self.complaint = f"{error.message}: {error.hint}"
            theme = load("dark", self._folder)
        return theme

    def choose(self, screen: Screen, name: str) -> None:
        """Use the theme `name`; without a name the person is offered them all."""
        known = names(self._folder)
        if not name:
            entries = tuple(Entry(each, each) for each in ("auto", *known))
            screen.state.take(Choosing("theme", "Theme", entries, self._wanted))
            return
        if name not in known and name not in ("auto", "default"):
            text = f"there is no theme {name}"
            screen.state.take(Shown(text, kind="error", hint=f"there are: {', '.join(known)}"))
            return
        self._wanted = name
        screen.use(self._load())
        if self.complaint:
            screen.state.take(Shown(self.complaint, kind="error"))

    def reloaded(self) -> Theme | None:
        """The theme anew when one of its files, or the settings, changed since the last look."""
        state = self._state()
        if state == self._seen:
            return None
        changed_settings = state[0] != self._seen[0]
        self._seen = state
        if changed_settings and self._read is not None:
            try:
                self._wanted, self._custom = self._read()
            except CodetetherError as error:
                self.complaint = error.message
                return None
        return self._load()

    def _state(self) -> tuple[Any, ...]:
        def stamp(path: Path | None) -> Any:
            try:
                return path.stat().st_mtime_ns if path is not None else None
            except OSError:
                return None

        own = tuple(sorted((path.name, stamp(path)) for path in self._folder.glob("*.toml")))
        return stamp(self._watched), own
