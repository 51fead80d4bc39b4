"""The fake Vault and the real one behind the same few words, for suites that run against both."""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme
from openbao import ROOT, OpenBao
from vault_server import TOKEN, FakeVault
from vault_wire import raw


def jwt(name="agent"):
    """A service account's token: nobody checks the signature but the cluster, which is ours."""
    claims = {
        "iss": "kubernetes/serviceaccount", "sub": f"system:serviceaccount:default:{name}",
        "kubernetes.io/serviceaccount/namespace": "default",
        "kubernetes.io/serviceaccount/service-account.name": name,
        "kubernetes.io/serviceaccount/service-account.uid": "1",
        "kubernetes.io/serviceaccount/secret.name": f"{name}-token",
    }  # fmt: skip
    parts = ({"alg": "RS256", "typ": "JWT"}, claims, "no signature")
    return ".".join(
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts
    )


class Driver:
    """One server. `faithful` is False for what only the fake can be made to do."""

    root = ROOT
    address = ""

    def raw(self, method, path, body=None, token=None, **more):
        return raw(self.address, method, path, body, self.root if token is None else token, **more)

    def put(self, path, document, mount="secret"):
        where = f"{mount}/data/{path}" if mount == "secret" else f"{mount}/{path}"
        sent = {"data": document} if mount == "secret" else document
        assert self.raw("POST", where, sent).status in (200, 204)

    def token(self, policy="", **how):
        """A token that may do what `policy` (HCL) says."""
        self.raw(
            "PUT",
            "sys/policies/acl/narrow",
            {"policy": policy or 'path "x" {capabilities=["read"]}'},
        )
        made = self.raw("POST", "auth/token/create", {"policies": ["narrow", "default"], **how})
        return made.body["auth"]["client_token"]

    def approle(self, policy, ttl="1h", max_ttl=0):
        """The role id and secret id of a role that may do what `policy` says."""
        self.raw("PUT", "sys/policies/acl/role", {"policy": policy})
        how = {"token_policies": "role", "token_ttl": ttl, "token_max_ttl": max_ttl}
        self.raw("POST", "auth/approle/role/r", how)
        role = self.raw("GET", "auth/approle/role/r/role-id").data["role_id"]
        return role, self.raw("POST", "auth/approle/role/r/secret-id", {}).data["secret_id"]


class Fake(Driver):
    def __init__(self):
        self.server = FakeVault()
        self.address, self.root = self.server.address, TOKEN

    def kubernetes(self, policy):
        self.raw("PUT", "sys/policies/acl/pods", {"policy": policy})
        self.server.accounts["agent"] = {
            "jwt": jwt(), "policies": ["pods", "default"], "ttl": 3600, "last": None,
        }  # fmt: skip
        return "agent", jwt()

    def pass_by(self, seconds):
        """Let time pass on the server."""
        self.server.ahead += seconds

    def close(self):
        self.server.close()


class Real(Driver):
    def __init__(self, home):
        self.server = OpenBao(home)
        self.address = self.server.address
        self.raw("POST", "sys/auth/approle", {"type": "approle"})
        self.cluster = Cluster()
        self.raw("POST", "sys/auth/kubernetes", {"type": "kubernetes"})

    def kubernetes(self, policy):
        self.raw("PUT", "sys/policies/acl/pods", {"policy": policy})
        config = {"kubernetes_host": self.cluster.address, "token_reviewer_jwt": jwt("reviewer"),
                  "disable_local_ca_jwt": True, "kubernetes_ca_cert": trustme.CA().cert_pem.bytes().decode()}  # fmt: skip
        assert self.raw("POST", "auth/kubernetes/config", config).status == 204
        role = {
            "bound_service_account_names": "agent", "bound_service_account_namespaces": "default",
            "token_policies": "pods",
        }  # fmt: skip
        assert self.raw("POST", "auth/kubernetes/role/agent", role).status in (200, 204)
        return "agent", jwt()

    def pass_by(self, seconds):
        time.sleep(seconds)

    def close(self):
        self.server.close()
        self.cluster.close()


class Cluster:
    """As much of Kubernetes as Vault asks: whose token is this?"""

    def __init__(self):
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                good = asked["spec"]["token"] == jwt()
                user = {"username": "system:serviceaccount:default:agent", "uid": "1",
                        "groups": ["system:serviceaccounts"]}  # fmt: skip
                status = {"authenticated": good, "user": user if good else {}}
                data = json.dumps({**asked, "status": status}).encode()
                self.send_response(201)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
