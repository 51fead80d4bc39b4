"""hvac, held on a short rein. Blocking: call it in a thread. Importing this imports hvac and requests.

As it comes, hvac follows redirects with the token in hand, obeys proxies and tokens of the environment, waits per
read and not in all, and quotes bad tokens in exceptions. Here: nothing is followed, nothing is taken from the
environment, an answer has one deadline and one size, and no exception of hvac or requests leaves this module.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import hvac  # type: ignore[import-untyped]
import requests
from urllib3.exceptions import HTTPError, NameResolutionError

from codetether_secrets_vault.place import UNIX
from codetether_secrets_vault.trouble import Trouble

AT_SOCKET = "http://localhost"
LARGEST = 1_048_576


class Answer(NamedTuple):
    """A status, and the JSON object that came with it (None: something else came)."""

    status: int
    body: dict[str, Any] | None

    @property
    def data(self) -> Any:
        """The envelope's `data`."""
        return (self.body or {}).get("data")

    @property
    def errors(self) -> str:
        """Vault's error texts, joined."""
        errors = (self.body or {}).get("errors")
        return "; ".join(map(str, errors)) if isinstance(errors, list) else ""


class _Session(requests.Session):
    """A session that reads the whole answer itself, against the clock."""

    def __init__(self, verify: str | bool, seconds: float) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = verify  # hvac prefers a session's own value to the one it is given
        self.seconds = seconds

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        end = time.monotonic() + self.seconds
        kwargs.update(stream=True, allow_redirects=False)
        response = super().request(*args, **kwargs)
        try:
            vars(response).update(_content=_read(response, end), _content_consumed=True)
        finally:
            response.close()
        return response


def _read(response: requests.Response, end: float) -> bytes:
    data = bytearray()
    while chunk := response.raw.read1(65536, decode_content=True):
        data += chunk
        if time.monotonic() > end:
            raise requests.exceptions.ReadTimeout
        if len(data) > LARGEST:
            raise requests.exceptions.ContentDecodingError
    return bytes(data)


class Client:
    """One address with one token. `verify`: True, or a file of authorities. `seconds`: for one whole answer."""

    def __init__(
        self,
        address: str,
        token: str,
        namespace: str,
        verify: str | bool,
        seconds: float,
        *,
        session: requests.Session | None = None,
    ) -> None:
        self.address = address
        self.token = token
        self.seconds = seconds
        self._rest = (namespace, verify, seconds)
        self._session = session or _session(address, verify, seconds)
        self._hvac = hvac.Client(
            url=AT_SOCKET if address.startswith(UNIX) else address,
            token=token,  # "" is no token; None would make hvac look for one by itself
            namespace=namespace or None,
            verify=verify,
            timeout=seconds,
            allow_redirects=False,
            session=self._session,
        )

    def with_token(self, token: str) -> Client:
        """The same connections, another token."""
        if token == self.token:
            return self
        return Client(self.address, token, *self._rest, session=self._session)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """One request. Raises Trouble for everything that is not an answer of a Vault."""
        sent = {} if body is None else {"json": body}
        try:
            got = self._hvac.adapter.request(method, f"/v1/{path}", raise_exception=False, **sent)
        except Exception as error:
            # nothing of the error is kept: it may quote the token, and its traceback holds it
            raise Trouble(_kind(error), self.address, more=f"{self.seconds:g}") from None
        if isinstance(got, dict):
            return Answer(200, got)
        if not isinstance(got, requests.Response):
            raise Trouble("not_vault", self.address, more=" (its JSON is no object)")
        return self._told(got)

    def _told(self, response: requests.Response) -> Answer:
        status = response.status_code
        if 300 <= status < 400:
            raise Trouble("redirect", self.address, more=f" (status {status})")
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            if not response.content and (status == 204 or 400 <= status < 500):
                return Answer(status, {})
            raise Trouble("not_vault", self.address, more=f" (status {status}, no JSON)")
        return Answer(status, body)

    def close(self) -> None:
        """Give back the connections."""
        self._session.close()


def _session(address: str, verify: str | bool, seconds: float) -> requests.Session:
    session = _Session(verify, seconds)
    if address.startswith(UNIX):
        from codetether_secrets_vault.sockets import SocketAdapter

        session.mount(AT_SOCKET, SocketAdapter(address.removeprefix(UNIX)))
    return session


def _kind(error: Exception) -> str:
    known = requests.exceptions
    if isinstance(error, known.SSLError) or (
        isinstance(error, OSError) and "CA certificate" in str(error)
    ):
        return "tls"
    if isinstance(error, known.Timeout):
        return "timeout"
    if isinstance(error, known.ConnectionError):
        return _connection(error)
    if isinstance(error, known.InvalidHeader | UnicodeError):
        return "token_form"
    if isinstance(error, known.InvalidURL | known.MissingSchema | known.InvalidSchema):
        return "address"
    return (
        "broken"
        if isinstance(error, requests.RequestException | HTTPError | OSError)
        else "not_vault"
    )


def _connection(error: Exception) -> str:
    """Refused, unknown name, or a connection that broke after it stood."""
    reason: Any = error.args[0] if error.args else None
    reason = getattr(reason, "reason", reason)
    if isinstance(reason, NameResolutionError):
        return "unresolved"
    text = type(reason).__name__
    return (
        "refused"
        if text in ("NewConnectionError", "ConnectTimeoutError", "MaxRetryError")
        else "broken"
    )
