"""What `plugins doctor` finds: everything that is installed, tried, each finding with the next step to take."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from importlib.metadata import distributions
from typing import TYPE_CHECKING, NamedTuple

import trio

from codetether.catalog import scan
from codetether.errors import CodetetherError, ConfigError, PluginError
from codetether.installing import install_hint
from codetether.models import NOTHING
from codetether.ports import Finding, Plugin, Provider, ProviderStatus

if TYPE_CHECKING:
    from codetether.host import Fault
    from codetether.kernel import Kernel

LIMIT = 15.0
REPORT = "report it to the authors of {dist}; until then switch it off: -p no:{key}"
HINTS = {
    "import": "reinstall {dist} from where it came from, or " + REPORT,
    "api": "install a version of {dist} made for this kernel, or switch it off: -p no:{key}",
    "find": "see `codetether plugins list`",
}


async def examine(kernel: Kernel) -> list[Finding]:
    """All findings, in the order a person would look: settings, plugins, then what the plugins themselves say."""
    found = [*_settings(kernel), *_catalog(), *_conflicts(kernel), *_switches(kernel)]
    for kind in dict.fromkeys(row.kind for row in kernel.host.rows):
        kernel.host.load_all(kind)
    found += _plugin_settings(kernel)
    found += await _together([_secrets, _providers, _sandbox, _hooks], kernel)
    return [_loaded(kernel), *found, *_faults(kernel)]


def _loaded(kernel: Kernel) -> Finding:
    counts: dict[str, int] = {}
    for plugin in kernel.host.loaded():
        kind = str(getattr(plugin, "key", "?")).partition(":")[0]
        counts[kind] = counts.get(kind, 0) + 1
    told = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.items()))
    if not told:
        return Finding(
            "warning",
            "plugins",
            "none is loaded",
            f"{install_hint('codetether')}, or switch on what you need",
        )
    return Finding("ok", "plugins", f"loaded: {told}")


def _settings(kernel: Kernel) -> list[Finding]:
    return [Finding("warning", "settings", text, hint) for text, hint in kernel.config.notices]


def _plugin_settings(kernel: Kernel) -> list[Finding]:
    found = []
    known = len(kernel.config.notices)
    for plugin in kernel.host.loaded():
        if isinstance(plugin, Plugin):
            try:
                _ = plugin.settings
            except ConfigError as error:
                found.append(Finding("error", plugin.key, error.message, error.hint))
    found += [Finding("warning", "settings", *notice) for notice in kernel.config.notices[known:]]
    installed = {row.key for row in kernel.catalog}
    return found + [
        Finding(
            "warning",
            key,
            "has settings but is not installed",
            f"install it, or remove its table [plugins.{key!r}]",
        )
        for key in kernel.config.plugin_keys()
        if key not in installed
    ]


class _Entry(NamedTuple):
    key: str
    value: str
    dist: str


def _catalog() -> list[Finding]:
    """The kernel's own quick scan against the slow authority."""
    slow = set()
    seen: set[str] = set()
    for dist in distributions():
        if dist.name in seen:
            continue
        seen.add(dist.name)
        slow |= {
            _Entry(
                f"{entry.group.removeprefix('codetether.')}:{entry.name}", entry.value, dist.name
            )
            for entry in dist.entry_points
            if entry.group.startswith("codetether.")
        }
    quick = {_Entry(row.key, row.value, row.dist) for row in scan()}
    if quick == slow:
        return [
            Finding("ok", "catalog", f"{len(quick)} plugins, the same as importlib.metadata finds")
        ]
    hint = "reinstall the distributions named; if it stays, report it to the authors of codetether"
    lines = [f"{e.key} of {e.dist} is only in the catalog" for e in sorted(quick - slow)]
    lines += [f"{e.key} of {e.dist} is not in the catalog" for e in sorted(slow - quick)]
    return [Finding("error", "catalog", line, hint) for line in lines]


def _conflicts(kernel: Kernel) -> list[Finding]:
    return [
        Finding(
            "error",
            key,
            f"offered by {' and '.join(row.dist for row in rows)}; neither is loaded",
            f'choose one in your settings: [plugins.choose] "{key}" = "{rows[0].dist}"',
        )
        for key, rows in sorted(kernel.host.conflicts().items())
    ]


def _switches(kernel: Kernel) -> list[Finding]:
    names = {name for row in kernel.catalog for name in (row.key, row.kind, row.dist)}
    wrong = sorted(
        (kernel.config.off | set(kernel.config.only or ()) | set(kernel.config.choose)) - names
    )
    return [
        Finding(
            "warning",
            name,
            "is switched, but nothing installed is called that",
            "see `codetether plugins list`",
        )
        for name in wrong
    ]


def _faults(kernel: Kernel) -> list[Finding]:
    conflicts = kernel.host.conflicts()
    dists = {row.key: row.dist for row in kernel.host.rows}
    return [
        Finding(
            "error",
            fault.plugin,
            f"{fault.stage}: {fault.error}",
            _hint(fault, dists.get(fault.plugin, "")),
        )
        for fault in kernel.host.faults
        if fault.plugin not in conflicts
    ]


