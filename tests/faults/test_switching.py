"""The model is changed in mid-session for one of another vendor: what was said before is still a valid request."""

from __future__ import annotations

import json
import random
from contextlib import AsyncExitStack

import msgspec
import trio
from codetether.api import Image, Message, Request, Text, Thought
from codetether.testing import ByteServer, Received, make_kernel
from dialects import DIALECTS, SEALED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stand import kernel_at, note
from vendor_histories import PNG, TOOLS, broken_history, repaired

END = "Done."
NAMES = sorted(DIALECTS)
# What each vendor seals its thoughts with, and the word that shows that the seal was sent.
SEALS = {
    "chat": ('[{"type": "reasoning.text", "text": "SEALCHAT"}]', "SEALCHAT"),
    "responses": (SEALED.replace('"X"', '"SEALRESPONSES"'), "SEALRESPONSES"),
    "anthropic": ("SEALANTHROPIC", "SEALANTHROPIC"),
    "google": ("call:U0VBTEdPT0dMRQ==", "U0VBTEdPT0dMRQ"),
    "converse": ("signature:SEALCONVERSE", "SEALCONVERSE"),
}


def mixed_history(rng):
    """What several vendors said in turn, each with its own thoughts and ids, then hurt as crashes hurt it."""
    messages = []
    for stretch in range(rng.randint(1, 3)):
        name = rng.choice(NAMES)
        dialect = DIALECTS[name]
        part = broken_history(rng, dialect.provider, ("", SEALS[name][0]))
        for message in part:
            parts = tuple(_labelled(rng, each, stretch) for each in message.parts)
            name = f"{message.id}-{stretch}" if message.id else ""
            messages.append(
                msgspec.structs.replace(message, parts=parts, id=name, model=dialect.ref)
            )
    return messages


def _labelled(rng, part, stretch):
    """Ids as each vendor gives them; the same id may come from two vendors."""
    if not hasattr(part, "label") or not part.label:
        return part
    made = rng.choice([
        f"toolu_{part.id}", f"call_{part.id}", f"functions.bash:{stretch}", f"tooluse_{part.id}", "fc_1|call_1",
        "x" * 70, "ü", "call_0",
    ])  # fmt: skip
    return msgspec.structs.replace(part, label=made)


async def written(kernel, dialect, request):
    """The request as `dialect`'s provider would send it now."""
    provider = kernel.provider(dialect.provider)
    await provider.endpoint(request.model)
    traits = provider.traits(request.model)
    outgoing = provider.dialect_for(request.model).outgoing(request, traits, provider.name)
    return Received("POST", outgoing.path, dict(outgoing.headers), outgoing.body, 0.0)


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(seed=st.integers(0, 2**32 - 1), target=st.sampled_from(NAMES), tools=st.booleans())
def test_any_history_of_any_vendors_goes_on_with_any_other(tmp_path_factory, seed, target, tools):
    rng = random.Random(seed)
    dialect = DIALECTS[target]
    messages = repaired(mixed_history(rng))
    request = Request(dialect.model, messages, system="Be brief.", tools=TOOLS if tools else ())

    async def main():
        home = tmp_path_factory.mktemp("switch")
        async with kernel_at(home, {dialect.provider: "http://127.0.0.1:9"}) as kernel:
            sent = await written(kernel, dialect, request)
        dialect.judge(sent)
        words = sent.body.decode()
        for message in messages:  # no user message is lost, whoever is asked next
            for part in message.parts if message.role == "user" else ():
                if isinstance(part, Text):
                    assert json.dumps(part.text, ensure_ascii=False)[1:-1] in words
        kept = {
            part.opaque
            for message in messages
            for part in message.parts
            if isinstance(part, Thought) and part.origin == dialect.provider
        }
        for opaque, word in SEALS.values():  # a sealed thought goes back to its maker only
            assert word not in words or opaque in kept

    trio.run(main)


async def test_one_session_through_all_five(tmp_path):
    """Live: each vendor answers a step with a thought and two calls, with pictures on the table; then the next one."""
    order = ["anthropic", "chat", "google", "responses", "converse", "anthropic"]
    picture = Image("image/png", PNG)
    servers, kept = {}, {}

    def script(name):
        def steps(request):
            dialect = DIALECTS[name]
            DIALECTS[name].judge(request)
            kept.setdefault(name, []).append(request)
            if b"noted " + turn[0].encode() in request.body:
                return dialect.says(END)
            return dialect.says(
                note(turn[0], f"{turn[0]}-2", thoughts=f"{name} thinks", text="Look:")
            )

        return steps

    turn = [""]
    async with AsyncExitStack() as stack:
        for name in set(order):
            servers[name] = await stack.enter_async_context(ByteServer(script(name)))
        addresses = {DIALECTS[name].provider: servers[name].url for name in servers}
        kernel = await stack.enter_async_context(kernel_at(tmp_path, addresses))
        session_id = None
        for number, name in enumerate(order):
            turn[0] = f"turn{number}"
            async with kernel.open_session(
                directory=tmp_path / "work", model=DIALECTS[name].ref, resume=session_id
            ) as session:
                session_id = session.id
                done = await session.prompt(f"question {number}", [picture])
                assert (done.reason, done.text) == ("done", END), done
    assert sorted(kernel.noted) == sorted(
        f"turn{n}{end}" for n in range(len(order)) for end in ("", "-2")
    )
    first, last = kept["anthropic"][1], kept["anthropic"][-1]
    signature = b'"signature":"c2ln"'  # which Anthropic and Bedrock write alike
    for name in ("chat", "google", "responses", "converse"):
        request = kept[name][-1]
        assert b"question 0" in request.body
        assert request.body.count(signature) == (1 if name == "converse" else 0)
    # Its own thought from the beginning, still sealed, and that of the last step.
    assert (first.body.count(signature), last.body.count(signature)) == (1, 2)
    for number in range(len(order)):
        assert f"question {number}".encode() in last.body


async def test_a_model_that_cannot_see_goes_on_with_a_history_of_pictures():
    """The same session at a model without eyes: the pictures stay on disk, the request says that they were left out."""
    history = (Message("user", (Text("look"), Image("image/png", PNG))),)
    request = Request("deepseek-chat", history)
    async with make_kernel(plugins=["providers:deepseek"]) as kernel:
        provider = kernel.provider("deepseek")
        outgoing = provider.dialect_for(request.model).outgoing(
            request, provider.traits(request.model), provider.name
        )
    assert b"image_url" not in outgoing.body
    assert b"image" in outgoing.body
