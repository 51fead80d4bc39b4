"""Importing a package without some of its parts."""

import sys

import pytest
from codetether.api import import_without
from codetether.postponed import import_ignoring


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Writes the package `parted`: `needed` and `rare` are its modules, `own` what else its `__init__` says."""

    def write(own="", rare="class Rare: ..."):
        folder = tmp_path / "parted"
        folder.mkdir()
        taken = "from .needed import Needed\nfrom .rare import Rare as Seldom\n"
        (folder / "__init__.py").write_text(taken + own)
        (folder / "needed.py").write_text("class Needed: ...")
        (folder / "rare.py").write_text(rare)

    monkeypatch.syspath_prepend(tmp_path)
    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "parted"]:
        del sys.modules[name]


def test_a_part_loads_when_it_is_asked_for(package):
    package()
    import_without("parted", "rare")
    assert "parted.needed" in sys.modules
    assert "parted.rare" not in sys.modules
    import parted
    from parted import Seldom

    assert Seldom is parted.Seldom is sys.modules["parted.rare"].Rare
    assert Seldom.__name__ == "Rare"


def test_a_part_can_be_imported_by_its_own_name(package):
    package()
    import_without("parted", "rare")
    from parted.rare import Rare

    assert isinstance(Rare, type)


def test_a_part_may_be_taken_as_a_module(package):
    package("from . import rare\ndef make():\n    return rare.Rare()\n")
    import_without("parted", "rare")
    import parted

    assert "parted.rare" not in sys.modules
    made = parted.make()
    assert type(made) is sys.modules["parted.rare"].Rare
    assert parted.rare is sys.modules["parted.rare"]


def test_what_the_package_makes_on_demand_goes_on(package):
    package(
        "def __getattr__(name):\n    if name == 'made':\n        return 7\n    raise AttributeError(name)\n"
    )
    import_without("parted", "rare")
    import parted

    assert parted.made == 7
    assert not hasattr(parted, "other")
    assert parted.Seldom is not None


def test_a_name_that_there_is_not_is_none(package):
    package()
    import_without("parted", "rare")
    import parted

    with pytest.raises(AttributeError, match="'parted' has no attribute 'other'"):
        _ = parted.other


def test_a_package_that_fails_leaves_nothing_in_its_place(package):
    package("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        import_without("parted", "rare")
    from_where = {name for name in sys.modules if name.startswith("parted")}
    assert "parted.rare" not in from_where


def test_what_is_loaded_stays_as_it_is(package):
    package()
    import parted

    seldom = parted.Seldom
    import_without("parted", "rare")
    assert sys.modules["parted.rare"].Rare is parted.Seldom is seldom


def test_modules_of_others_load_when_they_are_asked_for(package, tmp_path):
    (tmp_path / "foreign.py").write_text("VALUE = 7\n")
    package("import foreign\ndef value():\n    return foreign.VALUE\n")
    import_without("parted", "rare", others=("foreign",))
    import parted

    assert "foreign" not in sys.modules
    assert parted.value() == 7
    del sys.modules["foreign"]


def test_a_module_of_another_package_may_be_one(package):
    sys.modules.pop("xml.sax.saxutils", None)
    package("import xml.sax.saxutils as sax\ndef quoted():\n    return sax.quoteattr('<')\n")
    import_without("parted", "rare", others=("xml.sax.saxutils",))
    import parted

    assert "xml.sax.saxutils" not in sys.modules
    assert parted.quoted() == '"&lt;"'


def test_one_that_is_loaded_is_taken_as_it_is(package):
    package("import string\n")
    import_without("parted", others=("string",))
    import parted

    assert parted.string is sys.modules["string"]


def test_what_is_ignored_is_not_installed_while_the_package_loads(package, tmp_path):
    (tmp_path / "foreign.py").write_text("VALUE = 7\n")
    package("try:\n    import foreign\nexcept ImportError:\n    foreign = None\n")
    import_ignoring("parted", "foreign", "string")
    import foreign
    import parted

    assert parted.foreign is None
    assert foreign.VALUE == 7
    del sys.modules["foreign"]
