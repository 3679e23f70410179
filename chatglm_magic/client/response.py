"""Reading a response within limits of time and size, and the errors of HTTP statuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urljoin

from ..errors import EndpointError, IncompleteAnswerError, InvalidResponseError, ResponseError
from ..values import Delta
from ..wire import chatglm, openai
from ..wire.body import MAX_BODY_BYTES, Decompressor, sanitize_line
from ..wire.error_response import parse_error_response
from .address import redact_url
from .proxies import proxy_for
from .request import Request
from .timeouts import Deadline

MAX_HEADER_COUNT = 100
"""The same limit as in Python's ``http.client``."""

MAX_HEADER_CHARS = 65532
"""Maximum length of a header's name and value: with colon, space and line end the 64 KiB of ``http.client``."""

MAX_STREAM_BYTES = 4 * MAX_BODY_BYTES
"""Maximum size of a whole stream: 256 MiB, about 800 000 tokens in vLLM's chunks."""


class ResponseReader:
    """Decompresses a response, enforces the limits, and yields the pieces that the codec decodes."""

    def __init__(self, request: Request, deadline: Deadline, headers: Iterable[tuple[str, str]]) -> None:
        pairs = list(headers)
        longest = max((len(name) + len(value) for name, value in pairs), default=0)
        if len(pairs) > MAX_HEADER_COUNT or longest >= MAX_HEADER_CHARS:
            raise EndpointError(
                f"The server sent more than {MAX_HEADER_COUNT} headers, or one above 64 KiB. "
                "Check its address and port.",
                kind="protocol",
            )
        by_name = lower_names(pairs)
        deadline.answered, deadline.sending = True, False
        self._deadline = deadline
        self._inflate = Decompressor(by_name.get("content-encoding", ""))
        self._plain = not self._inflate.is_compressed
        url, several = redact_url(request.url), request.body.get("n", 1) != 1
        self._reader = (
            openai.OpenAIReader(by_name, url, several=several)
            if request.dialect == "openai"
            else chatglm.ChatGLMReader(by_name, url)
        )
        self._streams = "text/event-stream" in by_name.get("content-type", "").lower()
        self._size = 0

    @property
    def done(self) -> bool:
        """Whether the answer has been marked as complete."""
        return bool(self._reader.done)

    @property
    def begun(self) -> bool:
        """Whether text of the answer, or of its thinking, has arrived."""
        return bool(self._reader.begun)

    @property
    def is_empty_stream(self) -> bool:
        """Whether a stream was announced but no byte of it has arrived."""
        return self._streams and not self._size

    def feed(self, block: bytes) -> Iterator[Delta]:
        """Decode the next bytes; yield the pieces they complete, including those before an error.

        :raises ChatGLMError: as the codecs; ``stalled`` or ``total_timeout`` if bytes arrive but no answer.
        """
        has_content = False
        for plain in (block,) if self._plain else self._inflate.feed(block):
            self._size += len(plain)
            if self._size > MAX_STREAM_BYTES:
                raise IncompleteAnswerError(
                    f"The answer is larger than {MAX_STREAM_BYTES // 2**20} MiB; reading stopped.",
                    kind="too_large",
                )
            for delta in self._reader.feed(plain):
                has_content = True
                yield delta
        self._deadline.on_bytes(content=has_content)

    def close(self) -> Iterator[Delta]:
        """Finish the response; yield its last pieces.

        :raises ChatGLMError: if it isn't an answer, or is incomplete.
        """
        if not self.done:
            self._inflate.close()
        yield from self._reader.close()
        self._reader.check()


def is_answer(status: int) -> bool:
    """Return whether a body with this status can be an answer: any success except 204 (no content)."""
    return 200 <= status < 300 and status != 204


def is_reusable(headers: Iterable[tuple[str, str]]) -> bool:
    """Return whether a connection can carry another request after this response.

    llama.cpp's HTTP library closes it after a stream although it sends ``Keep-Alive``, but without the
    ``Connection: keep-alive`` that must accompany it (RFC 9112, appendix C.2.2). A request already on its way is
    then lost, and can't be retried: it may have run.
    """
    by_name = lower_names(headers)
    lacks_header = "keep-alive" in by_name and by_name.get("connection", "").lower() != "keep-alive"
    return not (lacks_header and "chunked" in by_name.get("transfer-encoding", "").lower())


def lower_names(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name."""
    return {name.lower(): value for name, value in headers}


def make_response_error(
    request: Request, status: int, headers: Iterable[tuple[str, str]], raw: bytes
) -> ResponseError | InvalidResponseError | EndpointError:
    """Return the error for a status that isn't an answer."""
    by_name = lower_names(headers)
    if status == 407 and (proxy := proxy_for(request.url)):
        return proxy.status_error(status, request.url)
    if status == 204:
        return InvalidResponseError("The server sent an empty answer (204). Look at its log.", kind="empty_reply")
    try:
        # The beginning of the body is enough to say what is wrong.
        raw = next(Decompressor(by_name.get("content-encoding", "")).feed(raw), b"")
    except InvalidResponseError:
        raw = b""
    error = parse_error_response(status, by_name, raw, redact_url(request.url))
    if error.kind == "redirect" and (target := by_name.get("location")):
        url = _redirect_target(request.url, target)
        error.args = (f"{error} It points to {url}: set endpoint_url to that address.",)
    return error


def _redirect_target(url: str, location: str) -> str:
    """Return the URL that a redirect points to, without parts that could contain a key."""
    try:
        return sanitize_line(redact_url(urljoin(url, location).partition(";")[0]))
    except ValueError:
        return "an address that can't be read"
