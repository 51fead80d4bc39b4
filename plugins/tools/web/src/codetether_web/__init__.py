"""The one way out to the web for whatever a model asks for: checked addresses, bounded answers, labelled content.

`fetch` resolves a name once, checks every address found, connects to a checked one, and does the same for each
redirect. `labelled` marks what came back as data. Import this package where it is used: it is not needed at start-up.
"""

from __future__ import annotations

from codetether_web.addresses import refusal
from codetether_web.content import Body, body_of
from codetether_web.policy import Policy
from codetether_web.request import Page, fetch
from codetether_web.untrusted import labelled

__all__ = ["Body", "Page", "Policy", "body_of", "fetch", "labelled", "refusal"]
