"""websearch: one service is asked, its answer is a list of strangers' words, and a failure says how to set one up."""

from __future__ import annotations

from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from codetether.api import CodetetherError, SecretMissing, Secrets
from codetether.testing import ByteServer, Call, Reply, check_plugin, make_kernel
from codetether.testing.http import response
from codetether_tool_websearch import Params, WebSearch, services
from codetether_tool_websearch.duckduckgo import read_page, target
from codetether_web import Policy
from hypothesis import given
from hypothesis import strategies as st

TOKEN = "tvly-canary-0123456789"
DUCK = """<html><body><div class="result results_links result--ad"><h2 class="result__title">
<a class="result__a" href="https://duckduckgo.com/y.js?ad_domain=ad.test&u3=x">Advert</a></h2>
<a class="result__snippet" href="#">Buy</a></div>
<div class="result"><h2><a rel="nofollow" class="result__a"
 href="//duckduckgo.com/l/?uddg=https%3A%2F%2Ftrio.test%2Fa%3Fb%3D1&amp;rut=abc">The <b>trio</b> &amp; docs</a></h2>
<a class="result__snippet" href="//duckduckgo.com/l/?uddg=x">About <b>nurseries</b> and scopes</a></div>
<div class="result"><a class="result__a" href="https://plain.test/">Plain</a></div>
<div class="result"><a class="result__a" href="javascript:alert(1)">Bad</a></div></body></html>"""


class Keys(Secrets):
    """Keys a test sets."""

    api = 1
    kept: ClassVar[dict[str, str]] = {}
    broken: ClassVar[bool] = False

    async def get(self, provider):
        if self.broken:
            raise CodetetherError("Vault is sealed", "unseal it")
        if provider not in self.kept:
            raise SecretMissing(f"no key for {provider}")
        self.kernel.redact.add(self.kept[provider])
        return {"api_key": self.kept[provider]}

    async def providers(self):
        return sorted(self.kept)

    async def check(self):
        return []


@pytest.fixture
def keys(monkeypatch):
    monkeypatch.setattr(Keys, "kept", {})
    monkeypatch.setattr(Keys, "broken", False)
    return Keys


def port(server):
    return int(server.url.rpartition(":")[2])


def at(monkeypatch, service, server, path="/find"):
    monkeypatch.setattr(service, "address", server.url + path)
    monkeypatch.setattr(service, "policy", Policy((f"127.0.0.1:{port(server)}",)))


async def search(tmp_path, query="trio nursery", count=5, **settings):
    arguments = {"query": query, "max_results": count}
    async with make_kernel(
        tmp_path,
        replies=[Reply(calls=(Call("websearch", arguments),)), "Done."],
        plugins=["sandboxes", "tools:websearch"],
        extra={"secrets:keys": Keys},
        settings={"plugins": {"tools:websearch": settings}} if settings else None,
    ) as kernel:
        async with kernel.open_session(directory=tmp_path / "work", access="full") as session:
            await session.prompt("go")
            (result,) = [result for message in session.messages for result in message.results]
            return result


def listing(result):
    assert result.ok, result.text
    lines = result.text.split("\n")
    assert lines[0].startswith("[Untrusted web content from ")
    assert lines[-1].startswith("[end of untrusted web content, mark ")
    return "\n".join(lines[1:-1])


async def test_searxng(tmp_path, keys):
    rows = [
        {"title": "One\nline", "url": "https://one.test/", "content": "first \x1b[31m words"},
        {"title": None, "url": "https://two.test/"},
        {"title": "no address"},
        "junk",
        {"title": "file", "url": "file:///etc/passwd"},
        {"title": "Three", "url": "https://three.test/"},
    ]
    body = msgspec.json.encode({"results": rows})
    async with ByteServer([[response(body)]]) as server:
        result = await search(tmp_path, count=2, base_url=f"{server.url}/")
        (request,) = server.requests
    assert listing(result) == (
        "1. One line\n   https://one.test/\n   first words\n2. https://two.test/\n   https://two.test/"
    )
    parts = urlsplit(request.path)
    assert (parts.path, parse_qs(parts.query)) == (
        "/search",
        {"q": ["trio nursery"], "format": ["json"]},
    )
    assert result.meta == {"count": 2, "service": "searxng"}


async def test_brave(tmp_path, keys, monkeypatch):
    keys.kept["brave"] = TOKEN
    body = {"web": {"results": [{"title": "T", "url": "https://t.test/", "description": "D"}]}}
    async with ByteServer([[response(msgspec.json.encode(body))]]) as server:
        at(monkeypatch, services.Brave, server)
        result = await search(tmp_path)
        (request,) = server.requests
    assert listing(result) == "1. T\n   https://t.test/\n   D"
    assert request.headers["x-subscription-token"] == TOKEN
    assert parse_qs(urlsplit(request.path).query)["q"] == ["trio nursery"]


