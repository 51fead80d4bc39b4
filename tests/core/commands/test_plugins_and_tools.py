"""The kernel's own words, run as the command line runs them."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Annotated, ClassVar

import msgspec
import pytest
from codetether.api import (
    CodetetherError,
    Effect,
    Extension,
    Finding,
    ModelInfo,
    Provider,
    ProviderStatus,
    Tool,
    ToolOutput,
    hookimpl,
)
from codetether.commands import models, plugins, tools
from codetether.doctor import examine
from codetether.errors import PluginError
from codetether.testing import make_kernel


class Params(msgspec.Struct):
    path: Annotated[str, msgspec.Meta(description="Where")]


class Look(Tool[Params]):
    """Look at something"""

    api = 1
    params = Params
    effect = Effect.READ
    aliases: ClassVar = ("peek",)
    text = "Look at a thing."

    async def run(self, params, ctx):
        return ToolOutput("seen")


class Talk(Provider):
    """A provider in every mood; `mood` decides."""

    api = 1
    mood: ClassVar[str] = "fine"

    async def status(self):
        if self.mood == "raises":
            raise RuntimeError("boom")
        return ProviderStatus(
            self.mood != "keyless", "big", why=f"{self.name} has no key", hint=f"add {self.name}"
        )

    async def models(self):
        if self.mood == "away":
            raise CodetetherError("it is away", "try later")
        return [
            ModelInfo("big", self.name, context=200_000, input_price=3.0, tools=True, images=False)
        ]


def provider(mood):
    return type("Talk", (Talk,), {"mood": mood, "api": 1})


async def run(command, words, kernel):
    parser = ArgumentParser()
    command.arguments(parser)
    return await command.run(parser.parse_args(words), kernel)


def only(**extra):
    return {"plugins": [], "extra": {key.replace("__", ":"): cls for key, cls in extra.items()}}


async def test_a_tool_is_shown_as_the_model_sees_it(tmp_path, capsys):
    async with make_kernel(tmp_path, **only(tools__look=Look)) as kernel:
        assert await run(tools, ["show", "look"], kernel) == 0
        shown = capsys.readouterr().out
        assert "also called: peek" in shown
        assert "Look at a thing." in shown
        assert await run(tools, ["show", "peek", "--json"], kernel) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["name"] == "look"
        assert told["parameters"]["required"] == ["path"]
        assert await run(tools, ["list"], kernel) == 0
        assert "look" in capsys.readouterr().out


async def test_a_tool_that_is_not_there(tmp_path):
    async with make_kernel(tmp_path, **only(tools__look=Look)) as kernel:
        with pytest.raises(PluginError, match="no tool 'lok'") as error:
            await run(tools, ["show", "lok"], kernel)
    assert error.value.hint == "did you mean look? there are: look"


async def test_models_of_all_and_unknown_facts(tmp_path, capsys):
    extra = only(
        providers__talk=Talk, providers__off=provider("keyless"), providers__away=provider("away")
    )
    async with make_kernel(tmp_path, **extra, off=["providers:scripted"]) as kernel:
        assert await run(models, [], kernel) == 0
        told = capsys.readouterr()
        assert told.out.splitlines() == [
            "MODEL     CONTEXT  OUTPUT  $ IN  $ OUT  ABILITIES",
            "talk/big     200k       ?  3.00      ?  tools reasoning?",
        ]
        assert told.err == "away: it is away\n  try later\n"
        assert await run(models, ["off"], kernel) == 1
        assert "off has no key" in capsys.readouterr().err
        assert await run(models, ["talk", "--json"], kernel) == 0
        assert json.loads(capsys.readouterr().out)[0]["context"] == 200_000


async def test_no_model_at_all_says_what_to_do(tmp_path):
    async with make_kernel(tmp_path, **only(), off=["providers:scripted"]) as kernel:
        with pytest.raises(CodetetherError, match="no model can be used") as error:
            await run(models, [], kernel)
    assert "codetether demo" in error.value.hint


class Says(Extension):
    api = 1

    @hookimpl
    async def codetether_doctor(self):
        return [Finding("warning", "says", "a thing\x1b[2J", "do it")]


class Wrong(Extension):
    api = 1

    class Settings(msgspec.Struct, frozen=True):
        size: Annotated[int, msgspec.Meta(description="How big")] = 1


async def test_doctor_tells_what_plugins_find_and_what_is_wrong(tmp_path, capsys):
    extra = only(
        extensions__says=Says,
        extensions__wrong=Wrong,
        providers__alpha=provider("keyless"),
        providers__beta=provider("keyless"),
        providers__gamma=provider("raises"),
    )
    given = {'plugins."extensions:wrong".size': "big", 'plugins."tools:gone".x': 1}
    async with make_kernel(tmp_path, **extra, settings=given, off=["tools:nothing"]) as kernel:
        found = {finding.subject: finding for finding in await examine(kernel)}
        assert await run(plugins, ["doctor"], kernel) == 1
    told = capsys.readouterr().out
    assert found["says"].hint == "do it"
    assert "\x1b" not in told
    assert found["extensions:wrong"].level == "error"
    assert "size" in found["extensions:wrong"].text
    assert found["tools:gone"].text == "has settings but is not installed"
    assert found["tools:nothing"].text == "is switched, but nothing installed is called that"
    assert found["providers:alpha,beta"].text == "each has no key"
    assert found["providers:alpha,beta"].hint == "add NAME"
    assert found["providers:gamma"].text == "status: RuntimeError: boom"
    assert found["providers"].text == "no model can be used"
    assert all(finding.hint for finding in found.values() if finding.level != "ok")
    assert told.rstrip().splitlines()[-1].endswith("warnings")


async def test_doctor_is_content_when_all_is_well(tmp_path, capsys):
    async with make_kernel(tmp_path, **only(providers__talk=Talk)) as kernel:
        assert await run(plugins, ["doctor", "--json"], kernel) == 0
    found = json.loads(capsys.readouterr().out)
    assert {
        "level": "ok",
        "subject": "providers:talk",
        "text": "can be used; default model big",
    } in found
    assert [finding for finding in found if finding["level"] == "error"] == []


async def test_list_through_the_kernel_is_the_same_list(tmp_path, capsys):
    async with make_kernel(tmp_path, **only(tools__look=Look)) as kernel:
        assert await run(plugins, ["list", "--json"], kernel) == 0
    rows = {row["key"]: row["on"] for row in json.loads(capsys.readouterr().out)}
    assert rows["tools:look"] is True
    assert rows["providers:scripted"] is True
    assert not any(
        on for key, on in rows.items() if key not in ("tools:look", "providers:scripted")
    )
