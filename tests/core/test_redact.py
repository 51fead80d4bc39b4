from __future__ import annotations

import json
import re
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus

import pytest
from codetether.redact import _SHAPES, MASK, Redactor
from hypothesis import given, settings
from hypothesis import strategies as st

SECRET = 'canary/"secret"+value 42é'


@pytest.fixture
def redactor():
    redactor = Redactor()
    redactor.add(SECRET)
    return redactor


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET, safe=""),
        quote(SECRET),
        quote_plus(SECRET),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
    ],
)
def test_every_form_is_masked(redactor, form):
    assert redactor.text(f"before {form} after") == f"before {MASK} after"


@pytest.mark.parametrize("prefix", ["", "u", "us", "user:", "Basic user-name:"])
@pytest.mark.parametrize("suffix", ["", "x", "xy"])
@pytest.mark.parametrize("encode", [b64encode, urlsafe_b64encode])
def test_base64_is_masked_at_any_offset(redactor, prefix, suffix, encode):
    encoded = encode((prefix + SECRET + suffix).encode()).decode()
    shown = redactor.text(f"Authorization: Basic {encoded}")
    assert MASK in shown
    assert (
        len(shown) < 60
    )  # what remains of the base64 is the prefix and at most two border characters


@given(st.text(min_size=8, max_size=60), st.text(max_size=50), st.text(max_size=50))
def test_no_registered_value_survives(secret, before, after):
    redactor = Redactor()
    redactor.add(secret)
    value = secret.strip()
    if len(value) >= 8 and value.lower() not in ("lm-studio", "not-needed", "changeme", "password"):
        assert value not in redactor.text(before + value + after).replace(MASK, "\0" * 70)


def test_longer_secret_first():
    redactor = Redactor()
    redactor.add("abcdefgh1234")
    redactor.add("abcdefgh1234-and-more")
    assert redactor.text("x abcdefgh1234-and-more y") == f"x {MASK} y"


def test_short_values_do_not_destroy_text():
    redactor = Redactor()
    for value in ("a", "abc", "", "none", "ollama", "true"):
        redactor.add(value)
    text = "abc a none ollama true"
    assert redactor.text(text) is text
    redactor.add("bees")
    assert redactor.text("bees, beeswax, 'bees'") == f"{MASK}, beeswax, '{MASK}'"


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefghijklmnopqrstuvwxyz012345",
        "sk-ant-api03-abcdefghijklmnopqrstuvwxyz",
        "AIzaSyA-abcdefghijklmnopqrstuvwxyz012345",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "github_pat_" + "a1B2" * 15,
        "hvs.CAESIabcdefghijklmnopqrstuvwx",
        "xoxb-123456789012-abcdefghijkl",
        "eyJhbGciOiJIUzI1NiIsInR5.eyJzdWIiOiIxMjM0NTY3ODkw.SflKxwRJSMeKKF2QT4",
    ],
)
def test_shapes_of_known_keys_are_masked(key):
    assert Redactor().text(f"key={key};") == f"key={MASK};"


def test_bearer_keeps_its_word_and_private_keys_lose_their_body():
    assert (
        Redactor().text("Authorization: Bearer abcdefghijklmnopqrstu")
        == f"Authorization: Bearer {MASK}"
    )
    pem = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkq\n" * 5 + "-----END PRIVATE KEY-----"
    assert Redactor().text(pem) == f"-----BEGIN PRIVATE KEY-----{MASK}-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        "task-list of sk-",
        "see ask-the-person-who-knows-everything",
        "AIza",
        "Bearer of news",
        "eyJ",
    ],
)
def test_ordinary_text_is_returned_as_it_is(text):
    assert Redactor().text(text) is text


def test_repr_shows_nothing(redactor):
    assert "canary" not in repr(redactor)


@pytest.mark.parametrize(("must", "pattern"), _SHAPES)
@settings(max_examples=10)
@given(
    data=st.data(),
    around=st.sampled_from(["a b\n", "é, ", "https://example.org/a/long/path/of/its/own "]),
)
def test_a_key_by_its_shape_is_masked_in_a_large_text_too(must, pattern, data, around):
    bare = re.sub(r"\(\?(?:<?[!=][^)]*|s)\)", "", pattern)  # without what must be before and behind
    key = data.draw(st.from_regex(re.compile(bare, re.ASCII), fullmatch=True))
    before = must if "?<=" in pattern else ""
    end = "-----END" if "PRIVATE" in must else " "
    text = around * 2_000 + before + key + end + around
    assert len(text) > 4_096
    assert Redactor().text(text) == Redactor().text(around * 2_000) + before + MASK + end + around
