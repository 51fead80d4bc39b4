"""Z.AI (Zhipu). What GLM wants differently is in models.json."""

from __future__ import annotations

from codetether_wire import WireProvider


class ZhipuAI(WireProvider):
    """Z.AI, or whatever the secret's `base_url` names: its coding plan has https://api.z.ai/api/coding/paas/v4."""

    api = 1
    base_url = "https://api.z.ai/api/paas/v4"
    models_path = ""  # the vendor has no list
