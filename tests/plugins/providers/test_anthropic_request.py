"""What is sent to Anthropic, judged by its own SDK's types and by its documented rules."""

from __future__ import annotations

import json
from base64 import b64encode

import pytest
from anthropic_judge import judge_request
from codetether.api import (
    Image,
    Message,
    Request,
    Text,
    Thought,
    ToolCall,
    ToolResult,
)
from codetether_provider_anthropic import Anthropic
from codetether_provider_azure_anthropic import AzureAnthropic
from codetether_provider_minimax import MiniMax
from codetether_wire import AnthropicDialect, Traits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vendor_histories import PNG, SCHEMA, TOOLS, broken_history, repaired, requests

OPAQUES = ("EqQBCg==", "redacted:EmwKAhgB", "")
U = Message("user", (Text("go"),))
PLAIN = Traits(replay="thinking")
SORTS = {
    "plain": PLAIN,
    "thinking": Traits(
        replay="thinking", thinking={"type": "adaptive", "display": "summarized"}, eager=True
    ),
    "bound": Traits(
        replay="thinking",
        temperature=False,
        tool_choice=False,
        thinking={"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}},
        betas=("thinking-binding-controls-2026-08-01",),
    ),
    "old": Traits(replay="thinking", schema="tool", images=False, marks=False, most_output=8192),
    "forgets": Traits(schema="tool"),
}


def sent(request, traits=PLAIN, origin="anthropic"):
    return judge_request(AnthropicDialect().outgoing(request, traits, origin))


def ask(*messages, **more):
    return Request("claude-x", messages or (U,), **more)


def step(*results, said=(), calls=None):
    calls = calls or [ToolCall(r.call_id, r.name, "{}") for r in results]
    return Message("assistant", (*said, *calls)), Message("tool", results)


def result(name, text="out", **how):
    return ToolResult(name, "bash", text, **how)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(requests(origin="anthropic", opaques=OPAQUES), st.sampled_from(sorted(SORTS)))
def test_no_history_makes_a_request_the_vendor_refuses(request, sort):
    body = sent(request, SORTS[sort])
    assert body["stream"] is True
    told = json.dumps(body)
    for message in request.messages:
        if message.role == "user":
            for part in message.parts:
                if isinstance(part, Text):
                    assert json.dumps(part.text)[1:-1] in told


@settings(max_examples=60, deadline=None)
@given(st.randoms(use_true_random=False))
def test_what_was_sent_before_is_sent_the_same_again(rng):
    """Else no cache is hit, and no thought is taken back: both are bound to what came before."""
    messages = repaired(broken_history(rng, "anthropic", OPAQUES))
    before = []
    for end in range(1, len(messages) + 1):
        if messages[end - 1].role == "assistant":
            continue
        body = json.loads(
            AnthropicDialect().outgoing(ask(*messages[:end]), PLAIN, "anthropic").body
        )
        now = [{**m, "content": [unmarked(b) for b in m["content"]]} for m in body["messages"]]
        for earlier, later in zip(before, now, strict=False):
            assert later["content"][: len(earlier["content"])] == earlier["content"]
        before = now


def unmarked(block):
    return {key: value for key, value in block.items() if key != "cache_control"}


# --- one by one ---
def test_results_of_a_step_and_what_the_user_adds_are_one_turn():
    answer, results = step(result("1"), result("2", "", ok=False), said=(Text("two"),))
    body = sent(ask(U, answer, results, Message("user", (Text("stop"),)), tools=TOOLS))
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "out"}]},
        {"type": "tool_result", "tool_use_id": "2", "is_error": True},
        {"type": "text", "text": "stop", "cache_control": {"type": "ephemeral"}},
    ]


def test_pictures_of_users_and_of_tools():
    picture = Image("image/png", PNG)
    block = {
        "type": "image",
        "source": {
            "type": "base64",
            "media_type": "image/png",
            "data": b64encode(PNG).decode(),
        },
    }
    user = Message("user", (Text("see"), picture))
    answer, results = step(result("1", "shot", images=(picture,)))
    body = sent(ask(user, answer, results, tools=TOOLS))
    assert unmarked(body["messages"][0]["content"][1]) == block
    assert body["messages"][2]["content"][0]["content"] == [{"type": "text", "text": "shot"}, block]
    blind = sent(ask(user, answer, results, tools=TOOLS), Traits(images=False))
    assert "base64" not in json.dumps(blind)
    assert json.dumps(blind).count("takes text only") == 2


