"""Where the broker is, and how one proves to it who one is. Neither is ever part of a message or of an argument list."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import msgspec
from codetether.api import CodetetherError, SecretMissing, UsageError
from msgspec import Meta

if TYPE_CHECKING:
    import ssl

    from codetether.api import Kernel

SCHEMES = {"nats": 4222, "tls": 4222}
NAME = "nats"  # of the document where secrets are kept
LARGEST_FILE = 100_000  # bytes of a file with credentials


class Place(msgspec.Struct, frozen=True):
    """Which broker, and what both sides agree on. Files with secrets must be readable by their owner only."""

    url: Annotated[
        str,
        Meta(
            description="The broker: nats://HOST:PORT or tls://HOST:PORT; several, parted by commas, of one cluster",
            extra_json_schema={"env": "CODETETHER_NATS_URL"},
        ),
    ] = "nats://127.0.0.1:4222"
    space: Annotated[
        str,
        Meta(
            description="First word of all names on the broker; teams with different ones do not meet",
            pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,31}$",
        ),
    ] = "codetether"
    creds: Annotated[str, Meta(description="File with a user's JWT and NKey seed")] = ""
    nkey: Annotated[str, Meta(description="File with an NKey seed")] = ""
    login: Annotated[str, Meta(description="File with USER:PASSWORD, or with a token alone")] = ""
    tls_ca: Annotated[str, Meta(description="File with the authorities that are believed")] = ""
    tls_cert: Annotated[str, Meta(description="File with our own certificate")] = ""
    tls_key: Annotated[str, Meta(description="File with the key of that certificate")] = ""
    plain: Annotated[
        bool,
        Meta(
            description="Allow a broker on another machine without TLS: all is readable on the way"
        ),
    ] = False
    outage: Annotated[
        float, Meta(description="Seconds that the broker may be away before work on it ends", ge=1)
    ] = 300.0
    lease: Annotated[
        float,
        Meta(
            description="Seconds after which a silent worker's sub-task goes to another; who comes first sets it",
            ge=1,
        ),
    ] = 60.0
    largest: Annotated[
        int, Meta(description="Bytes of a bundle of commits at most, either way", ge=1_000)
    ] = 512_000_000


def servers(place: Place) -> list[str]:
    """The broker's addresses. Raises UsageError for one that must not be used."""
    found = [each.strip() for each in place.url.split(",") if each.strip()]
    if not found:
        raise UsageError("where is the broker?", "--nats tls://HOST:PORT, or the setting `url`")
    return [_checked(each, place) for each in found]


def _checked(address: str, place: Place) -> str:
    try:
        url = urlsplit(address)
        port = url.port
    except ValueError:
        raise UsageError("the address of the broker cannot be read") from None
    if url.username is not None or url.password is not None:
        raise UsageError(
            "the address of the broker holds a name or a password, which others on this machine can read",
            f"use --login FILE, or keep `user` and `password` as the secret {NAME!r}",
        )
    more = url.path.strip("/") or url.query or url.fragment
    if url.scheme not in SCHEMES or not url.hostname or more:
        raise UsageError(
            "what is given is no address of a NATS server", "nats://HOST:PORT or tls://HOST:PORT"
        )  # not repeated: who knows what it holds
    if url.scheme == "nats" and not place.plain and not place.tls_ca and not _here(url.hostname):
        raise UsageError(
            f"the connection to {url.hostname}:{port or SCHEMES['nats']} would not be encrypted",
            "use tls://, or set `plain` if the network itself is private",
        )
    return url.geturl()  # its scheme in small letters


def _here(host: str) -> bool:
    import ipaddress

    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def wants_tls(place: Place) -> bool:
    """Whether nothing may be said before the connection is encrypted."""
    return bool(place.tls_ca) or any(each.startswith("tls:") for each in servers(place))


def tls_context(place: Place) -> ssl.SSLContext | None:
    """How to encrypt; None without TLS. Raises UsageError when a file cannot be used."""
    import ssl

    if not wants_tls(place):
        return None
    try:
        context = ssl.create_default_context(cafile=_file(place.tls_ca) or None)
        if place.tls_cert:
            key = _file(place.tls_key or place.tls_cert)
            _ours_alone(Path(key), os.stat(key))
            context.load_cert_chain(_file(place.tls_cert), key, password="")  # nobody is asked
    except (OSError, ValueError) as error:
        raise UsageError(f"the files for TLS cannot be used: {error}") from None
    return context


def _file(name: str) -> str:
    return os.path.expanduser(name)


async def proof(place: Place, kernel: Kernel) -> dict[str, Any]:
    """What shows the broker who we are, as the client library takes it; {} when nothing is set anywhere.

    From the file that is named, else from the document `nats` of the source of secrets: `creds` or `nkey` (the texts),
    `user` and `password`, or `token`. Every value is made known to the redactor. Raises UsageError.
    """
    named = [word for word in ("creds", "nkey", "login") if getattr(place, word)]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)} are both given", "keep one")
    if named:
        text = _secret_text(getattr(place, named[0]))
        if named[0] != "login":
            return _keyed({named[0]: text}, kernel)
        user, colon, password = text.strip().partition(":")
        return _keyed({"user": user, "password": password} if colon else {"token": user}, kernel)
    secrets = kernel.secrets()
    if secrets is None or not await secrets.configured():
        return {}
    try:
        document = await secrets.get(NAME)
    except SecretMissing:
        return {}
    return _keyed(
        {name: value for name, value in document.items() if isinstance(value, str)}, kernel
    )


def _secret_text(name: str) -> str:
    path = Path(_file(name))
    try:
        with path.open("rb") as file:
            _ours_alone(path, os.fstat(file.fileno()))
            text = file.read(LARGEST_FILE).decode()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise UsageError(f"{path} cannot be read: {why}") from None
    return text


def _ours_alone(path: Path, found: os.stat_result) -> None:
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise UsageError(f"others can read {path}", f"chmod 600 {path}")


def _keyed(found: dict[str, str], kernel: Kernel) -> dict[str, Any]:
    """As the client library takes it. The texts are given, not files, so that they are read once and by us."""
    secret = [value for name, value in found.items() if name != "user"]
    for line in [line for value in secret for line in value.splitlines()]:
        if not line.startswith("-----"):
            kernel.redact.add(line)
    if "creds" in found:
        from nats.aio.client import RawCredentials

        if "-----BEGIN" not in found["creds"]:
            raise UsageError("the credentials for NATS are not a .creds file's text")
        return {"user_credentials": RawCredentials(found["creds"])}
    if "nkey" in found:
        return {"nkeys_seed_str": found["nkey"].strip()}
    if found.get("user") and "password" in found:
        return {"user": found["user"], "password": found["password"]}
    if "token" in found:
        return {"token": found["token"]}
    raise CodetetherError(f"the secret {NAME!r} has none of creds, nkey, user and password, token")
