"""A new private Vault: initialised, given its engine and its two roles, its root token revoked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import trio
from codetether.api import CodetetherError

from codetether_mode_vault.house import House
from codetether_mode_vault.talk import ACTIVE, ask, ordered

ELECTING = 30.0
MOUNT = "secret"
FOLDER = "codetether/providers"
AGENT = f"""
path "{MOUNT}/data/{FOLDER}/*"     {{ capabilities = ["create", "read", "update", "delete"] }}
path "{MOUNT}/metadata/{FOLDER}"   {{ capabilities = ["list"] }}
path "{MOUNT}/metadata/{FOLDER}/*" {{ capabilities = ["list", "read"] }}
"""
KEEPER = 'path "sys/storage/raft/snapshot" { capabilities = ["read"] }'
ROLES = {"agent": AGENT, "keeper": KEEPER}


async def found(house: House, tell: Callable[[str], None]) -> None:
    """From an empty server to one in use. Killed in between, `ids.json` is missing and nothing of anybody's is in it:
    the next `vault up` puts it aside and begins anew. Raises CodetetherError.
    """
    tell("initialising")
    made = await ordered(house, "PUT", "sys/init", {"recovery_shares": 1, "recovery_threshold": 1})
    root = str(made["root_token"])
    house.write(house.folder / "recovery-key", f"{made['recovery_keys_base64'][0]}\n".encode())
    await elected(house)
    tell("making room for keys")
    kv = {"type": "kv", "options": {"version": "2"}, "description": "keys of providers"}
    await ordered(house, "POST", f"sys/mounts/{MOUNT}", kv, root)
    await ordered(house, "POST", "sys/auth/approle", {"type": "approle"}, root)
    ids = {name: await _role(house, name, policy, root) for name, policy in ROLES.items()}
    tell("trying the way in")
    for each in ids.values():
        await ordered(house, "POST", "auth/approle/login", each)
    tell("giving up the root token")
    await ordered(house, "POST", "auth/token/revoke-self", {}, root)
    house.write(house.ids, ids)


async def elected(house: House) -> None:
    """Raft chooses its only member: a moment, more on a busy machine. Raises CodetetherError."""
    with trio.move_on_after(ELECTING):
        while (await ask(house, "GET", "sys/health")).status != ACTIVE:  # noqa: ASYNC110 - it says nothing by itself
            await trio.sleep(0.05)
        return
    raise CodetetherError(
        "the private Vault does not become active", f"look at {house.log}, then try again"
    )


async def _role(house: House, name: str, policy: str, root: str) -> dict[str, Any]:
    """A role that may do what `policy` says and no more; its ids."""
    path = f"auth/approle/role/{name}"
    how = {"token_policies": [name], "token_ttl": "1h", "token_max_ttl": "24h"}
    await ordered(house, "PUT", f"sys/policies/acl/{name}", {"policy": policy}, root)
    await ordered(house, "POST", path, how, root)
    role = await ordered(house, "GET", f"{path}/role-id", token=root)
    secret = await ordered(house, "POST", f"{path}/secret-id", {}, root)
    return {"role_id": role["data"]["role_id"], "secret_id": secret["data"]["secret_id"]}


def write_facts(house: House) -> None:
    """Say where the server is, for plugins. Their AppRole ids go into a file in the data folder, which no sandboxed
    command sees. Blocking.
    """
    house.write(house.agent, house.read(house.ids).get("agent") or {})
    facts = {
        "address": f"unix://{house.socket}",
        "mount": MOUNT,
        "path": FOLDER,
        "credentials": str(house.agent),
    }
    house.write(house.facts, facts)