def test_thoughts_go_back_unchanged_and_to_their_maker_only():
    thoughts = (
        Thought("why", "sig==", "anthropic"),
        Thought("", "redacted:data==", "anthropic"),
        Thought("", "hidden==", "anthropic"),
        Thought("foreign", "sig2", "openai"),
        Thought("no signature", "", "anthropic"),
    )
    answer, results = step(result("1"), said=thoughts)
    content = sent(ask(U, answer, results, tools=TOOLS))["messages"][1]["content"]
    assert content[:-1] == [
        {"type": "thinking", "thinking": "why", "signature": "sig=="},
        {"type": "redacted_thinking", "data": "data=="},
        {"type": "thinking", "thinking": "", "signature": "hidden=="},
    ]
    elsewhere = sent(ask(U, answer, results, tools=TOOLS), origin="minimax")
    assert [b["type"] for b in elsewhere["messages"][1]["content"]] == ["tool_use"]


@pytest.mark.parametrize(
    ("arguments", "input_"),
    [
        ('{"a": 1}', {"a": 1}),
        ("{", {}),
        ("", {}),
        ("[1]", {}),
        ("null", {}),
        ('{"a": "\\ud83d"}', {}),
    ],
)
def test_arguments_are_an_object(arguments, input_):
    answer, results = step(result("1"), calls=[ToolCall("1", "bash", arguments)])
    assert (
        sent(ask(U, answer, results, tools=TOOLS))["messages"][1]["content"][0]["input"] == input_
    )


def test_ids_are_the_vendors_own_or_made_to_fit():
    calls = [
        ToolCall("call_1", "bash", "{}", "toolu_01"),
        ToolCall("call_2", "bash", "{}", "toolu_01"),
        ToolCall("functions.bash:0", "bash", "{}"),
        ToolCall("y" * 80, "bash", "{}", "ü"),
    ]
    answer, results = step(*(result(c.id) for c in calls), calls=calls)
    content = sent(ask(U, answer, results, tools=TOOLS))["messages"][1]["content"]
    ids = [block["id"] for block in content]
    assert ids[:2] == ["toolu_01", "call_2"]
    assert all(name.startswith("call_") for name in ids[2:])


def test_names_and_pictures_the_vendor_would_refuse():
    calls = [ToolCall("1", "functions.bash", "{}")]
    bitmap = Image("image/bmp", b"BM")
    answer, results = step(result("1", images=(bitmap,)), calls=calls)
    for tools in (TOOLS, ()):
        body = sent(ask(U, answer, results, tools=tools))
        assert body["messages"][1]["content"][0]["name"] == "functions_bash"
        shown = body["messages"][2]["content"][0]["content"][1]
        assert shown["text"] == "[image left out: image/bmp cannot be shown to this model]"
    assert body["tools"][0]["name"] == "functions_bash"


def test_four_markers_at_most_and_where_they_are():
    first, one = step(result("1"))
    second, two = step(result("2"))
    request = ask(U, first, one, second, two, tools=TOOLS, system="Be brief.")
    body = sent(request)
    assert [("cache_control" in tool) for tool in body["tools"]] == [False, True]
    assert body["system"] == [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}
    ]
    marked = ["cache_control" in m["content"][-1] for m in body["messages"]]
    assert marked == [False, False, True, False, True]
    assert "cache_control" not in json.dumps(sent(request, Traits(marks=False)))


def test_tools_and_their_choice():
    body = sent(ask(tools=TOOLS[:1]))
    assert body["tools"] == [
        {
            "name": "read_file",
            "description": "Read a file",
            "input_schema": TOOLS[0].parameters,
            "cache_control": {"type": "ephemeral"},
        }
    ]
    assert "tool_choice" not in body
    assert sent(ask(tools=TOOLS, tool_choice="none"))["tool_choice"] == {"type": "none"}
    assert sent(ask(tools=TOOLS, tool_choice="required"))["tool_choice"] == {"type": "any"}
    assert "tool_choice" not in sent(ask(tools=TOOLS, tool_choice="required"), SORTS["bound"])
    assert "tool_choice" not in sent(ask(tool_choice="required"))


def test_a_history_with_calls_declares_them_though_no_tool_is_offered():
    answer, results = step(result("1"), result("2"))
    body = sent(ask(U, answer, results))
    assert [unmarked(tool) for tool in body["tools"]] == [
        {"name": "bash", "input_schema": {"type": "object"}}
    ]
    assert body["tool_choice"] == {"type": "none"}


def test_thinking_and_temperature():
    thinking = SORTS["thinking"]
    body = sent(ask(temperature=0.5, tools=TOOLS), thinking)
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert "temperature" not in body
    assert body["tools"][0]["eager_input_streaming"] is True
    assert sent(ask(temperature=0.5))["temperature"] == 0.5
    assert sent(ask(temperature=1.7))["temperature"] == 1.0
    assert "temperature" not in sent(ask(temperature=0.5), Traits(temperature=False))
    assert "thinking" not in sent(ask(tools=TOOLS, tool_choice="required"), thinking)


