"""Which servers there are: `mcpServers` as every client of the protocol writes it, in two files.

The user's own is `mcp.json` in the config directory. A project's is `.mcp.json` at the root of its repository, and it
counts only where the repository is trusted as it is: a server is a command that runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from codetether.api import is_trusted

from codetether_mcp.entry import KEYS, Wrong, check_name, read_entry

if TYPE_CHECKING:
    from codetether.api import Kernel

USER_FILE = "mcp.json"
PROJECT_FILE = ".mcp.json"
LARGEST = 1_000_000  # bytes of a file of servers
MOST = 100  # servers in one file
TRUST = "look at it, then: codetether config trust"


class Server(msgspec.Struct, frozen=True):
    """One configured server.

    `origin`: the file that names it; `project`: that is the project's. `command`, `args`, `env` and `cwd` are for
    stdio, `url`, `headers` and `oauth` for http; `env`, `headers` and `oauth` may hold `${vault:NAME/FIELD}`, which is read when the
    server is connected. Timeouts in seconds: until it answers at all, and for one call without a sign of progress.
    `include` and `exclude` are patterns over its tools' names.
    """

    name: str
    kind: Literal["stdio", "http"]
    origin: str
    project: bool = False
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str = ""
    url: str = ""
    headers: dict[str, str] = {}
    oauth: dict[str, str] = {}
    start_timeout: float = 30.0
    call_timeout: float = 300.0
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    disabled: bool = False

    @property
    def place(self) -> str:
        """Where it runs or answers, for a person; its arguments and headers, which may be secret, are left out."""
        return self.command if self.kind == "stdio" else self.url.partition("?")[0]

    @property
    def authorized(self) -> bool:
        """Whether its headers say already who we are."""
        return any(name.lower() == "authorization" for name in self.headers)

    def digest(self) -> str:
        """Changes when anything of what is started or asked changes."""
        told = msgspec.structs.replace(self, origin="", disabled=False)
        return hashlib.sha256(msgspec.json.encode(told, order="deterministic")).hexdigest()[:32]


class Trouble(msgspec.Struct, frozen=True):
    """What is wrong with a file or one entry; `server` is empty when it is the file. `hint`: the next step."""

    server: str
    text: str
    hint: str = ""


class Configured(msgspec.Struct, frozen=True):
    """What the files say. `withheld`: the project's file, when it is there and not trusted."""

    servers: tuple[Server, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    withheld: str = ""

    def get(self, name: str) -> Server | None:
        """The server of this name."""
        return next((server for server in self.servers if server.name == name), None)


def user_file(kernel: Kernel) -> Path:
    """The user's own file of servers. It need not exist."""
    return kernel.dirs.config / USER_FILE


def project_file(kernel: Kernel, directory: Path) -> Path:
    """The project's file of servers. It need not exist."""
    return (kernel.root_of(directory) or directory) / PROJECT_FILE


def servers(kernel: Kernel, directory: Path) -> Configured:
    """The servers for a session in `directory`, in the order of their names. Reads files; never raises.

    A name that both files have is the user's: a repository does not replace what the user set up.
    """
    found: dict[str, Server] = {}
    troubles: list[Trouble] = []
    withheld = ""
    project = project_file(kernel, directory)
    if project.is_file():
        data = _read(project, troubles)
        if data is not None and is_trusted(directory, kernel.dirs, {PROJECT_FILE: data}):
            _add(project, data, project.parent, True, found, troubles)
        elif data is not None:
            withheld = str(project)
            text = "its servers are not started: this repository is not trusted as it is"
            troubles.append(Trouble("", f"{project}: {text}", TRUST))
    shadowed = dict(found)
    own = user_file(kernel)
    if (data := _read(own, troubles)) is not None:
        _add(own, data, directory, False, found, troubles)
    troubles += (
        Trouble(name, f"{project} names {name} too; yours is used")
        for name in sorted(shadowed)
        if found[name] is not shadowed[name]
    )
    ordered = tuple(found[name] for name in sorted(found))
    return Configured(ordered, tuple(troubles), withheld)


def _read(path: Path, troubles: list[Trouble]) -> bytes | None:
    try:
        return read_file(path)
    except Wrong as wrong:
        troubles.append(Trouble("", f"{path}: {wrong}", "correct it by hand"))
        return None


def _add(  # noqa: PLR0917 - a file, whose it is, and where it goes
    path: Path,
    data: bytes,
    base: Path,
    project: bool,
    found: dict[str, Server],
    troubles: list[Trouble],
) -> None:
    try:
        entries = entries_in(data)
    except Wrong as wrong:
        troubles.append(Trouble("", f"{path}: {wrong}", "correct it by hand"))
        return
    for name, entry in entries.items():
        try:
            check_name(name)
            fields, unknown = read_entry(entry, base, project=project)
        except Wrong as wrong:
            shown = name[:100] if name.isprintable() else ascii(name[:100])
            troubles.append(Trouble(name, f"{path}: {shown}: {wrong}", "correct it there"))
            continue
        found[name] = Server(name=name, origin=str(path), project=project, **fields)
        if unknown:
            text = f"{path}: {name}: {', '.join(unknown)} has no meaning here and is left out"
            troubles.append(Trouble(name, text, f"there are: {', '.join(KEYS)}"))


def read_file(path: Path) -> bytes | None:
    """What a file of servers holds; None when there is none. Raises Wrong."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Wrong(f"it cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise Wrong(f"it is larger than {LARGEST} bytes")
    return data


def entries_in(content: bytes) -> dict[str, Any]:
    """The entries of a file by server name. Raises Wrong."""
    try:
        data = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Wrong(f"it is not JSON: {error}") from None
    if not isinstance(data, Mapping):
        raise Wrong("it is not an object")
    entries = data.get("mcpServers", {})
    if not isinstance(entries, Mapping):
        raise Wrong("`mcpServers` is not an object")
    if len(entries) > MOST:
        raise Wrong(f"it names more than {MOST} servers")
    return dict(entries)
