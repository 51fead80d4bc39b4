"""What can be wrong with a Vault, told apart: each in two lines, with the next step, and never with a secret in it."""

from __future__ import annotations

from codetether.api import CodetetherError

TRANSIENT = frozenset(
    {
        *("refused", "unresolved", "timeout", "broken", "sealed", "standby", "rate", "unavailable"),
        *("stopped", "sealed_private", "not_vault", "redirect", "tls"),
    }
)

# kind: what happened, what to do next. {at} is the address, {path} the path in Vault, {more} a detail.
_TEXTS = {
    "address": ("VAULT_ADDR is not an address{more}", "write it like https://vault.example.org:8200"),
    "unset": ("no Vault is configured", "run: codetether vault up; or set VAULT_ADDR and VAULT_TOKEN (docs/vault.md)"),
    "private_file": ("what `codetether vault up` wrote cannot be read: {path}", "write it again: codetether vault up"),
    "stopped": ("the private Vault does not run", "start it: codetether vault up"),
    "refused": ("nothing answers at {at}", "is Vault running, and is VAULT_ADDR right?"),
    "unresolved": ("the name of {at} is not known", "check the host in VAULT_ADDR, and your network"),
    "tls": ("no trusted TLS connection to {at}", "set VAULT_CACERT to the certificate of its authority"),
    "timeout": ("Vault at {at} did not answer within {more} s", "try again, or raise the setting timeout"),
    "broken": ("the answer from {at} broke off", "try again; a proxy in between may be at fault"),
    "not_vault": ("what answers at {at} is not a Vault{more}", "check VAULT_ADDR; a login page may be in between"),
    "redirect": ("{at} sends us elsewhere{more}; the token was not sent there", "set VAULT_ADDR to the active server"),
    "sealed": ("Vault at {at} is sealed", "unseal it: vault operator unseal"),
    "sealed_private": ("the private Vault is sealed", "see what is wrong: codetether vault status"),
    "uninitialised": ("Vault at {at} is not initialised", "initialise it: vault operator init"),
    "standby": ("Vault at {at} is a standby that is not ready", "set VAULT_ADDR to the active server, or try again"),
    "rate": ("Vault at {at} limits how often we may ask", "wait a little, then try again"),
    "unavailable": ("Vault at {at} cannot answer now (status {more})", "try again; look at the server's log"),
    "no_token": ("Vault at {at} asks for a token, and there is none", "set VAULT_TOKEN, or run `vault login`"),
    "bad_token": ("the token is not valid at {at}: wrong, expired or revoked", "run `vault login`, or renew VAULT_TOKEN"),
    "token_form": ("the token holds characters that no token has", "check VAULT_TOKEN, or the token file"),
    "login_approle": ("{at} refuses the AppRole login", "check VAULT_ROLE_ID and VAULT_SECRET_ID, or the files with them"),
    "login_kubernetes": ("{at} refuses the login of this service account", "check VAULT_ROLE, and that Vault trusts this cluster"),
    "login_private": ("the private Vault refuses our AppRole", "see what is wrong: codetether vault status"),
    "login_file": ("nothing to log in with can be read from {path}", "check that file, or the settings of the login"),
    "wrapped": ("{at} answers with a wrapped secret", "unwrap it first: vault unwrap; a wrapping token is no login"),
    "conflict": ("{path} is changed by others all the time; nothing was stored", "try again"),
    "refused_write": ("{at} refuses to store {path}: {more}", "look at the limits and settings of the engine"),
    "denied": ("the token may not do this at {path}", "allow it in the token's policy, or check VAULT_MOUNT and VAULT_SECRETS_PATH"),
    "namespace": ("{at} knows no such namespace", "check VAULT_NAMESPACE"),
    "mount": ("{at} has no secrets engine for {path}", "check VAULT_MOUNT, or: vault secrets enable -path=MOUNT kv-v2"),
    "unexpected": ("Vault at {at} refused {path} (status {more})", "look at the server's log"),
}  # fmt: skip


class Trouble(CodetetherError):
    """A diagnosis. `kind` names it; `passing` says that asking again later may help."""

    def __init__(self, kind: str, at: str = "", path: str = "", more: str = "") -> None:
        message, hint = _TEXTS[kind]
        super().__init__(message.format(at=at, path=path, more=more), hint)
        self.kind = kind
        self.passing = kind in TRANSIENT
