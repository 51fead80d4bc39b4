"""Names of a package that load on first use, for packages that offer more than a caller needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy(
    namespace: dict[str, Any], where: Mapping[str, str], package: str = ""
) -> Callable[[str], Any]:
    """A module's `__getattr__` (PEP 562). `where`: module of `package` (default: the caller's) to its names, parted
    by blanks; `namespace` is the caller's `globals()`, where a name is kept once loaded.
    """
    package = package or namespace["__name__"]
    module_of = {name: module for module, names in where.items() for name in names.split()}

    def load(name: str) -> Any:
        module = module_of.get(name)
        if module is None:
            raise AttributeError(f"{namespace['__name__']} has no {name!r}")
        value = getattr(import_module(f"{package}.{module}"), name)
        namespace[name] = value
        return value

    return load
