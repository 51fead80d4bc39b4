"""Bringing the user's repository to the workers, each commit once, and what they did back."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import trio
from codetether.api import CodetetherError
from codetether_nats import Bundle, fetch, import_commits, pack, stamp

if TYPE_CHECKING:
    from codetether.api import AgentTask
    from codetether_nats import Link
    from codetether_worktrees import Repository


class Sender:
    """One repository of this machine. `origin` names it for workers, as long as this process lives; `open` are the tasks
    that a worker may still be at; `inside` says for a directory where in the repository it is.
    """

    def __init__(self, link: Link, repository: Repository, remote: str) -> None:
        self.repository = repository
        self.origin = stamp()
        self.open: set[str] = set()
        self.inside: dict[str, str] = {}
        self._link = link
        self._remote = remote
        self._url = ""
        self._sent: list[Bundle] = []
        self._sending = trio.Lock()

    async def bring(self, commit: str) -> tuple[tuple[Bundle, ...], str]:
        """What brings a worker to `commit`: bundles on the broker, in their order, and the remote they rest on, if any."""
        async with self._sending:
            if self._remote and not self._url:
                self._url = await self._address()
            if await self._missing(commit):
                has = [each.commit for each in self._sent]
                if self._remote:
                    has.append(f"--remotes={self._remote}")
                self._sent.append(await pack(self._link, self.repository, commit, has))
            return tuple(self._sent), self._url

    async def take(self, bundle: Bundle, task: AgentTask) -> None:
        """Fetch what a worker did, onto the task's branch. Raises CodetetherError when it is not what it must be."""
        await fetch(self._link, self.repository, bundle, check=True)
        async with self.repository.changing:
            await import_commits(self.repository, task.branch, bundle.commit, task.base)

    def clear(self) -> None:
        """Take the bundles off the broker, if nobody can need them any more."""
        if not self.open:
            self._link.drop_files([each.name for each in self._sent])
            self._sent.clear()

    def forget(self) -> None:
        """Send everything anew when it is next needed: the broker may have it no longer."""
        self._sent = []

    async def _missing(self, commit: str) -> bool:
        for each in self._sent:
            if await self.repository.contains(each.commit, commit):
                return False
        if not self._remote:
            return True
        said = await self.repository.git(
            "rev-list", "--max-count=1", commit, "--not", f"--remotes={self._remote}"
        )
        return bool(said)

    async def _address(self) -> str:
        url = await self.repository.git("remote", "get-url", "--", self._remote)
        if "://" in url and _holds_a_secret(url):
            raise CodetetherError(
                f"the address of the remote {self._remote} holds a password, which would be told to every worker"
            )
        return url


def _holds_a_secret(url: str) -> bool:
    """A name alone may be a token, but not with ssh."""
    parts = urlsplit(url)
    return bool(parts.password or (parts.username and parts.scheme != "ssh"))
