"""The quick way to find a plugin's hooks finds what pluggy's own finds, and runs nothing of the plugin."""

from __future__ import annotations

import pluggy
import pytest
from codetether.api import hookimpl
from codetether.catalog import scan
from codetether.host import _Hooks
from codetether.kernel import Kernel

PROJECT = "codetether"


@hookimpl
def codetether_ready(kernel):
    """A function to be set on an instance."""


class Base:
    @hookimpl(tryfirst=True)
    def codetether_ready(self, kernel):
        """Inherited."""


class Shapes(Base):
    codetether_number = 7

    def __init__(self):
        self.codetether_own = codetether_ready
        self.codetether_bound = Base().codetether_ready
        self.kernel = object()

    @hookimpl
    async def codetether_observe(self, event):
        """Async."""

    @hookimpl
    @staticmethod
    def codetether_static(event):
        """Marked from outside."""

    @staticmethod
    @hookimpl
    def codetether_static_within(event):
        """Marked from inside."""

    @hookimpl
    @classmethod
    def codetether_class(cls, event):
        """Marked from outside."""

    @hookimpl(specname="codetether_ready")
    def other_name(self, kernel):
        """Under another name."""

    def codetether_unmarked(self):
        """Not marked."""

    @property
    def codetether_property(self):
        raise AssertionError("a property was run")

    def __getattr__(self, name):
        raise AssertionError(f"{name} was asked for")


class Covers(Base):
    codetether_ready = None  # the inherited hook is switched off


def options(manager, plugin):
    return {name: manager.parse_hookimpl_opts(plugin, name) for name in dir(plugin)}


@pytest.mark.parametrize("make", [Base, Shapes, Covers])
def test_every_shape_is_found_as_pluggy_finds_it(make):
    plugin = make()
    found = options(_Hooks(PROJECT), plugin)
    assert found == options(pluggy.PluginManager(PROJECT), plugin)
    if make is Shapes:
        assert sum(given is not None for given in found.values()) == 8


def test_and_of_every_plugin_installed(tmp_path):
    kernel = Kernel.load(tmp_path)
    plugins = [p for kind in {row.kind for row in scan()} for p in kernel.host.load_all(kind)]
    assert len(plugins) > 20
    for plugin in plugins:
        assert options(_Hooks(PROJECT), plugin) == options(pluggy.PluginManager(PROJECT), plugin)
