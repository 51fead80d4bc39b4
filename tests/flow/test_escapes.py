"""What others wrote is shown, and commands nothing: every byte that reaches a real terminal (F45)."""

from __future__ import annotations

import pytest
from codetether.events import ProviderFault
from codetether.testing import Call, Reply
from in_terminal import terminal

CLIPBOARD, CLEAR, BLINK, TITLE = (
    "\x1b]52;c;aGk=\x07",
    "\x1b[3J\x1b[2J",
    "\x1b[5;31m",
    "\x1b]0;owned\x07",
)
# Strings for the terminal itself (OSC, DCS, SOS, PM, APC), controls of it (CSI, single ones), each in seven bits and in
# eight, and characters that turn text around or cannot be seen.
STRINGS = ["]52;c;aGk=", "]0;owned", "]1;x", "]2;x", "]4;1;#000", "]7;file:///", "]8;;http://evil", "]9;4;1;50", "]10;?",
           "]50;x", "]133;A", "]777;notify;a;b", "]1337;File=:aGk=", "P+q544e", "P$qm", "Xx", "^x", "_Gi=1;aGk="]  # fmt: skip
CONTROLS = ["[9A", "[2J", "[3J", "[5;31m", "[?1049h", "[?1000h", "[?2004h", "[?25l", "[6n", "[c", "[>c", "[21t", "[8;1;1t",
            "[1;1H", "[9999L", "[!p", "[4h", "[2 q", "c", "7", "(0", "#8", "=", "N", "Z"]  # fmt: skip
UNSEEN = [
    "\u202egnp\u202c",
    "\u2066x\u2069",
    "\u200ex",
    "\u061cx",
    "\u202ax",
    "\u2068x",
    "\U000e0041x",
]
PAYLOADS = [
    *(f"\x1b{each}\x07" for each in STRINGS[:13]),
    *(f"\x1b{each}\x1b\\" for each in STRINGS),
    *(f"\x1b{each}" for each in CONTROLS),
    CLIPBOARD, CLEAR, BLINK, TITLE, "\x9b31m", "\x9d0;x\x9c", "\x90q\x9c", "\x98x\x9c", "\x85", "\x8d",
    "\x07" * 20, "\x08" * 9, "\x0b\x0c", "\x7f", "\x0e", "\x05",
    *UNSEEN,
]  # fmt: skip
assert len(PAYLOADS) >= 60
ALL = "".join(PAYLOADS)


@pytest.fixture
def strange(place):
    """File names, contents and a branch that are orders to a terminal."""
    for number, payload in enumerate(PAYLOADS):
        (place.work / f"n{number}{payload.replace('/', '')}.txt").write_text(f"{ALL}\n{number}\n")
    (place.work / ".git" / "HEAD").write_text(f"ref: refs/heads/{TITLE}\n")
    return place


def assert_clean(screen):
    assert screen.foreign() == []
    shown = screen.bytes.decode()
    assert [payload for payload in PAYLOADS if payload in shown] == []
    assert not any(0x80 <= ord(char) < 0xA0 or char in "\u202e\u2066\u2069\u202c" for char in shown)


async def test_nothing_foreign_reaches_the_terminal(strange):
    calls = (
        Call("list_dir", {"path": "."}),
        Call("grep", {"pattern": "1"}),
        Call("read_file", {"path": f"n1{PAYLOADS[1]}.txt"}),
        Call(f"no_{ALL}", {"x": ALL}),
        Call("read_file", {ALL: ALL}),
        Call("bash", {"command": f"printf '%s' '{ALL}'; ls"}),
        Call("edit", {"path": f"n1{PAYLOADS[1]}.txt", "old_string": "1", "new_string": ALL}),
    )
    replies = [
        Reply(f"I look.{ALL}", thoughts=f"Hm.{ALL}", calls=calls),
        Reply(f"The end.{ALL}", pieces=("The ", "end.", *ALL)),
    ]
    async with strange.model(*replies):
        async with terminal(strange, "exec", "-m", "local/scripted", f"look{ALL}") as screen:
            await screen.until("n Deny")
            await screen.type("y\n")
            await screen.until("n Deny", 2)
            await screen.type("y\n")
            assert await screen.end() == 0
    assert_clean(screen)
    assert "The end." in screen.text
    assert all(word in screen.text for word in ("list_dir", "grep", "printf", "+"))
    assert ALL in strange.messages()[-1]["parts"][-1]["text"], "the session keeps the raw text"


@pytest.mark.parametrize("words", [("sessions",), ("sessions", "show"), ("sessions", "export")])
async def test_nor_from_what_was_kept(strange, words):
    async with strange.model(f"Hello.{ALL}"):
        assert (await strange.exec(f"title{ALL}")).code == 0
    (path,) = strange.session_files()
    async with terminal(strange, *words, *([path.stem] if len(words) > 1 else [])) as screen:
        assert await screen.end() == 0
    assert "title" in screen.text
    assert_clean(screen)


async def test_nor_from_a_server_that_refuses(strange):
    fault = Reply(fault=ProviderFault("invalid", f"no{ALL}", 400))
    async with strange.model(fault, fault):
        async with terminal(strange, "exec", "-m", "local/scripted", "hi") as screen:
            assert await screen.end() == 1
    assert "400" in screen.text
    assert_clean(screen)


async def test_nor_from_a_list_of_models(strange):
    async with strange.model(models=(f"m{ALL}", "n")):
        async with terminal(strange, "models") as screen:
            assert await screen.end() == 0
    assert "local/n" in screen.text
    assert_clean(screen)


@pytest.mark.parametrize(
    "words", [("config", "show"), ("config", "trust"), ("plugins", "doctor"), ("exec", "hi")]
)
@pytest.mark.parametrize("sound", [True, False])
async def test_nor_from_settings_of_the_repository(strange, words, sound):
    """Keys and values may hold anything; so may the name of the directory, which any error names."""
    name = ALL.replace("/", "")
    place = strange.work.joinpath(*(f"d{name[at : at + 60]}" for at in range(0, len(name), 60)))
    place.mkdir(parents=True)
    key = '"{}"'.format("".join(f"\\U{ord(each):08x}" for each in f"{ALL} no key"))
    text = (
        f"[{key}]\n{key} = {key}\n[permissions.tools]\n{key} = 'allow'\n"
        if sound
        else f"{key} = \n"
    )
    (place / "codetether.toml").write_text(text)
    async with strange.model("Hello."):
        async with terminal(strange, *words, cwd=place) as screen:
            code = await screen.end()
    assert "Traceback" not in screen.text
    assert (code == 0) is sound or words[0] != "exec", screen.text
    assert_clean(screen)
