"""The state of the cells, kept by the parent for the case that this process ends.

Classes, functions and imports are kept as what was written, and run again; other variables when they pickle.
"""

from __future__ import annotations

import ast
from contextlib import suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

WRITTEN = 1 << 20  # bytes of definitions


class _TooMuch(Exception):
    pass


class _Bounded:
    """A file that takes only so much."""

    def __init__(self, room: int) -> None:
        self.data = bytearray()
        self._room = room

    def write(self, data: bytes | memoryview) -> int:
        """Take more. Raises _TooMuch."""
        if len(self.data) + len(data) > self._room:
            raise _TooMuch
        self.data += data
        return len(data)


class Keeping:
    """What the parent has of the variables, so that only what changed is sent."""

    def __init__(self, variables: dict[str, Any], own: dict[str, Any], room: int) -> None:
        self._variables = variables
        self._own = own
        self._room = room
        self._digests: dict[str, int] = {}
        self._sizes: dict[str, int] = {}
        self._definitions: dict[str, str] = {}
        self._new: list[tuple[str, str]] = []
        self.lost: list[str] = []

    def note(self, tree: ast.Module, code: str) -> None:
        """Remember the definitions in a cell that was run, as far as it came."""
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                name = text = ast.unparse(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name, text = node.name, _source(node, code)
                if getattr(self._variables.get(name), "__module__", "") != "cell":
                    continue  # it was not reached
            else:
                continue
            self._definitions.pop(name, None)
            if sum(map(len, self._definitions.values())) + len(text) <= WRITTEN:
                self._definitions[name] = text
                self._new.append((name, text))

    def changes(self) -> dict[str, Any]:
        """What the parent needs to bring its copy up to date: `values` (hexadecimal), `gone`, `unsaved`, `written`. Cut off in
        the middle, nothing counts as sent.
        """
        values: dict[str, str] = {}
        unsaved: list[str] = []
        digests: dict[str, int] = {}
        names = [name for name, value in self._variables.items() if self._is_state(name, value)]
        for name in names:
            value = self._variables[name]
            if name in self._definitions and getattr(value, "__module__", "") == "cell":
                continue
            data = self._pickled(name, value)
            if data is None:
                unsaved.append(name)
                continue
            digests[name] = hash(data)
            if self._digests.get(name) != digests[name]:
                values[name] = data.hex()
        gone = [name for name in self._digests if name not in digests]
        self._sizes = {name: self._sizes[name] for name in digests}
        self._digests = digests
        written, self._new = self._new, []
        return {"values": values, "gone": gone, "unsaved": unsaved, "written": written}

    def _is_state(self, name: str, value: object) -> bool:
        module = type(ast)
        return (
            not name.startswith("__")
            and not isinstance(value, module)
            and self._own.get(name) is not value
        )

    def _pickled(self, name: str, value: object) -> bytes | None:
        import pickle  # not before there is something to keep

        others = sum(size for other, size in self._sizes.items() if other != name)
        file = _Bounded(self._room - others)
        try:
            pickle.Pickler(file, protocol=5).dump(value)
        except Exception:  # the value's own code runs, and may raise anything
            return None
        self._sizes[name] = len(file.data)
        return bytes(file.data)

    def restore(self, written: list[str], values: dict[str, str]) -> None:
        """Put back what the parent kept. What could not be is in `lost`, also when this is cut off."""
        import pickle

        self.lost = [*(_first_line(text) for text in written), *values]
        for text in written:
            with suppress(Exception):
                tree = ast.parse(text)
                exec(compile(tree, "<kept>", "exec"), self._variables)  # noqa: S102 - this process is there for that
                self.note(tree, text)
                self.lost.remove(_first_line(text))
        for name, data in values.items():
            with suppress(Exception):
                self._variables[name] = pickle.loads(bytes.fromhex(data))  # noqa: S301 - made by a cell, here
                self.lost.remove(name)
        self._new = []


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:60]


def _source(node: ast.AST, code: str) -> str:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(each.lineno for each in decorators)])  # type: ignore[attr-defined]
    return "\n".join(code.split("\n")[first - 1 : node.end_lineno])  # type: ignore[attr-defined]
