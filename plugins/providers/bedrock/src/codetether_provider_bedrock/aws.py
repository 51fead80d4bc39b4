"""What is AWS's own: signatures and the framing of event streams, both by botocore, loaded with the first request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from codetether_wire import Frame, WireFault

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE = "bedrock"
FRAME_LIMIT = 1 << 20


class Credentials(NamedTuple):
    """An access key as botocore's signer reads it. `token` belongs to temporary ones."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(***)"


def load(*, signer: bool) -> None:
    """Import what is needed later: the framing costs 15 ms, the signer 200 ms more, so it is done in a thread."""
    import botocore.eventstream

    if signer:
        import botocore.auth
        import botocore.awsrequest  # noqa: F401


def signature(
    method: str, url: str, body: bytes, credentials: Credentials, region: str
) -> Mapping[str, str]:
    """The headers that sign this request, good for some minutes (SigV4)."""
    import logging

    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    logging.getLogger("botocore.auth").setLevel(
        logging.WARNING
    )  # at DEBUG it writes session tokens
    request = AWSRequest(method=method, url=url, data=body)
    # Their own class of the same three fields would load all of botocore's ways to find keys.
    SigV4Auth(credentials, SERVICE, region).add_auth(request)  # type: ignore[arg-type]
    return {str(name): str(value) for name, value in request.headers.items()}


class EventStream:
    """Frames of `application/vnd.amazon.eventstream`, sums checked. Raises WireFault for broken or huge ones."""

    def __init__(self) -> None:
        from botocore.eventstream import EventStreamBuffer

        self._buffer = EventStreamBuffer()
        self._waiting = 0
        self._fault: WireFault | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completed. A fault behind good frames is raised by the next call."""
        if self._fault:
            raise self._fault
        frames: list[Frame] = []
        try:
            self._buffer.add_data(data)
            for message in self._buffer:
                headers: Any = message.headers  # a dictionary, whatever the stubs say
                frames.append(Frame(headers, message.payload))
        except Exception as exc:  # botocore's own errors, and those of struct and dict for headers that make no sense
            self._fault = WireFault.of(
                "incomplete", f"the event stream is broken: {type(exc).__name__}: {exc}", retry=True
            )
        self._waiting = 0 if frames else self._waiting + len(data)
        if self._waiting > FRAME_LIMIT and self._fault is None:
            self._fault = WireFault.of(
                "other", f"one event of the stream is larger than {FRAME_LIMIT} bytes"
            )
        if self._fault and not frames:
            raise self._fault
        return frames
