"""Load, check, register and switch off plugins; whatever one of them does, the others go on.

stevedore loads and builds exactly one plugin by kind and name; what there is to load comes from the catalog. pluggy
validates its hooks and keeps their order. A plugin that fails is blocked, and its fault reported once.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import EntryPoint
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NamedTuple

import pluggy
from stevedore.driver import DriverManager

from codetether.calls import Calls
from codetether.errors import PluginError, told
from codetether.hookspecs import PROJECT, Specs
from codetether.ports import APIS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from codetether.catalog import Row


_FUNCTIONS = (FunctionType, MethodType, staticmethod, classmethod)
_MARK = f"{PROJECT}_impl"


class Fault(NamedTuple):
    """What went wrong with a plugin: its key, the stage (import, build, api, register, or a hook), the error."""

    plugin: str
    stage: str
    error: str
    dist: str = ""


class _Driver(DriverManager[Any]):
    """stevedore's driver over one catalog row; its own scan and its cache (stale for 128 s) are not used."""

    def __init__(self, row: Row) -> None:
        self.row = row
        super().__init__(f"{PROJECT}.{row.kind}", row.name)

    def list_entry_points(self) -> list[EntryPoint]:
        return [EntryPoint(self.row.name, self.row.value, self.namespace)]


class _Hooks(pluggy.PluginManager):
    """pluggy's register. Its own way to tell which attributes are hooks looks at every one through `inspect`, 1 ms a
    plugin; only functions can be marked, and few are. `changes` counts how often other plugins were registered or blocked.
    """

    changes = 0

    def register(self, plugin: Any, name: str | None = None) -> str | None:
        """As pluggy's."""
        self.changes += 1
        return super().register(plugin, name)

    def unregister(self, plugin: Any = None, name: str | None = None) -> Any:
        """As pluggy's."""
        self.changes += 1
        return super().unregister(plugin, name)

    def set_blocked(self, name: str) -> None:
        """As pluggy's."""
        self.changes += 1
        super().set_blocked(name)

    def unblock(self, name: str) -> bool:
        """As pluggy's."""
        self.changes += 1
        return super().unblock(name)

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        """The options of a marked function, else None; nothing of the plugin is run."""
        own = getattr(plugin, "__dict__", {})
        marked = _is_marked(own[name]) if name in own else name in _hooks_of(plugin.__class__)
        if not marked:
            return None
        return super().parse_hookimpl_opts(plugin, name)


def _is_marked(found: Any) -> bool:
    if not isinstance(found, _FUNCTIONS):
        return False
    return any(hasattr(each, _MARK) for each in (found, getattr(found, "__func__", None)))


@lru_cache(maxsize=512)
def _hooks_of(cls: type) -> frozenset[str]:
    """The names of the marked functions of `cls`; what hides one is none."""
    hides: dict[str, bool] = {}
    for each in reversed(cls.__mro__):
        hides.update(_marks_in(each))
    return frozenset(name for name, marked in hides.items() if marked)


@lru_cache(maxsize=512)
def _marks_in(cls: type) -> dict[str, bool]:
    return {name: _is_marked(found) for name, found in vars(cls).items()}


