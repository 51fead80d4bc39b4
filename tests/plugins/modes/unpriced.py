"""A second provider, which says what a test wrote too, and whose model has no known price."""

from __future__ import annotations

import msgspec
import trio
from codetether_provider_scripted import Scripted

MODEL = "unpriced/test"


class Unpriced(Scripted):
    """Beside `scripted`, as `extra` of a kernel."""

    async def model(self, model_id):
        known = await super().model(model_id.removeprefix("unpriced/"))
        return msgspec.structs.replace(known, input_price=None, output_price=None)


EXTRA = {"providers:unpriced": Unpriced}


class Silent(Scripted):
    """Tells what its model costs once, and never again."""

    asked_for = 0

    async def model(self, model_id):
        self.asked_for += 1
        if self.asked_for > 1:
            await trio.sleep_forever()
        return await super().model(model_id.removeprefix("unpriced/"))
