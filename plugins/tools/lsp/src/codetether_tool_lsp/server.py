"""One language server for one root: its start, the files it has open, what it is asked, what it asks, its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import trio
from codetether.api import PipedChild

from codetether_tool_lsp.connection import Connection, ServerError, ServerGone, Unknown
from codetether_tool_lsp.files import Files
from codetether_tool_lsp.positions import Places
from codetether_tool_lsp.problems import Problem, problems

if TYPE_CHECKING:
    from codetether.api import Launch

    from codetether_tool_lsp.document import Open
    from codetether_tool_lsp.find import Found
    from codetether_tool_lsp.settings import LspSettings

SETTLE = 0.3  # seconds after what was published without a version, for more of the same
QUIET = 1.2  # after so long a server that gives no versions has found nothing else than before
LEAVING = 0.8
RECENT = 3.0  # seconds to wait for problems that only help to find code actions
NEEDS = {
    "textDocument/definition": "definitionProvider",
    "textDocument/typeDefinition": "typeDefinitionProvider",
    "textDocument/implementation": "implementationProvider",
    "textDocument/references": "referencesProvider",
    "textDocument/hover": "hoverProvider",
    "textDocument/completion": "completionProvider",
    "textDocument/documentSymbol": "documentSymbolProvider",
    "textDocument/rename": "renameProvider",
    "textDocument/codeAction": "codeActionProvider",
    "textDocument/prepareCallHierarchy": "callHierarchyProvider",
    "textDocument/diagnostic": "diagnosticProvider",
    "workspace/symbol": "workspaceSymbolProvider",
}


class Server:
    """Made by the crew, which runs `run` in its nursery. `launch` confines a command line that inherits two
    descriptors. `over`: it is gone, and `why` says why.
    """

    def __init__(
        self,
        found: Found,
        settings: LspSettings,
        launch: Callable[[tuple[str, ...], tuple[int, int]], Launch],
    ) -> None:
        self.found = found
        self.name = found.known.name
        self.root = found.root
        self._settings = settings
        self._launch = launch
        self._ready = trio.Event()
        self.scope = trio.CancelScope()
        self.over = trio.Event()
        self.why = ""
        self.used = trio.current_time()
        self.answered = False
        self.leaving = False
        self.busy = 0
        self.encoding = "utf-16"
        self._capabilities: dict[str, Any] = {}
        self._registered: dict[str, tuple[str, Any]] = {}
        self._connection: Connection | None = None
        self.files = Files(self)
        self.nowhere = Places("")
        self.seen: dict[str, tuple[int, int]] | None = None
        self.looked = float("-inf")
        self._edits: list[Any] | None = None

    # --- its life ---
    async def run(self) -> None:
        """From start to end; nothing of it is left. Failures are in `why`."""
        child = PipedChild()
        try:
            argv = child.connected((self.found.program, *self.found.known.command[1:]))
            launch = self._launch(argv, child.fds)
            connection = self._connection = Connection(child, self._asked, self._told)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child.run, launch)
                nursery.start_soon(self._greet, connection)
                await connection.run()
                self.why = await connection.reason() if not self.why else self.why
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await child.aclose()

    def finish(self) -> None:
        """It is over: whoever waits for it shall know."""
        self.over.set()
        self._ready.set()

    async def _greet(self, connection: Connection) -> None:
        try:
            protocol = await trio.to_thread.run_sync(_protocol)
            params = protocol.initialize(self.root, dict(self.found.known.options))
            answer = await connection.request("initialize", params, self._settings.start_seconds)
            self._capabilities = answer.get("capabilities") or {}
            self.encoding = self._capabilities.get("positionEncoding") or "utf-16"
            await connection.notify("initialized", {})
            if self.found.known.settings:
                settings = dict(self.found.known.settings)
                await connection.notify("workspace/didChangeConfiguration", {"settings": settings})
            self._ready.set()
        except ServerGone:
            return
        except (ServerError, AttributeError) as error:
            self.why = f"it could not be initialized: {error}"
            connection.stop()

    async def ready(self) -> None:
        """Wait until it can be asked. Raises ServerGone."""
        await self._ready.wait()
        if self.over.is_set():
            raise ServerGone(self.why)

    @property
    def starting(self) -> bool:
        """Whether it cannot be asked yet."""
        return not self._ready.is_set()

    async def leave(self) -> None:
        """Ask it to go, as the protocol says. Who runs it ends it if it does not."""
        if self._connection is None or self.starting or self.over.is_set():
            return
        self.leaving = True
        with trio.move_on_after(LEAVING):
            try:
                await self._connection.request("shutdown", None, LEAVING)
                await self._connection.notify("exit", None)
                await self.over.wait()
            except (ServerGone, ServerError):
                return

    # --- questions ---
    def can(self, method: str) -> bool:
        """Whether it answers `method`: it said so at its start or later."""
        need = NEEDS.get(method, "")
        said = self._capabilities.get(need)
        if said is None or said is False:
            return any(name == method for name, _ in self._registered.values())
        return True

    def said(self, name: str) -> Any:
        """What it said of itself at its start."""
        return self._capabilities.get(name)

    async def notify(self, method: str, params: Any) -> None:
        """Tell it something. Raises ServerGone."""
        assert self._connection is not None
        await self._connection.notify(method, params)

    def resolves_actions(self) -> bool:
        """Whether a code action may have to be completed before it says what it changes."""
        said = self._capabilities.get("codeActionProvider")
        return isinstance(said, dict) and bool(said.get("resolveProvider"))

    async def ask(self, method: str, params: Any, seconds: float | None = None) -> Any:
        """The raw result of a request. Raises ServerGone, ServerError."""
        await self.ready()
        assert self._connection is not None
        self.busy += 1
        try:
            limit = seconds if seconds is not None else self._settings.request_seconds
            answer = await self._connection.request(method, params, limit)
            self.answered = True
            return answer
        finally:
            self.busy -= 1
            self.used = trio.current_time()

    async def collecting(self, work: Callable[[], Awaitable[Any]]) -> list[Any]:
        """The changes that the server asks us for while `work` runs; at any other time they are refused."""
        self._edits = []
        try:
            await work()
            return self._edits
        finally:
            self._edits = None

    # --- problems ---
    async def problems(self, opened: Open, seconds: float) -> list[Problem] | None:
        """What it finds wrong with a file as it was last shown; None when it did not say within `seconds`.

        Raises ServerGone.
        """
        deadline = trio.current_time() + seconds
        with trio.move_on_at(deadline):
            while not self.can("textDocument/diagnostic"):
                if opened.current:
                    if not opened.versioned:
                        await trio.sleep(SETTLE)
                    return opened.pushed
                with trio.move_on_after(QUIET if opened.repeats_nothing else seconds) as quiet:
                    await self._heard(opened)
                opened.current = opened.current or quiet.cancelled_caught
            pulled = await self._pulled(opened, deadline - trio.current_time())
            return None if pulled is None else [*pulled, *opened.pushed]
        return None

    async def _heard(self, opened: Open) -> None:
        """Wait until the server says something of a file, or that it is to be asked. Raises ServerGone."""
        if opened.heard is None:
            opened.heard = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._until_over, nursery.cancel_scope)
            await opened.heard.wait()
            nursery.cancel_scope.cancel()
        if self.over.is_set():
            raise ServerGone(self.why)

    async def _pulled(self, opened: Open, seconds: float) -> list[Problem] | None:
        params: dict[str, Any] = {"textDocument": {"uri": opened.path.as_uri()}}
        said = self._capabilities.get("diagnosticProvider")
        options = said if isinstance(said, dict) else self._option("textDocument/diagnostic")
        if options.get("identifier"):
            params["identifier"] = options["identifier"]
        try:
            report = await self.ask("textDocument/diagnostic", params, seconds)
        except ServerError:
            return None
        items = report.get("items") if isinstance(report, dict) else None
        opened.raw = items if isinstance(items, list) else []
        return problems(items, opened.places, self.name)

    async def raw_problems(self, opened: Open, area: dict[str, Any]) -> list[Any]:
        """The problems that touch `area`, as the server sent them: it wants them back to offer what helps."""
        await self.problems(opened, RECENT)
        return [each for each in opened.raw if _touches(each, area)]

    async def _until_over(self, scope: trio.CancelScope) -> None:
        await self.over.wait()
        scope.cancel()

    def _option(self, method: str) -> dict[str, Any]:
        found = next((how for name, how in self._registered.values() if name == method), None)
        return found if isinstance(found, dict) else {}

    # --- what it says ---
    def _told(self, method: str, params: Any) -> None:
        if method == "textDocument/publishDiagnostics" and isinstance(params, dict):
            self.files.published(params)

    async def _asked(self, method: str, params: Any) -> Any:
        match method:
            case "workspace/configuration":
                return [self._configuration(item.get("section")) for item in params["items"]]
            case "client/registerCapability":
                for each in params["registrations"][:200]:
                    if len(self._registered) < 1_000:
                        how = each.get("registerOptions")
                        self._registered[str(each["id"])] = (str(each["method"]), how)
                for opened in self.files.open.values():
                    opened.wake()
                return None
            case "client/unregisterCapability":
                for each in params.get("unregisterations") or ():
                    self._registered.pop(str(each["id"]), None)
                return None
            case "workspace/applyEdit":
                if self._edits is None:
                    return {"applied": False, "failureReason": "nobody asked for a change"}
                self._edits.append(params["edit"])
                return {"applied": True}
            case "workspace/workspaceFolders":
                return [{"uri": self.root.as_uri(), "name": self.root.name}]
            case "window/showDocument":
                return {"success": False}
            case "window/workDoneProgress/create" | "window/showMessageRequest":
                return None
            case _ if method.startswith("workspace/") and method.endswith("/refresh"):
                return None
        raise Unknown

    def _configuration(self, section: Any) -> Any:
        found: Any = dict(self.found.known.settings)
        for part in section.split(".") if isinstance(section, str) and section else ():
            found = found.get(part) if isinstance(found, dict) else None
        return found


def _touches(problem: Any, area: dict[str, Any]) -> bool:
    try:
        first, last = problem["range"]["start"]["line"], problem["range"]["end"]["line"]
        return bool(first <= area["end"]["line"] and last >= area["start"]["line"])
    except (KeyError, TypeError):
        return False


def _protocol() -> Any:
    from codetether_tool_lsp import protocol

    return protocol