@pytest.mark.parametrize(
    ("wanted", "traits", "limit"),
    [
        (None, Traits(), 8192),
        (None, Traits(default_limit=32000), 32000),
        (None, Traits(default_limit=32000, most_output=4096), 4096),
        (100, Traits(default_limit=32000, most_output=4096), 100),
        (99999, Traits(most_output=64000), 64000),
    ],
)
def test_there_is_always_a_limit(wanted, traits, limit):
    assert sent(ask(max_output=wanted), traits)["max_tokens"] == limit


def test_a_structured_answer_by_format_or_by_a_tool():
    by_format = sent(ask(schema=SCHEMA, tools=TOOLS))
    assert by_format["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert "tool_choice" not in by_format
    alone = sent(ask(schema=SCHEMA), Traits(schema="tool"))
    assert alone["tools"][0]["input_schema"] == SCHEMA
    assert alone["tool_choice"] == {"type": "tool", "name": "structured_answer"}
    beside = sent(ask(schema=SCHEMA, tools=TOOLS), Traits(schema="tool"))
    assert [t["name"] for t in beside["tools"]] == ["read_file", "bash", "structured_answer"]
    assert beside["tool_choice"] == {"type": "any"}
    last = sent(ask(schema=SCHEMA, tools=TOOLS, tool_choice="none"), Traits(schema="tool"))
    assert last["tool_choice"] == {"type": "tool", "name": "structured_answer"}
    unforced = sent(ask(schema=SCHEMA), Traits(schema="tool", tool_choice=False))
    assert "tool_choice" not in unforced


def test_extra_goes_in_last():
    traits = Traits(extra={"output_config": {"effort": "low"}})
    assert sent(ask(), traits)["output_config"] == {"effort": "low"}


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        ("max_tokens: 32000 > 8192, which is the maximum allowed", "most_output", 8192),
        ("`temperature` is not supported on this model", "temperature", False),
        ("tool_choice forces tool use is not compatible with this model", "tool_choice", False),
        ("tools.0.cache_control: Extra inputs are not permitted", "marks", False),
        ("tools.0.custom.eager_input_streaming: Extra inputs are not permitted", "eager", False),
        ("thinking.adaptive.block_binding: Extra inputs are not permitted", "betas", ()),
        ("Unexpected value(s) for the `anthropic-beta` header", "betas", ()),
        ("output_config.format: Extra inputs are not permitted", "schema", "tool"),
        ("messages.1.content.0: Invalid `signature` in `thinking` block", "replay", ""),
        ("adaptive thinking is not supported on this model", "thinking", {}),
    ],
)
def test_a_refused_request_is_sent_in_another_form(message, field, value):
    traits = Traits(
        replay="thinking",
        eager=True,
        betas=("b",),
        thinking={"type": "adaptive", "block_binding": {}},
    )
    dialect = AnthropicDialect()
    changed = dialect.adapt(traits, message)
    assert getattr(changed, field) == value
    assert changed.thinking in ({}, {"type": "adaptive"}, traits.thinking)
    while changed is not None:  # it ends
        traits, changed = changed, dialect.adapt(changed, message)
    judge_request(dialect.outgoing(ask(tools=TOOLS), traits, "anthropic"))


def test_what_cannot_be_helped_is_not_tried_again():
    assert AnthropicDialect().adapt(Traits(), "messages: roles must alternate") is None
    assert AnthropicDialect().adapt(Traits(), "max_tokens: 5 > 0") is None


@pytest.mark.parametrize("cls", [Anthropic, AzureAnthropic, MiniMax])
def test_every_model_of_the_data_files_makes_a_request_the_types_take(kernel, cls):
    provider = cls(kernel(), f"providers:{cls.__name__}")
    data = provider.catalogue.data
    assert data.date
    assert data.source
    assert provider.default_model in {entry.id for entry in data.models}
    answer, results = step(result("1"))
    request = ask(U, answer, results, tools=TOOLS, system="s", schema=SCHEMA, temperature=0.2)
    for entry in data.models:
        traits = provider.traits(entry.id)
        body = judge_request(AnthropicDialect().outgoing(request, traits, provider.name))
        assert body["max_tokens"] == min(64_000, entry.output)
    assert provider.traits("claude-unheard-of").default_limit == 32_000


@pytest.mark.parametrize(
    ("model", "thinks", "bound"),
    [
        ("claude-opus-5-5", True, True),
        ("claude-opus-6-5-1", True, True),
        ("claude-sonnet-5", True, False),
        ("claude-sonnet-5-20260630", True, False),
        ("claude-opus-4-8-20260528", True, False),
        ("claude-sonnet-4-6", True, False),
        ("claude-haiku-4-5-20251001", False, False),
        ("claude-3-5-haiku-latest", False, False),
    ],
)
def test_how_models_and_their_dated_names_are_asked(kernel, model, thinks, bound):
    traits = Anthropic(kernel(), "providers:anthropic").traits(model)
    assert bool(traits.thinking) is thinks
    assert bool(traits.betas) is bound
