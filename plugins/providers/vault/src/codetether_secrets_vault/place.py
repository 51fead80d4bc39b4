"""Which Vault is used, and how we prove who we are there: settings first, else what `codetether vault up` made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from codetether_secrets_vault.trouble import Trouble

UNIX = "unix://"


def _env(name: str, description: str) -> msgspec.Meta:
    return msgspec.Meta(description=description, extra_json_schema={"env": name})


class Settings(msgspec.Struct, frozen=True):
    """Where Vault is and where the keys are in it. A token or a secret id is never a setting."""

    address: Annotated[
        str, _env("VAULT_ADDR", "Address of the server, such as https://vault.example.org:8200")
    ] = ""
    namespace: Annotated[str, _env("VAULT_NAMESPACE", "Namespace, if the server has them")] = ""
    ca_cert: Annotated[
        str, _env("VAULT_CACERT", "File with the certificate of the server's authority")
    ] = ""
    mount: Annotated[str, _env("VAULT_MOUNT", "Where the KV engine is mounted")] = "secret"
    path: Annotated[
        str, _env("VAULT_SECRETS_PATH", "Path under the mount that holds one document per provider")
    ] = "codetether/providers"
    token_file: Annotated[
        str,
        msgspec.Meta(
            description="File with the token, when VAULT_TOKEN is not set; may change while we run"
        ),
    ] = "~/.vault-token"  # noqa: S105 - where it is, not what it is
    role_id: Annotated[str, _env("VAULT_ROLE_ID", "Role id of an AppRole to log in with")] = ""
    role_id_file: Annotated[str, msgspec.Meta(description="File with the role id")] = ""
    secret_id_file: Annotated[
        str,
        msgspec.Meta(
            description="File with the secret id of the AppRole, when VAULT_SECRET_ID is not set"
        ),
    ] = ""
    role: Annotated[
        str, _env("VAULT_ROLE", "Role to log in with as a Kubernetes service account")
    ] = ""
    service_account_file: Annotated[
        str, msgspec.Meta(description="File with the token of the Kubernetes service account")
    ] = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    auth_mount: Annotated[
        str,
        msgspec.Meta(description="Where the login method is mounted; empty: approle or kubernetes"),
    ] = ""
    timeout: Annotated[
        float, msgspec.Meta(gt=0, le=60, description="Seconds one answer may take, in all")
    ] = 5.0
    keep: Annotated[
        float,
        msgspec.Meta(ge=0, description="Seconds a key is kept in memory before it is read again"),
    ] = 900.0


class Place(msgspec.Struct, frozen=True):
    """One server, the folder of documents in it, and the way in. `private`: the one `codetether vault up` runs;
    `credentials` is then the file with the ids of its AppRole.
    """

    settings: Settings
    address: str
    mount: str
    path: str
    private: bool = False
    credentials: str = ""

    @property
    def method(self) -> Literal["token", "approle", "kubernetes"]:
        """How we log in: a token given beats a login, a login beats the token file."""
        if self.private:
            return "approle"
        if os.environ.get("VAULT_TOKEN", "").strip():
            return "token"
        if self.settings.role_id.strip() or self.settings.role_id_file.strip():
            return "approle"
        return "kubernetes" if self.settings.role.strip() else "token"

    @property
    def authority(self) -> str:
        """The file of authorities trusted, or nothing: the usual ones."""
        return os.path.expanduser(self.settings.ca_cert.strip())

    def proof(self) -> dict[str, str]:
        """What a login sends. Blocking: files are read each time, because they may be renewed. Raises Trouble."""
        if self.private:
            found = _document(self.credentials)
            return {name: str(found.get(name) or "") for name in ("role_id", "secret_id")}
        settings = self.settings
        if self.method == "kubernetes":
            return {
                "role": settings.role.strip(),
                "jwt": _first_line(settings.service_account_file),
            }
        secret_id = os.environ.get("VAULT_SECRET_ID", "").strip()
        if not secret_id and settings.secret_id_file.strip():
            secret_id = _first_line(settings.secret_id_file)
        proof = {"role_id": settings.role_id.strip() or _first_line(settings.role_id_file)}
        return proof | ({"secret_id": secret_id} if secret_id else {})


def find_place(settings: Settings, private_file: Path) -> Place | None:
    """The place the settings name, else the private one, else None. Blocking. Raises Trouble."""
    if settings.address.strip():
        return Place(settings, address(settings.address), settings.mount, settings.path)
    if not private_file.exists():
        return None
    facts = _document(str(private_file))
    try:
        where = {name: facts[name] for name in ("address", "mount", "path", "credentials")}
        return msgspec.convert({"settings": settings, **where, "private": True}, Place)
    except (KeyError, msgspec.ValidationError):
        raise Trouble("private_file", str(private_file)) from None


def address(text: str) -> str:
    """The address, checked. Raises Trouble: it never quotes what may hold a password."""
    text = text.strip().rstrip("/")
    if text.startswith(f"{UNIX}/") and text.isprintable():
        return text
    try:
        split = urlsplit(text)
        bad = split.scheme not in ("http", "https") or not split.hostname or split.port == 0
    except ValueError:
        bad = True
    if bad or not text.isprintable() or " " in text:
        raise Trouble("address")
    if "@" in split.netloc or split.query or split.fragment:
        raise Trouble("address", more=": it holds more than a server")
    return text


def _document(file: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(Path(file).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError):
        raise Trouble("private_file", file) from None


def _first_line(file: str) -> str:
    try:
        text = Path(file.strip()).expanduser().read_text("ascii").strip()
    except (OSError, UnicodeError, RuntimeError):
        text = ""
    if not text:
        raise Trouble("login_file", file)
    return text
