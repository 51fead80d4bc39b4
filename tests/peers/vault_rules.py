"""What a Vault answers: KV 1 and 2, tokens, policies, logins, seals. In memory, on a clock that tests move.

Every rule here was read off a real OpenBao 2.7.2, and tests/contract/test_vault.py holds both to the same answers.
"""

from __future__ import annotations

import json
import re
import time
import uuid

TOKEN = "hvs.canary-token-0123456789"
ENVELOPE = {
    "request_id": "", "lease_id": "", "renewable": False, "lease_duration": 0, "data": None,
    "wrap_info": None, "warnings": None, "auth": None,
}  # fmt: skip
DENIED = "1 error occurred:\n\t* permission denied\n\n"
WRONG_PATH = "Invalid path for a versioned K/V secrets engine. See the API docs."
CAPABILITY = {"GET": ("read",), "LIST": ("list",), "DELETE": ("delete",)}
FOR_ALL = ("auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self")
LONG = 2_764_800


class Rules:
    """`v1` and `v2` are mounts (`old` and `secret`): path to document, None when its version is deleted."""

    def __init__(self):
        self.v1, self.v2, self.versions = {}, {}, {}
        self.token = TOKEN  # the root token; another value makes the old one bad
        self.tokens, self.policies, self.roles, self.accounts, self.quotas = {}, {}, {}, {}, {}
        self.may = self.may_look_at_mounts = True
        self.sealed, self.initialized = False, True
        self.namespace = ""
        self.ahead = 0.0

    def now(self):
        return time.monotonic() + self.ahead

    def answer(self, method, path, headers, data):
        """(status, body) for one request; `path` is below /v1/, headers in any case."""
        path, _, query = path.partition("?")
        method = "LIST" if "list=true" in query else method
        low = {name.lower(): value for name, value in headers.items()}
        if path == "sys/health":
            return self._health(method)
        if path == "sys/seal-status":
            known = {"initialized": self.initialized, "sealed": self.sealed or not self.initialized}
            return (200, known) if method == "GET" else (405, {"errors": []})
        if self.sealed or not self.initialized:
            return 503, {"errors": ["Vault is sealed"]}
        if low.get("x-vault-namespace", "").strip("/") != self.namespace:
            return 404, {"errors": ["namespace not found"]}
        try:
            body = json.loads(data) if data else {}
        except ValueError:
            return 400, {"errors": ["failed to decode JSON input: invalid character"]}
        token = low.get("x-vault-token") or low.get("authorization", "").removeprefix("Bearer ")
        answer = self._login(path, body) or self._allowed(method, path, token, body)
        return self._wrapped(answer, path, low.get("x-vault-wrap-ttl"))

    def _health(self, method):
        if method != "GET":
            return 405, {"errors": []}
        status = 501 if not self.initialized else 503 if self.sealed else 200
        return status, {"initialized": self.initialized, "sealed": status != 200}

    def _wrapped(self, answer, path, ttl):
        status, _ = answer
        if not ttl or status != 200:
            return answer
        info = {"token": f"hvs.{uuid.uuid4().hex}", "ttl": int(ttl), "creation_path": path}
        return 200, {**ENVELOPE, "wrap_info": info}

    # --- who asks ---
    def _allowed(self, method, path, token, body):
        if token == self.token:
            root = True
        else:
            looks = path.startswith("sys/internal/ui/mounts/")  # which uses no token up
            root, known = False, self._known(token, use=not looks)
            if known is None:
                return 403, {"errors": ["permission denied"]}
        if path in FOR_ALL:
            return self._own(path, token, None if root else known, body)
        if path.startswith("sys/internal/ui/mounts/"):
            return self._mounts(method, path, root, None if root else known)
        if not self.may or not (root or self._may(known, method, path)):
            return 403, {"errors": [DENIED]}
        for prefix, left in self.quotas.items():
            if path.startswith(prefix):
                self.quotas[prefix] = left - 1
                if left <= 0:
                    return 429, {"errors": [f'request path "{path}": rate limit quota exceeded']}
        return self._routed(method, path, body)

    def _known(self, token, *, use):
        known = self.tokens.get(token)
        if known is None or self.now() >= known["ends"] or known["uses"] == 0:
            self.tokens.pop(token, None)
            return None
        known["uses"] -= 1 if use and known["uses"] > 0 else 0
        return known

    def _may(self, known, method, path):
        wanted = set(CAPABILITY.get(method, ("create", "update")))
        return any(
            wanted & capabilities and re.fullmatch(re.escape(where).replace(r"\*", ".*"), path)
            for name in known["policies"]
            for where, capabilities in self.policies.get(name, ())
        )

    def _own(self, path, token, known, body):
        if path.endswith("revoke-self"):
            self.tokens.pop(token, None)
            return 204, None
        if path.endswith("renew-self"):
            return self._renewed(token, known, body)
        if known is None:
            data = {
                "ttl": 0,
                "creation_ttl": 0,
                "renewable": False,
                "policies": ["root"],
                "num_uses": 0,
            }
        else:
            left = int(known["ends"] - self.now())
            data = {
                "ttl": left, "creation_ttl": known["ttl"], "renewable": known["renewable"],
                "policies": known["policies"], "num_uses": max(known["uses"], 0), "type": known["type"],
            }  # fmt: skip
        return 200, {**ENVELOPE, "data": {"id": token, **data}}

    def _renewed(self, token, known, body):
        if known is None:
            return 400, {"errors": ["lease is not renewable"]}
        if known["type"] == "batch":
            return 400, {"errors": ["batch tokens cannot be renewed"]}
        asked = _seconds(body.get("increment")) or known["ttl"]
        known["ends"] = min(self.now() + asked, known["last"])
        return 200, {**ENVELOPE, "auth": self._auth(token, known)}

    def new_token(self, policies, ttl=LONG, last=None, uses=-1, kind="service"):
        """A token; `last`: seconds after which it cannot be renewed, `uses`: how often it may be used."""
        token = f"hvs.{uuid.uuid4().hex}"
        now = self.now()
        self.tokens[token] = {
            "policies": list(policies), "ttl": ttl, "ends": now + ttl, "uses": uses or -1, "type": kind,
            "last": now + (last or LONG), "renewable": kind == "service",
        }  # fmt: skip
        return token

    def _auth(self, token, known):
        lease = round(known["ends"] - self.now())
        return {
            "client_token": token, "policies": known["policies"], "lease_duration": lease,
            "renewable": known["renewable"], "token_type": known["type"],
        }  # fmt: skip

    def _login(self, path, body):
        if not path.startswith("auth/") or not path.endswith("/login"):
            return None
        if path == "auth/approle/login":
            role = next(
                (r for r in self.roles.values() if r["role_id"] == body.get("role_id")), None
            )
            if role is not None and "secret_id" not in body:
                return 400, {"errors": ["missing secret_id"]}
            if role is None or body.get("secret_id") not in role["secret_ids"]:
                return 400, {"errors": ["invalid role or secret ID"]}
        elif path == "auth/kubernetes/login":
            role = self.accounts.get(body.get("role"))
            if role is None:
                return 400, {"errors": [f'invalid role name "{body.get("role")}"']}
            if body.get("jwt") != role["jwt"]:
                return 403, {"errors": ["permission denied"]}
        else:
            return 403, {"errors": ["permission denied"]}
        token = self.new_token(role["policies"], role["ttl"], role["last"])
        return 200, {**ENVELOPE, "auth": self._auth(token, self.tokens[token])}

    # --- paths ---
    def _routed(self, method, path, body):
        mount, _, rest = path.partition("/")
        if mount == "secret":
            return self._two(method, rest, body)
        if mount == "old":
            return self._one(method, rest, body)
        if mount == "sys":
            return self._sys(method, rest, body)
        if path == "auth/token/create":
            ttl, last = _seconds(body.get("ttl")), _seconds(body.get("explicit_max_ttl"))
            how = (body.get("policies", ["root"]), min(ttl or LONG, last or LONG), last)
            made = self.new_token(*how, body.get("num_uses", -1), body.get("type", "service"))
            return 200, {**ENVELOPE, "auth": self._auth(made, self.tokens[made])}
        if path == "auth/token/revoke":
            self.tokens.pop(body.get("token"), None)
            return 204, None
        if path.startswith("auth/approle/role/"):
            return self._role(method, path.split("/")[3:], body)
        return 404, {"errors": [f'no handler for route "{path}". route entry not found.']}

    def _role(self, method, words, body):
        if len(words) == 1:
            new = {"role_id": str(uuid.uuid4()), "secret_ids": set()}
            role = self.roles.setdefault(words[0], new)
            role["policies"] = [*str(body.get("token_policies", "")).split(","), "default"]
            role["ttl"] = _seconds(body.get("token_ttl")) or LONG
            role["last"] = _seconds(body.get("token_max_ttl"))
            return 204, None
        role = self.roles[words[0]]
        if words[1] == "role-id":
            return 200, {**ENVELOPE, "data": {"role_id": role["role_id"]}}
        made = str(uuid.uuid4())
        role["secret_ids"].add(made)
        return 200, {**ENVELOPE, "data": {"secret_id": made, "secret_id_ttl": 0}}

    def _sys(self, method, rest, body):
        if rest == "seal":
            self.sealed = True
            return 204, None
        if rest.startswith("policies/acl/"):
            rules = re.findall(r'path\s+"([^"]+)"\s*\{[^}]*?\[([^\]]*)\]', body["policy"])
            found = [(path, set(re.findall(r'"(\w+)"', words))) for path, words in rules]
            self.policies[rest.rpartition("/")[2]] = found
            return 204, None
        if rest.startswith("quotas/rate-limit/"):
            if method == "DELETE":
                self.quotas.clear()
            else:
                self.quotas[body["path"]] = body["rate"]
            return 204, None
        return 404, {"errors": [f'no handler for route "sys/{rest}". route entry not found.']}

    def _mounts(self, method, path, root, known):
        if method != "GET":
            return 405, {"errors": ["unsupported operation"]}
        mount = path.removeprefix("sys/internal/ui/mounts/").partition("/")[0]
        below = root or any(
            where.startswith(f"{mount}/")
            for name in known["policies"]
            for where, _ in self.policies.get(name, ())
        )
        if not (below and self.may and self.may_look_at_mounts and mount in ("secret", "old")):
            return 403, {"errors": ["preflight capability check returned 403, please ensure ..."]}
        options = {"version": "2"} if mount == "secret" else {"version": "1"}
        return 200, {**ENVELOPE, "data": {"type": "kv", "path": f"{mount}/", "options": options}}

    # --- documents ---
    def _two(self, method, rest, body):
        folder, _, path = rest.partition("/")
        if folder not in ("data", "metadata", "undelete"):
            return 404, {**ENVELOPE, "warnings": [WRONG_PATH]}
        if method == "LIST":
            return _listed(self.v2, path)
        if folder == "undelete":
            self.v2[path] = self.versions[path][1]
            return 204, None
        if folder == "metadata":
            self.v2.pop(path, None)
            self.versions.pop(path, None)
            return 204, None
        if method == "DELETE":
            if path in self.v2:
                self.versions[path] = (self._version(path), self.v2[path] or {})
                self.v2[path] = None
            return 204, None
        if method in ("POST", "PUT"):
            return self._stored(path, body)
        if path not in self.v2:
            return 404, {"errors": []}
        document = self.v2[path]
        data = {"data": document, "metadata": self._about(path)}
        return 404 if document is None else 200, {**ENVELOPE, "data": data}

    def _version(self, path):
        return self.versions.get(path, (1 if path in self.v2 else 0, None))[0]

    def _about(self, path):
        deleted = "2026-11-25T02:57:19.7Z" if self.v2.get(path) is None else ""
        return {
            "created_time": "2026-11-25T02:57:19.7Z", "custom_metadata": None, "deletion_time": deleted,
            "destroyed": False, "version": self._version(path),
        }  # fmt: skip

    def _stored(self, path, body):
        version = self._version(path)
        cas = (body.get("options") or {}).get("cas")
        if cas is not None and cas != version:
            return 400, {"errors": ["check-and-set parameter did not match the current version"]}
        self.v2[path], self.versions[path] = body["data"], (version + 1, None)
        return 200, {**ENVELOPE, "data": self._about(path)}

    def _one(self, method, rest, body):
        if method == "LIST":
            return _listed(self.v1, rest)
        if method == "DELETE":
            self.v1.pop(rest, None)
            return 204, None
        if method in ("POST", "PUT"):
            if not body:
                return 400, {"errors": ["missing data fields"]}
            self.v1[rest] = body
            return 204, None
        if rest not in self.v1:
            return 404, {"errors": []}
        return 200, {**ENVELOPE, "data": self.v1[rest], "lease_duration": LONG}


def _listed(documents, folder):
    folder = folder.rstrip("/") + "/"
    below = [path.removeprefix(folder) for path in documents if path.startswith(folder)]
    keys = sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below})
    return (200, {**ENVELOPE, "data": {"keys": keys}}) if keys else (404, {"errors": []})


def _seconds(text):
    text = str(text or 0)
    return int(text.rstrip("smh")) * {"m": 60, "h": 3600}.get(text[-1], 1)