async def test_tavily(tmp_path, keys, monkeypatch):
    keys.kept["tavily"] = TOKEN
    body = {"results": [{"title": "T", "url": "https://t.test/", "content": "C"}]}
    async with ByteServer([[response(msgspec.json.encode(body))]]) as server:
        at(monkeypatch, services.Tavily, server)
        result = await search(tmp_path)
        (request,) = server.requests
    assert listing(result) == "1. T\n   https://t.test/\n   C"
    assert (request.method, request.json) == ("POST", {"query": "trio nursery", "max_results": 5})
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


async def test_a_key_does_not_follow_a_redirect(tmp_path, keys, monkeypatch):
    keys.kept["tavily"] = TOKEN
    async with ByteServer() as thief:
        moved = response(status=307, headers={"location": thief.url})
        async with ByteServer([[moved]]) as server:
            at(monkeypatch, services.Tavily, server)
            result = await search(tmp_path)
        assert thief.requests == []
    assert not result.ok


async def test_duckduckgo_without_any_setting_up(tmp_path, keys, monkeypatch):
    async with ByteServer([[response(DUCK, content_type="text/html")]]) as server:
        at(monkeypatch, services.DuckDuckGo, server)
        result = await search(tmp_path)
    assert listing(result) == (
        "1. The trio & docs\n   https://trio.test/a?b=1\n   About nurseries and scopes\n"
        "2. Plain\n   https://plain.test/"
    )


@pytest.mark.parametrize(
    "page",
    [
        response(
            '<div class="anomaly-modal__title">Unfortunately, bots</div>', content_type="text/html"
        ),
        response("<html>Welcome</html>", content_type="text/html"),
        response("", status=202, content_type="text/html"),
        response(status=302, headers={"location": "https://duckduckgo.com/418"}),
        response("no", status=403, content_type="text/html"),
        response("no", status=429, content_type="text/html"),
    ],
)
async def test_a_page_without_results_is_an_error_that_tells_what_to_do(
    tmp_path, keys, monkeypatch, page
):
    async with ByteServer([[page]]) as server:
        at(monkeypatch, services.DuckDuckGo, server)
        result = await search(tmp_path)
    assert not result.ok
    assert result.text.startswith("duckduckgo: ")
    assert "codetether auth login brave" in result.text


async def test_no_results_is_no_error(tmp_path, keys, monkeypatch):
    page = response('<div class="no-results">none</div>', content_type="text/html")
    async with ByteServer([[page]]) as server:
        at(monkeypatch, services.DuckDuckGo, server)
        result = await search(tmp_path)
    assert result.ok
    assert result.text == "No results (duckduckgo)."


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (response("{}", status=401), "HTTP 401"),
        (response("{}", status=429), "HTTP 429"),
        (response("{}", status=500), "HTTP 500"),
        (response("<html>"), "not JSON"),
        (response("[" * 100_000), "not JSON"),
    ],
)
async def test_a_query_is_sent_to_no_second_service(tmp_path, keys, monkeypatch, answer, said):
    keys.kept["brave"] = TOKEN
    async with ByteServer([[answer]]) as server, ByteServer() as duck:
        at(monkeypatch, services.Brave, server)
        at(monkeypatch, services.DuckDuckGo, duck)
        result = await search(tmp_path)
        assert duck.requests == []
    assert not result.ok
    assert said in result.text
    assert TOKEN not in result.text


@pytest.mark.parametrize("service", ["searxng", "brave", "tavily"])
async def test_a_service_that_is_not_set_up(tmp_path, keys, service):
    result = await search(tmp_path, service=service)
    assert not result.ok
    assert result.text.startswith(f"{service}: ")
    assert "base_url" in result.text


async def test_a_vault_that_cannot_be_read_is_said(tmp_path, keys, monkeypatch):
    keys.broken = True
    result = await search(tmp_path)
    assert not result.ok
    assert "Vault is sealed" in result.text


async def test_an_empty_query(tmp_path, keys):
    result = await search(tmp_path, query="  \n ")
    assert (result.ok, result.text) == (False, "The query is empty.")


@pytest.mark.parametrize(
    ("href", "leads"),
    [
        ("//duckduckgo.com/l/?uddg=https%3A%2F%2Fa.test%2F", "https://a.test/"),
        ("/l/?uddg=https%3A%2F%2Fa.test%2F", "https://a.test/"),
        ("https://a.test/x", "https://a.test/x"),
        ("https://duckduckgo.com/y.js?ad=1", ""),
        ("//duckduckgo.com/l/?uddg=https%3A%2F%2Fduckduckgo.com%2Fy.js", ""),
        ("//duckduckgo.com/l/?uddg=javascript%3Aalert(1)", ""),
        ("//duckduckgo.com/l/", ""),
        ("data:text/html,x", ""),
    ],
)
def test_where_a_result_leads(href, leads):
    assert target(href) == leads


@given(st.text(max_size=200))
def test_any_page_is_read(text):
    assert read_page(text) in (None, [])
    read_page(f"<a class='result__a' href='{text}'>{text}<a class=result__snippet>{text}")


def test_the_title_says_what_is_searched():
    assert (
        WebSearch(None, "tools:websearch").title(Params("trio nursery")) == "websearch trio nursery"
    )


def test_contract():
    check_plugin("websearch", "codetether.tools")
