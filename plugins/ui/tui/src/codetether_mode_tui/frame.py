"""Rows of the screen, written as cells that were made before.

prompt_toolkit's windows make every cell of every frame anew, and their splits share out rows one by one: together three
quarters of what a key cost (benchmarks/README.md). Most lines of a frame are those of the frame before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from prompt_toolkit.layout import Container
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.layout.mouse_handlers import MouseHandlers
from prompt_toolkit.layout.screen import Char, Screen, WritePosition
from prompt_toolkit.mouse_events import MouseEvent

from codetether_mode_tui.lines import Fragment, Line

if TYPE_CHECKING:
    from prompt_toolkit.key_binding.key_bindings import NotImplementedOrNone

    MouseHandler = Callable[[int, MouseEvent], NotImplementedOrNone]

LINES = 1024  # lines whose cells are remembered: some screens full
AFTER_WIDE = Char("", "")  # what prompt_toolkit has in the cells a wide character covers


class Paint(Protocol):
    """A part of the screen as lines."""

    def __call__(self, width: int, height: int, /) -> Sequence[Line]:
        """At most `height` lines of at most `width` cells."""
        ...


class Painted(Container):
    """A part that is painted as lines for exactly its size. `clicked` gets the row and the event of the mouse."""

    def __init__(self, paint: Paint, height: Callable[[], int] | None = None) -> None:
        self._paint = paint
        self._height = height
        self.clicked: MouseHandler | None = None

    def write_to_screen(  # noqa: PLR0917 - as prompt_toolkit calls it
        self,
        screen: Screen,
        mouse_handlers: MouseHandlers,
        write_position: WritePosition,
        parent_style: str,
        erase_bg: bool,
        z_index: int | None,
    ) -> None:
        """Put its lines where they belong."""
        x, y, width, height = (
            write_position.xpos, write_position.ypos, write_position.width, write_position.height,
        )  # fmt: skip
        lines = self._paint(width, height)
        for at in range(height):
            line = tuple(lines[at]) if at < len(lines) else ()
            screen.data_buffer[y + at].update(enumerate(_cells(line, width, parent_style), x))
        screen.height = max(screen.height, y + height)
        if (clicked := self.clicked) is not None:
            mouse_handlers.set_mouse_handler_for_range(
                x, x + width, y, y + height, lambda event: clicked(event.position.y - y, event)
            )

    def reset(self) -> None:
        """There is nothing to forget."""

    def preferred_width(self, max_available_width: int) -> Dimension:
        """All there is."""
        return Dimension()

    def preferred_height(self, width: int, max_available_height: int) -> Dimension:
        """Its height, or all there is."""
        return Dimension() if self._height is None else Dimension.exact(self._height())

    def get_children(self) -> list[Container]:
        """None."""
        return []


class Rows(Container):
    """Parts below each other. One, `rest`, gets the rows that the others leave; when there are too few, the last go first."""

    def __init__(self, parts: Sequence[Container], rest: Container, style: str) -> None:
        self._parts = parts
        self._rest = rest
        self._style = style

    def write_to_screen(  # noqa: PLR0917 - as prompt_toolkit calls it
        self,
        screen: Screen,
        mouse_handlers: MouseHandlers,
        write_position: WritePosition,
        parent_style: str,
        erase_bg: bool,
        z_index: int | None,
    ) -> None:
        """Draw every part that has a row."""
        x, y, width = write_position.xpos, write_position.ypos, write_position.width
        for part, height in zip(
            self._parts, self._heights(width, write_position.height), strict=True
        ):
            if height:
                part.write_to_screen(
                    screen, mouse_handlers, WritePosition(x, y, width, height),
                    f"{parent_style} {self._style}", erase_bg, z_index,
                )  # fmt: skip
            y += height

    def _heights(self, width: int, height: int) -> list[int]:
        left = height
        heights = {}
        for part in reversed(self._parts):
            if part is not self._rest:
                heights[part] = min(part.preferred_height(width, height).preferred, left)
                left -= heights[part]
        heights[self._rest] = left
        return [heights[part] for part in self._parts]

    def reset(self) -> None:
        """Reset the parts."""
        for part in self._parts:
            part.reset()

    def preferred_width(self, max_available_width: int) -> Dimension:
        """All there is."""
        return Dimension()

    def preferred_height(self, width: int, max_available_height: int) -> Dimension:
        """All there is."""
        return Dimension()

    def get_children(self) -> list[Container]:
        """The parts."""
        return list(self._parts)


@lru_cache(LINES)
def _cells(line: tuple[Fragment, ...], width: int, ground: str) -> tuple[Char, ...]:
    """Exactly `width` cells of a line on `ground`; a character without a width joins the one before."""
    row: list[Char] = []
    for style, text in line:
        whole = f"{ground} {style}"
        for character in text:
            cell = _cell(character, whole)
            if cell.width == 0 and row:
                row[-1] = Char(row[-1].char + character, row[-1].style)
                continue
            row.append(cell)
            row.extend([AFTER_WIDE] * (cell.width - 1))
    row += [_cell(" ", ground)] * (width - len(row))
    return tuple(row[:width])


@lru_cache(4 * LINES)
def _cell(character: str, style: str) -> Char:
    return Char(character, style)
