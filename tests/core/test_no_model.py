"""A session whose tools are called from elsewhere: it needs no model, and may have a choice of tools."""

import json

from codetether.api import NO_MODEL, ToolCall
from codetether.testing import make_kernel


async def test_its_tools_work_and_no_provider_is_asked(tmp_path):
    (tmp_path / "a.txt").write_text("hello\n")
    async with (
        make_kernel(tmp_path / "k", replies=[]) as kernel,
        kernel.open_session(directory=tmp_path, model=NO_MODEL) as session,
    ):
        call = ToolCall("c1", "read_file", json.dumps({"path": "a.txt"}))
        result = await session.toolbox.one(call)
        assert result.ok
        assert "hello" in result.text
        assert session.model_ref == NO_MODEL
        assert not any(tool.needs_model for tool in session.toolbox.tools.values())
        assert kernel.host.get("providers", "none") is None


async def test_a_prompt_says_what_is_missing(tmp_path):
    async with (
        make_kernel(tmp_path / "k", replies=[]) as kernel,
        kernel.open_session(directory=tmp_path, model=NO_MODEL) as session,
    ):
        finished = await session.prompt("hello")
        assert finished.reason == "error"
        assert "no model" in finished.error
        assert "--model" in finished.hint


async def test_resumed_it_gets_the_default_model(tmp_path):
    async with make_kernel(tmp_path / "k", replies=["hi"]) as kernel:
        async with kernel.open_session(directory=tmp_path, model=NO_MODEL) as session:
            name = session.id
        async with kernel.open_session(directory=tmp_path, resume=name) as session:
            assert session.model_ref != NO_MODEL
            assert (await session.prompt("hello")).text == "hi"


async def test_only_the_tools_named_are_there(tmp_path):
    async with (
        make_kernel(tmp_path / "k", replies=[]) as kernel,
        kernel.open_session(directory=tmp_path, tools=["read_*", "no_such_tool"]) as session,
    ):
        assert list(session.toolbox.tools) == ["read_file"]
