"""Commands as Markdown files: `NAME.md` in `commands/` of the user's configuration, or of a trusted project's
`.codetether/`. Front matter `description` and `argument-hint`; the body is what is said to the model, with
`$ARGUMENTS` for all words behind the command and `$1` to `$9` for single ones.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from codetether.api import CodetetherError, split_front_matter

from codetether_conversation.slash import Run, Slash

if TYPE_CHECKING:
    from codetether.api import Kernel

    from codetether_conversation.conversation import Conversation

LARGEST = 64_000
NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
PLACE = re.compile(r"\$(ARGUMENTS|[1-9])")


async def written(kernel: Kernel, directory: Path) -> list[Slash]:
    """The commands of all files that can be read; a project's own win over the user's."""
    folders = [kernel.dirs.config / "commands"]
    if (project := kernel.trusted_folder(directory, "commands")) is not None:
        folders.append(project)
    return await trio.to_thread.run_sync(_read_all, folders)


def written_here(kernel: Kernel, directory: Path, name: str) -> bool:
    """Whether the project has a file for the command `name`, trusted or not. Blocks."""
    folder = (kernel.root_of(directory) or directory) / ".codetether" / "commands"
    return NAME.fullmatch(name) is not None and (folder / f"{name}.md").is_file()


def _read_all(folders: list[Path]) -> list[Slash]:
    found = {}
    for folder in folders:
        for path in sorted(folder.glob("*.md")) if folder.is_dir() else ():
            if NAME.fullmatch(path.stem) and path.is_file() and path.stat().st_size <= LARGEST:
                found[path.stem] = _read(path)
    return list(found.values())


def _read(path: Path) -> Slash:
    try:
        facts, body = split_front_matter(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError, CodetetherError) as error:
        return Slash(path.stem, f"cannot be read: {error}", _broken(path, str(error)))
    summary = str(facts.get("description") or body.strip().partition("\n")[0])[:100]
    hint = str(facts.get("argument-hint") or "")[:60]
    return Slash(path.stem, summary, _saying(body.strip()), arguments=hint, origin=str(path))


def _saying(body: str) -> Run:
    async def say(conversation: Conversation, words: str) -> None:
        await conversation.speak(filled(body, words))

    return say


def _broken(path: Path, why: str) -> Run:
    async def tell(_: Conversation, __: str) -> None:
        raise CodetetherError(f"{path} cannot be read: {why}", "mend the file")

    return tell


def filled(body: str, words: str) -> str:
    """`body` with the words in their places; where it has none, they follow it. Never read as a command itself."""
    single = words.split()
    given = {str(number): word for number, word in enumerate(single, 1)}
    text = PLACE.sub(
        lambda match: words if match[1] == "ARGUMENTS" else given.get(match[1], ""), body
    )
    if words and not PLACE.search(body):
        text = f"{text}\n\n{words}"
    return f" {text}" if text.startswith("/") else text