class Host:
    """The plugins of one kernel. `rows` are those switched on; `choose` settles which distribution owns a key."""

    def __init__(
        self,
        rows: Sequence[Row],
        kernel: Any,
        *,
        choose: Mapping[str, str] | None = None,
        on_fault: Callable[[Fault], None] | None = None,
    ) -> None:
        self.rows = list(rows)
        self.faults: list[Fault] = []
        self.pm = _Hooks(PROJECT)
        self.pm.add_hookspecs(Specs)
        self.calls = Calls(self)
        self._kernel = kernel
        self._choose = dict(choose or {})
        self._on_fault = on_fault
        self._names: dict[str, list[str]] = {}
        self._kept: dict[tuple[str, str], Any] = {}
        self._kept_at = -1
        self.pm.hook.codetether_ready.call_historic(kwargs={"kernel": kernel})

    def names(self, kind: str) -> list[str]:
        """The names on offer of one kind (plural), sorted."""
        if kind not in self._names:
            self._names[kind] = sorted({row.name for row in self.rows if row.kind == kind})
        return list(self._names[kind])

    def conflicts(self) -> dict[str, list[Row]]:
        """Keys that more than one distribution offers and `[plugins.choose]` does not settle."""
        by_key: dict[str, list[Row]] = {}
        for row in self.rows:
            by_key.setdefault(row.key, []).append(row)
        return {
            k: v
            for k, v in by_key.items()
            if len(v) > 1 and self._choose.get(k) not in {r.dist for r in v}
        }

    def find(self, kind: str, name: str) -> Row:
        """The one row for a key. Raises PluginError when it is absent or in conflict, with the line to write."""
        key = f"{kind}:{name}"
        rows = [row for row in self.rows if row.kind == kind and row.name == name]
        chosen = [row for row in rows if row.dist == self._choose.get(key)] or rows
        if not chosen:
            raise PluginError(f"no plugin {key} is installed and switched on", self._offer(kind))
        if len(chosen) > 1:
            dists = " and ".join(row.dist for row in chosen)
            raise PluginError(
                f"{key} is offered by {dists}; neither is loaded",
                f'settle it in your settings: [plugins.choose] "{key}" = "{chosen[0].dist}"',
            )
        return chosen[0]

    def _offer(self, kind: str) -> str:
        names = self.names(kind)
        return f"there are: {', '.join(names)}" if names else "see `codetether plugins list`"

    def get(self, kind: str, name: str) -> Any | None:
        """The plugin, loaded at first need; None when it is off, absent, in conflict or faulty (then a fault)."""
        key = f"{kind}:{name}"
        if self.pm.is_blocked(key):
            return None
        if (plugin := self.pm.get_plugin(key)) is not None:
            return plugin
        return self._load(kind, name, key)

    def need(self, kind: str, name: str) -> Any:
        """As `get`, but raises PluginError saying why there is none."""
        return self._keep((kind, name), lambda: self._need(kind, name))

    def _need(self, kind: str, name: str) -> Any:
        self.find(kind, name)
        plugin = self.get(kind, name)
        if plugin is None:
            fault = next((f for f in reversed(self.faults) if f.plugin == f"{kind}:{name}"), None)
            told = f"{fault.stage}: {fault.error}" if fault else "it is switched off"
            raise PluginError(
                f"plugin {kind}:{name} cannot be used ({told})", "see `codetether plugins doctor`"
            )
        return plugin

    def load_all(self, kind: str) -> list[Any]:
        """Every plugin of a kind that loads, by name."""
        return list(self._keep((kind, ""), lambda: self._load_all(kind)))

    def _load_all(self, kind: str) -> list[Any]:
        return [plugin for name in self.names(kind) if (plugin := self.get(kind, name)) is not None]

    def _keep(self, key: tuple[str, str], find: Callable[[], Any]) -> Any:
        """What `find` found for `key`, as long as no plugin comes or goes."""
        if self._kept_at == self.pm.changes and key in self._kept:
            return self._kept[key]
        found = find()
        if self._kept_at != self.pm.changes:  # also by what was loaded just now
            self._kept.clear()
            self._kept_at = self.pm.changes
        self._kept[key] = found
        return found

    def loaded(self) -> list[Any]:
        """The plugins loaded so far, in the order they were."""
        return [plugin for _, plugin in self.pm.list_name_plugin() if plugin is not None]

    def _load(self, kind: str, name: str, key: str) -> Any | None:
        stage, dist = "find", ""
        try:
            row = self.find(kind, name)
            dist, stage = row.dist, "import"
            cls = _Driver(row).driver
            stage = "api"
            if (api := vars(cls).get("api")) not in APIS:
                raise LookupError(f"speaks api {api}, this kernel speaks {sorted(APIS)}")
            stage = "build"
            plugin = cls(self._kernel, key)
            stage = "register"
            self._register(plugin, key)
        except (Exception, SystemExit) as error:
            self.fault(key, stage, error, dist)
            self.pm.set_blocked(
                key
            )  # also unregisters; asked again, it stays None without a second report
            return None
        return plugin

    def _register(self, plugin: Any, key: str) -> None:
        self.pm.register(plugin, name=key)
        for hook in self.pm.get_hookcallers(plugin) or ():
            mine = [impl for impl in hook.get_hookimpls() if impl.plugin is plugin]
            if not hook.has_spec() and not all(impl.optionalhook for impl in mine):
                raise LookupError(f"implements {hook.name}, which this kernel never calls")

    def fault(self, plugin: str, stage: str, error: BaseException | str, dist: str = "") -> None:
        """Write down what went wrong; once per plugin, stage and text."""
        fault = Fault(plugin, stage, error if isinstance(error, str) else told(error), dist)
        if fault not in self.faults:
            self.faults.append(fault)
            if self._on_fault is not None:
                self._on_fault(fault)
