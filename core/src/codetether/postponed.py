"""Import a package without parts of it that it imports and most runs never use; a part loads when it is asked for."""

import sys
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = False  # typing itself would be dear here
if TYPE_CHECKING:
    from typing import Any


class _Name:
    """Stands for the name `name` of the module `part`."""

    def __init__(self, part: str, name: str) -> None:
        self.part, self.name = part, name


class _Part(ModuleType):
    """Stands for a module: while the package loads for its names, and for those that the module has after that."""

    loading = True

    def __getattr__(self, name: str) -> "Any":
        if not self.loading:
            return getattr(import_module(self.__name__), name)
        if name.startswith("__"):
            raise AttributeError(name)
        return _Name(self.__name__, name)


def import_without(package: str, *parts: str, others: "tuple[str, ...]" = ()) -> None:
    """Import `package` without its modules `parts`, and without the modules `others` that are not its own; nothing when
    it is loaded. Only for parts of which no other module takes names while the package loads, and of which the package's
    own functions use no names, but the module at most; and for others that are taken as modules.
    """
    if package in sys.modules:
        return
    for name in others:
        if above := name.rpartition(".")[0]:
            import_module(above)
    names = [*(f"{package}.{part}" for part in parts), *others]
    stand_ins = [_Part(name) for name in names if name not in sys.modules]
    for part in stand_ins:
        sys.modules[part.__name__] = part
    try:
        module = import_module(package)
    finally:
        for part in stand_ins:
            del sys.modules[part.__name__]
            part.loading = False
    _load_later(module)


def _load_later(module: ModuleType) -> None:
    """Have the names that stand-ins gave `module` load when somebody asks it for them."""
    later = {key: value for key, value in vars(module).items() if isinstance(value, _Name)}
    for key in later:
        delattr(module, key)
    other = vars(module).get("__getattr__")

    def load(key: str) -> "Any":
        if key in later:
            value = getattr(import_module(later[key].part), later[key].name)
            setattr(module, key, value)
            return value
        if other is not None:
            return other(key)
        raise AttributeError(f"module {module.__name__!r} has no attribute {key!r}")

    module.__getattr__ = load  # type: ignore[method-assign]


def import_ignoring(package: str, *others: str) -> None:
    """Import `package` as if the modules `others` were not installed; nothing when it is loaded. Only where it then takes
    the same from Python itself.
    """
    if package in sys.modules:
        return
    hidden = [name for name in others if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        import_module(package)
    finally:
        for name in hidden:
            del sys.modules[name]
