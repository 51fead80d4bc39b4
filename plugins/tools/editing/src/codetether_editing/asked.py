"""What a model says to have text replaced: the parameters of edit, multiedit and the two that ask a person first."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class OneEdit(Struct, frozen=True):
    """One replacement."""

    path: Annotated[str, Meta(description="File")]
    old_string: Annotated[str, Meta(description="Text to replace, as it is in the file")]
    new_string: Annotated[str, Meta(description="Text to put there; empty removes")]
    replace_all: Annotated[bool, Meta(description="Replace every occurrence")] = False


class Edits(Struct, frozen=True):
    """Several replacements."""

    edits: Annotated[list[OneEdit], Meta(description="Replacements, made in this order")]

    @property
    def paths(self) -> tuple[str, ...]:
        """Every file once."""
        return tuple(dict.fromkeys(edit.path for edit in self.edits))