def _hint(fault: Fault, dist: str) -> str:
    dist = fault.dist or dist or "its distribution"
    if fault.stage == "import" and fault.error.startswith("ModuleNotFoundError: No module named "):
        missing = fault.error.rpartition("named ")[2].strip("'\"")
        return f"install what {dist} needs (it asks for the module {missing}), or switch it off: -p no:{fault.plugin}"
    return HINTS.get(fault.stage, REPORT).format(dist=dist, key=fault.plugin)


# --- what the plugins say ----------------------------------------------------------------------------------------
Look = Callable[["Kernel"], Awaitable[Sequence[Finding]]]


async def _together(looks: Sequence[Look], kernel: Kernel) -> list[Finding]:
    results: list[Sequence[Finding]] = [()] * len(looks)

    async def one(index: int, look: Look) -> None:
        with trio.move_on_after(LIMIT) as scope:
            results[index] = await look(kernel)
        if scope.cancelled_caught:
            name = look.__name__.strip("_")
            results[index] = [
                Finding(
                    "error",
                    name,
                    f"no answer within {LIMIT:g} s",
                    "switch plugins off one by one (-p no:KEY)",
                )
            ]

    async with trio.open_nursery() as nursery:
        for index, look in enumerate(looks):
            nursery.start_soon(one, index, look)
    return [finding for result in results for finding in result]


async def _secrets(kernel: Kernel) -> Sequence[Finding]:
    try:
        secrets = kernel.secrets()
    except PluginError as error:
        return [Finding("error", "secrets", error.message, error.hint)]
    if secrets is None:
        return [
            Finding(
                "warning", "secrets", "no source of keys is installed; only keyless servers can be used",
                install_hint("codetether-secrets-vault"),
            )
        ]  # fmt: skip
    return await _guarded(kernel, secrets.key, secrets.check)


async def _guarded(
    kernel: Kernel, key: str, look: Callable[[], Awaitable[Iterable[Finding]]]
) -> Sequence[Finding]:
    """What a plugin says of itself; when it raises, that is the finding."""
    try:
        return list(await look())
    except CodetetherError as error:
        return [Finding("error", key, error.message, error.hint)]
    except Exception as error:  # a faulty plugin must not end the examination
        kernel.host.fault(key, "doctor", error)
        return []


async def _providers(kernel: Kernel) -> Sequence[Finding]:
    said: dict[str, ProviderStatus] = {}

    async def ask(provider: Provider) -> None:
        with trio.move_on_after(LIMIT * 2 / 3) as scope:
            try:
                said[provider.name] = await provider.status()
            except Exception as error:  # the port says never; then it is a fault
                kernel.host.fault(provider.key, "status", error)
        if scope.cancelled_caught:
            said[provider.name] = ProviderStatus(usable=False, why="its status took too long")

    async with trio.open_nursery() as nursery:
        for provider in kernel.host.load_all("providers"):
            if isinstance(provider, Provider):
                nursery.start_soon(ask, provider)
    found = [_usable(name, status) for name, status in sorted(said.items()) if status.usable]
    found += _grouped({name: status for name, status in sorted(said.items()) if not status.usable})
    if not any(s.usable and s.model and name != "scripted" for name, s in said.items()):
        found.append(Finding("error", "providers", "no model can be used", NOTHING))
    return found


def _usable(name: str, status: ProviderStatus) -> Finding:
    if status.model:
        return Finding("ok", f"providers:{name}", f"can be used; default model {status.model}")
    hint = (
        status.hint or f"see what there is: codetether models {name}; then name one: {name}/MODEL"
    )
    return Finding("warning", f"providers:{name}", status.why or "has no default model", hint)


def _grouped(unusable: dict[str, ProviderStatus]) -> list[Finding]:
    """Fourteen providers without a key are one finding, not fourteen: same words but for the name."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, status in unusable.items():
        own = re.compile(rf"\b{re.escape(name)}\b")
        groups.setdefault((own.sub("NAME", status.why), own.sub("NAME", status.hint)), []).append(
            name
        )
    found = []
    for (why, hint), names in groups.items():
        alone = unusable[names[0]] if len(names) == 1 else None
        text = (alone.why if alone else why.replace("NAME", "each")) or "cannot be used"
        found.append(
            Finding("warning", f"providers:{','.join(names)}", text, alone.hint if alone else hint)
        )
    return found


async def _sandbox(kernel: Kernel) -> Sequence[Finding]:
    found: list[Finding] = []
    for sandbox in kernel.host.load_all("sandboxes"):

        async def probe(sandbox: object = sandbox) -> list[Finding]:
            return [await sandbox.probe()]  # type: ignore[attr-defined]

        found += await _guarded(kernel, sandbox.key, probe)
    if not found:
        return [
            Finding(
                "warning",
                "sandboxes",
                "none is installed; commands run unconfined",
                install_hint("codetether-sandbox-bubblewrap", "codetether-sandbox-landlock"),
            )
        ]
    return found


async def _hooks(kernel: Kernel) -> Sequence[Finding]:
    answers = await kernel.host.calls.collect("codetether_doctor")
    return [finding for answer in answers for finding in answer if isinstance(finding, Finding)]
