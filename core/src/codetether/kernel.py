"""The kernel: what is installed and switched on, the settings, and the sessions. One per process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
import trio

from codetether import agents, git
from codetether.catalog import Row, scan, switched
from codetether.config import Config
from codetether.errors import PluginError
from codetether.events import Notice
from codetether.host import Fault, Host
from codetether.ports import SandboxPolicy
from codetether.redact import Redactor
from codetether.trust import is_trusted
from codetether.words import Agent, Effect, ModelInfo

if TYPE_CHECKING:
    from codetether.journal import Owner
    from codetether.ports import Executor, Mode, Provider, Sandbox, Secrets, Tool, Ui
    from codetether.process import Completed
    from codetether.session import Session
    from codetether.session_files import Names
    from codetether.toolbox import Kit

S = TypeVar("S", bound=msgspec.Struct)
HIDDEN = (".ssh", ".aws", ".gnupg", ".kube", ".docker", ".netrc", ".vault-token")
READ_ONLY = (".git/hooks", ".git/config", ".codetether")


class Kernel:
    """Holds the plugins and opens sessions. Use it as an async context manager: leaving closes every plugin that
    has an `aclose`.
    """

    def __init__(self, config: Config, rows: Sequence[Row]) -> None:
        self.config = config
        self.dirs = config.dirs
        self.redact = Redactor()
        self.catalog = list(rows)
        on = switched(rows, config.off, config.only)
        self.host = Host(on, self, choose=config.choose, on_fault=self._on_fault)
        self._settings: dict[str, msgspec.Struct] = {}
        self.notices: list[Notice] = [
            Notice("warning", text, hint) for text, hint in config.notices
        ]
        config.tell = lambda text, hint: self._notice(Notice("warning", text, hint))
        self.sessions: list[Session] = []
        self.session_by_id: dict[str, Session] = {}  # of those, who came last by that id
        self.kits: dict[tuple[Tool[Any], ...], Kit] = {}  # of toolboxes
        self._sandbox: Sandbox | None = None
        self._swept = False
        self._agents_folder = self.dirs.config / "agents"
        self._sessions_folder = self.dirs.data / "sessions"
        self._owner: Owner | None = None
        self._names: Names

    @classmethod
    def load(
        cls,
        directory: str | Path,
        *,
        off: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        rows: Sequence[Row] | None = None,
    ) -> Self:
        """The kernel for a working directory. `off` are switches of the command line, `settings` dotted keys that
        win over every file; `rows` what is installed, when that is known. Raises ConfigError.
        """
        config = Config.load(Path(directory), off=off, overrides=settings or {})
        return cls(config, scan() if rows is None else rows)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with trio.move_on_after(2, shield=True):
            for plugin in self.host.loaded():
                if hasattr(plugin, "aclose"):
                    try:
                        await plugin.aclose()
                    except Exception as failure:
                        self.host.fault(getattr(plugin, "key", "?"), "aclose", failure)
        if self._owner is not None:
            self._owner.close()

    # --- plugins ---
    def settings(self, key: str, cls: type[S]) -> S:
        """The settings of the plugin `key`, from all layers. Raises ConfigError naming every wrong value."""
        if key not in self._settings:
            self._settings[key] = self.config.settings(key, cls)
        found = self._settings[key]
        assert isinstance(found, cls)
        return found

    def plugin(self, kind: str, name: str) -> Any:
        """One plugin by kind (plural) and name. Raises PluginError saying why there is none and what to do."""
        return self.host.need(kind, name)

    def provider(self, name: str) -> Provider:
        """The provider `name`. Raises PluginError."""
        provider: Provider = self.plugin("providers", name)
        return provider

    def mode(self, name: str) -> Mode:
        """The mode `name`. Raises PluginError."""
        mode: Mode = self.plugin("modes", name)
        return mode

    def ui(self, name: str) -> Ui:
        """The interface `name`. Raises PluginError."""
        ui: Ui = self.plugin("ui", name)
        return ui

    def executor(self, name: str = "local") -> Executor:
        """Where sub-agents run. Raises PluginError."""
        executor: Executor = self.plugin("executors", name)
        return executor

    def secrets(self) -> Secrets | None:
        """The one source of keys, or None when no such plugin is installed. Two are a conflict: switch one off."""
        names = self.host.names("secrets")
        if len(names) > 1:
            raise PluginError(
                f"there is one source of secrets, and {' and '.join(names)} are switched on",
                f'switch one off: [plugins] off = ["secrets:{names[-1]}"]',
            )
        secrets: Secrets | None = self.host.get("secrets", names[0]) if names else None
        return secrets

    async def settle_sandbox(self) -> None:
        """Choose the sandbox: the one named in the settings, or (`auto`) the strongest that works here.

        Raises PluginError when the one named does not work: there is no silent fallback. With no sandbox plugin at
        all no child process can be started.
        """
        if self._sandbox is not None:
            return
        named = self.config.kernel.sandbox
        if named != "auto":
            sandbox: Sandbox = self.plugin("sandboxes", named)
            finding = await sandbox.probe()
            if finding.level == "error":
                raise PluginError(
                    f"sandbox {named} does not work here: {finding.text}", finding.hint
                )
            self._sandbox = sandbox
            return
        for sandbox in sorted(
            self.host.load_all("sandboxes"), key=lambda each: each.level, reverse=True
        ):
            finding = await sandbox.probe()
            if finding.level != "error":
                self._sandbox = sandbox
                return
            self.notices.append(
                Notice(
                    "warning", f"sandbox {sandbox.name} does not work: {finding.text}", finding.hint
                )
            )

    def sandbox(self) -> Sandbox:
        """The sandbox chosen by `settle_sandbox`, which opening a session does. Raises PluginError without one."""
        if self._sandbox is None:
            raise PluginError(
                "no sandbox plugin is installed and works, so nothing can be run",
                "install codetether-sandbox-none to run commands without confinement",
            )
        return self._sandbox

    @property
    def sandbox_level(self) -> str:
        """S0 to S3, or nothing when no sandbox was chosen."""
        return self._sandbox.level if self._sandbox is not None else ""

    async def sweep(self) -> None:
        """Before the first command: kill what an agent that was itself killed has left running."""
        if not self._swept:
            from codetether.leftovers import kill_leftovers

            self._swept = True
            await trio.to_thread.run_sync(kill_leftovers)

    def sandbox_policy(self, session: Session, *, network: bool) -> SandboxPolicy:
        """What a child of this session may do: write in the workspace, except where that would change what runs."""
        return self._policy(session.directory, network=network)

    def _policy(self, directory: Path, *, network: bool) -> SandboxPolicy:
        home = Path.home()
        return SandboxPolicy(
            writable=(str(directory),),
            hidden=(
                *(str(home / name) for name in HIDDEN),
                str(self.dirs.data),
                f"/run/user/{os.getuid()}",
            ),
            read_only=tuple(str(directory / name) for name in READ_ONLY),
            network=network,
        )

    async def run_process(
        self, argv: Sequence[str], *, directory: Path, network: bool = False, **how: Any
    ) -> Completed:
        """Run a child inside the sandbox, as one that may write in `directory`. `how` as for process.run_process; `cwd`
        is `directory` unless given. Nothing of what it says is redacted.
        """
        from codetether.ports import Launch
        from codetether.process import clean_env, run_process

        await self.settle_sandbox()
        cwd = str(how.pop("cwd", directory))
        env = how.pop("env", None) or clean_env({})
        how.setdefault("processes", self.config.kernel.processes)
        launch = self.sandbox().wrap(
            Launch(tuple(argv), cwd, env), self._policy(directory, network=network)
        )
        await self.sweep()
        return await run_process(
            launch.argv, cwd=launch.cwd, env=launch.env, pass_fds=launch.pass_fds, **how
        )

    def _on_fault(self, fault: Fault) -> None:
        text = f"plugin {fault.plugin} failed ({fault.stage}): {fault.error}"
        self._notice(Notice("warning", self.redact.text(text), "see `codetether plugins doctor`"))

    def _on_trouble(self, text: str) -> None:
        self._notice(Notice("warning", text))

    def _notice(self, notice: Notice) -> None:
        """Kept until somebody can be told: a session tells it with its next event."""
        self.notices.append(notice)

    # --- models and agents ---
    async def resolve_model(self, spec: str | None) -> tuple[Provider, ModelInfo]:
        """The provider and model for `provider/model`, a provider's name, or None for the default."""
        from codetether.models import resolve

        provider, model = await resolve(self, spec)
        for better in await self.host.calls.collect("codetether_models", provider=provider.name):
            model = next((info for info in better if info.id == model.id), model)
        return provider, model

    def agents(self, directory: Path, root: Path | None = None) -> dict[str, Agent]:
        """Every agent that can be chosen in `directory`, by name. `root`: as for `trusted_folder`."""
        project = self.trusted_folder(directory, "agents", root)
        changes = {
            name: msgspec.to_builtins(change) for name, change in self.config.kernel.agents.items()
        }
        return agents.all_agents(self._agents_folder, project, changes)

    def trusted_folder(self, directory: Path, name: str, root: Path | None = None) -> Path | None:
        """The folder `name` in `.codetether` of the repository `directory` is in, if there is one and it is trusted.
        `root`: that of the repository, or `directory` where there is none, for who has looked already.
        """
        folder = f"{root or self.root_of(directory) or directory}/.codetether/{name}"
        return Path(folder) if os.path.isdir(folder) and is_trusted(directory, self.dirs) else None

    def root_of(self, directory: Path) -> Path | None:
        """The root of the repository `directory` is in, or None."""
        return git.root_of(directory)

    # --- sessions ---
    @property
    def sessions_folder(self) -> Path:
        """Where transcripts are kept."""
        return self._sessions_folder

    @cached_property
    def real_sessions_folder(self) -> Path:
        """The same without links, as it is when it is first needed."""
        return self._sessions_folder.resolve()

    @property
    def transcript_options(self) -> dict[str, Any]:
        """What every transcript is opened with: nothing secret reaches the disk, and trouble is told."""
        if self._owner is None:
            from codetether.journal import Owner
            from codetether.session_files import Names

            self._owner = Owner(self.dirs.data / "owners")
            self._names = Names(self.sessions_folder)
        return {
            "redact": self.redact.text,
            "on_trouble": self._on_trouble,
            "owner": self._owner,
            "names": self._names,
        }

    def open_session(
        self,
        *,
        directory: Path,
        model: str | None = None,
        agent: str = "",
        access: str = "",
        resume: str | None = None,
        fork: bool = False,
        max_steps: int | None = None,
        budget_usd: float | None = None,
        tools: bool | Sequence[str] = True,
        interactive: bool = False,
        started_by: str = "",
        within: frozenset[Effect] | None = None,
        depth: int = 0,
    ) -> AbstractAsyncContextManager[Session]:
        """A session, new or resumed by id or unique prefix; `fork` continues a copy. On disk and closed at the end.

        Empty values mean: as the resumed session had it, else as the settings say. `interactive`: a person is there
        to answer. `tools`: all the agent has, none, or of those the ones named by these patterns. `model` NO_MODEL: none
        is needed, its tools are called from elsewhere. `started_by`: the session whose sub-agent this one is; it is not listed,
        never may more than that session may, and is refused below Session.DEEPEST; `within` and `depth` are as in
        AgentTask. Listen to `session.feed` before the first prompt, which announces the session.
        Raises CodetetherError.
        """
        from codetether.opening import Wishes, open_session

        wishes = Wishes(
            directory,
            model,
            agent,
            access,
            resume,
            fork,
            max_steps,
            budget_usd,
            tools,
            interactive,
            started_by,
            within,
            depth,
        )
        return open_session(self, wishes)
