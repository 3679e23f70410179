"""Errors that servers report, by HTTP status or within a 200: their kind, message and advice."""

from __future__ import annotations

import codecs
import re
from typing import Any

from ..errors import ChatGLMError, IncompleteAnswerError, InvalidResponseError, ResponseError
from ..strictjson import strict_json
from . import body as bodies

MAX_MESSAGE_DEPTH = 8
"""How many levels of an error body are searched for a message; deeper ones are shown as JSON."""

_CONTEXT = r"context.(?:length|size|window)|max_model_len|exceeds max length"
CONTEXT_LENGTH = re.compile(_CONTEXT, re.I)
TOO_LONG = re.compile(rf"{_CONTEXT}|no room for an answer|too long|\"1261\"", re.I)
"""Only for HTTP errors, which concern the request; without a status, "too long" can refer to anything."""

TOKENS_THEN_LIMIT = (
    re.compile(r"request \((\d{1,12}) tokens\) exceeds the available context size \((\d{1,12})"),
    re.compile(r"input \((\d{1,12}) tokens\) is longer than the model's context length \((\d{1,12})"),
    re.compile(r"history take (\d{1,12}) tokens, which leaves no room for an answer within max_length (\d{1,12})"),
    re.compile(r"passed (\d{1,12}) input tokens.{0,90}context length is only (\d{1,12})"),
)
LIMIT_THEN_TOKENS = (
    re.compile(r"maximum context length is (\d{1,12}) tokens.{0,200}for a total of at least (\d{1,12}) tokens"),
    re.compile(r"maximum context length is (\d{1,12}) tokens.{0,200}contains at least (\d{1,12}) input tokens"),
    re.compile(r"maximum context length is (\d{1,12}) tokens\. However, you requested (\d{1,12}) tokens"),
    re.compile(r"maximum context length of (\d{1,12}) tokens\. You requested a total of (\d{1,12})"),
)
CHARACTER_LIMIT = re.compile(
    r"contains (\d{1,12}) characters "
    r"\(more than (\d{1,12}) characters.{0,60}upper bound for (\d{1,12}) input tokens"
)
"""vLLM's message for a prompt so long that it isn't tokenized."""

MAX_TOKEN_REFUSED = re.compile(
    r"max_(?:completion_|new_)?tokens\b[^.]{0,60}"
    r"(?:too large|too high|greater than|less than|at most|exceed|between)",
    re.I,
)
MAX_TOKEN_LIMITS = (
    re.compile(r"max_model_len ?= ?(\d{1,12})"),
    re.compile(r"maximum context length is (\d{1,12})"),
    re.compile(r"(?:at most|up to|less than or equal to|not exceed|between \d{1,12} and) (\d{1,12})"),
    re.compile(r"\[\d{1,12}, ?(\d{1,12})\]"),
)
SHORTEN_ADVICE = " Shorten the prompt, or start a new conversation: %chatglm_history --reset."
NO_CREDIT = re.compile(r"\"code\": ?\"?1113\b|insufficient balance|余额不足", re.I)
UNKNOWN_MODEL = re.compile(
    r"invalid model|unknown model|no such model|model[^.]{0,80}(?:does not exist|doesn't exist|not found)"
    r"|\"1211\"|模型不存在",
    re.I,
)
RATE_LIMIT = re.compile(
    r"rate.?limit|too many requests|concurrency|throttl"
    r"|并发|频率限制|(?:请求|访问|调用)频率|频率过高|限流|请求过多|访问量过大",
    re.I,
)
BAD_KEY = re.compile(
    r"(?:invalid|incorrect|wrong|missing|expired).{0,20}(?:api.?key|(?:access|auth|bearer).?token)|unauthorized|令牌|身份验证",
    re.I,
)

VENDOR_STATUS = {
    **dict.fromkeys(range(1000, 1005), 401),
    1113: 429,
    1261: 400,
    **dict.fromkeys((1302, 1303, 1304, 1305, 1308), 429),
    **dict.fromkeys((40001, 40302), 400),
    **dict.fromkeys((40101, 40102, 40103), 401),
    40301: 404,
    40303: 413,
    **dict.fromkeys((42901, 42902, 42903), 429),
}
"""Equivalent HTTP status of each code of Z.ai and BigModel (four digits) and of FastChat (five)."""

SUCCESS_CODES = (None, "", 0, "0", 200, "200", False, "success", "ok")
"""Values of ``code`` with which servers report success."""

FAILURE_WORDS = re.compile(
    r"(?<![a-z])(?:err(?:or)?s?|fail(?:ed|ure)?|exception|invalid|timeout|timed|abort\w*|cancel\w*|busy|overload\w*"
    r"|unavailable|refused|denied)(?![a-z])",
    re.I,
)
PENDING_WORDS = re.compile(r"(?<![a-z])(?:pending|processing|queued|running|in.progress|waiting)(?![a-z])", re.I)
NEGATED_FAILURE = re.compile(r"(?<![a-z])(?:no|not|without|non)[ _-]*(?:err|fail)", re.I)


def parse_error_response(status: int, headers: dict[str, str], raw: bytes, url: str) -> ResponseError:
    """Return the error for an HTTP error response: the server's message, sanitized, and our advice.

    :param raw: the first bytes of the body.
    :param url: where the request was sent, without userinfo.
    """
    kind = headers.get("content-type", "")
    text = _decode_leniently(raw, kind)
    words = find_message(_parse_json(text)) or text
    if words not in text:
        text = f"{words[:4096]}\n{text}"  # its JSON writes other than ASCII as escapes
    if bodies.is_html(words, kind):
        words = bodies.page_title(words)
    return _make_error(status, words, text, url, headers.get("retry-after"))


def make_event_error(reply: Any, url: str, *, begun: bool) -> ChatGLMError:
    """Return the error that an event of a stream reports.

    Before any text it is treated like an HTTP error with the status that its code means; after that, the answer is
    incomplete.

    :param begun: whether text of the answer has arrived.
    """
    words, text = find_message(reply) or reply, bodies.dump_json(reply)
    code = find_error_code(reply)
    status = VENDOR_STATUS.get(code or 0, code)
    known = status if status is not None and 400 <= status < 500 else None
    if known is not None and not begun:
        return _make_error(known, bodies.sanitize_line(words, 500), text, url, code=code)
    kind, advice = _classify_refusal(known, text, url) if known is not None else _classify_message(text)
    message = bodies.sanitize_line(words)
    if advice:
        message = _with_full_stop(message) + advice
    error = IncompleteAnswerError(f"The server broke off with an error: {message}", kind=kind)
    error.about_model = _is_about_model(kind, advice, message)
    return error


def raise_if_error(reply: Any, url: str) -> None:
    """Raise the error that a whole response with HTTP status 200 reports, if any."""
    if not isinstance(reply, dict) or reply.get("choices"):
        return
    status, words = _to_int(reply.get("status")), reply.get("response")
    if isinstance(status, int) and status >= 400:
        text = bodies.sanitize_line(words or find_message(reply) or reply)
        raise InvalidResponseError(f"The server reports status {status}: {text}", kind="server_error")
    if reports_failure(reply):
        message = find_message({key: value for key, value in reply.items() if key != "response"}) or words or reply
        code = find_error_code(reply)
        kind, advice = _classify_message(bodies.dump_json(reply))
        if (known := VENDOR_STATUS.get(code or 0)) is not None:
            kind, advice = _classify_refusal(known, bodies.dump_json(reply), url)
        text = bodies.sanitize_line(message)
        error = InvalidResponseError(
            f"The server reports an error: {_with_full_stop(text) + advice if advice else text}", kind=kind
        )
        error.about_model = _is_about_model(kind, advice, text)
        raise error
    if isinstance(status, str) and isinstance(words, str) and _is_failure_status(status):
        raise InvalidResponseError(
            f"The server reports status {bodies.sanitize_line(status, 80)}: {bodies.sanitize_line(words)}",
            kind="server_error",
        )


def _is_failure_status(status: str) -> bool:
    has_failed = FAILURE_WORDS.search(status) and not NEGATED_FAILURE.search(status)
    return bool(has_failed or PENDING_WORDS.search(status))


def reports_failure(reply: Any) -> bool:
    """Return whether a response, or an event of one, reports an error."""
    if not isinstance(reply, dict):
        return False
    if _is_error_value(reply.get("error")):
        return not (isinstance(reply.get("response"), str) and reply["response"].strip())
    if reply.get("choices"):
        return False
    if reply.get("success") is False:
        return True
    if isinstance(reply.get("response"), str):
        return False
    if reply.get("object") == "error" or reply.get("detail") or reply.get("error_code", 0) not in SUCCESS_CODES:
        return True
    has_message = any(isinstance(reply.get(key), str) and reply[key] for key in ("message", "msg"))
    return has_message and "code" in reply and _lower(reply["code"]) not in SUCCESS_CODES


def _is_error_value(value: Any) -> bool:
    """Return whether the value of ``error`` is an error: some servers send an empty one with each event."""
    if isinstance(value, dict):
        if "code" in value and _lower(value["code"]) in (0, "0", 200, "200", "success", "ok"):
            return False
        return any(value.values())
    return bool(value) and _lower(value) not in ("null", "none", "false")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value if isinstance(value, int | None) else str(value)


def _to_int(value: Any) -> Any:
    """Return an integer that was sent as a string as an integer; anything else unchanged."""
    digits = isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) < 9
    return int(value) if digits else value


def find_error_code(reply: Any) -> int | None:
    """Return the number of an error: an HTTP status, or a code of the vendor."""
    if not isinstance(reply, dict):
        return None
    inner = reply.get("error")
    for place in (inner, reply) if isinstance(inner, dict) else (reply,):
        for key in ("code", "error_code", "status_code", "status", "errorCode"):
            value = _to_int(place.get(key))
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None


def find_message(reply: Any, depth: int = MAX_MESSAGE_DEPTH) -> str | None:
    """Find the message in an error body, of which servers have at least ten shapes.

    :param depth: how many levels of lists and objects to search.
    """
    if isinstance(reply, str):
        return reply
    if not depth:
        return None
    if isinstance(reply, list):
        parts = [find_message(item, depth - 1) for item in reply[:5]]
        return "; ".join(part for part in parts if part) or None
    if not isinstance(reply, dict):
        return None
    for key in ("error", "detail", "message", "msg", "error_msg", "error_message", "errorMessage", "text"):
        if reply.get(key):
            message = find_message(reply[key], depth - 1)
            if message:
                loc = reply.get("loc")
                where = ".".join(str(part) for part in loc) if isinstance(loc, list) else ""
                return f"{where}: {message}" if where else message
    return None


def _make_error(
    status: int, words: str, text: str, url: str, retry_after: str | None = None, code: int | None = None
) -> ResponseError:
    kind, advice = _classify_refusal(status, text, url)
    tokens = _find_token_counts(text) if kind == "too_long" else None
    if tokens and tokens[0] > tokens[1]:
        advice = f" That is {tokens[0] - tokens[1]} tokens too many.{advice}"
    message = _with_full_stop(bodies.sanitize_line(words, 500) or "(no text)")
    error = ResponseError(f"The server answered {code or status}: {message}{advice}", kind=kind)
    error.status, error.retry_after, error.tokens = status, retry_after, tokens
    error.about_model = _is_about_model(kind, advice, message)
    return error


def _is_about_model(kind: str, advice: str, message: str) -> bool:
    return advice == MODEL_ADVICE or (kind == "bad_request" and "model" in message.lower())


def _with_full_stop(text: str) -> str:
    return text + ("" if text[-1:] in ".!?…。！？" else ".")


def _decode_leniently(raw: bytes, content_type: str) -> str:
    """Decode the first bytes of an error response, by the charset that its header or its page declares."""
    declared = bodies.CHARSET.search(content_type) or bodies.CHARSET.search(raw[:1024].decode("latin-1"))
    try:
        decoder = codecs.getincrementaldecoder(declared[1] if declared else "utf-8")(errors="replace")
        text = decoder.decode(raw)  # not ``final=True``: the bytes may end within a character
    except Exception:  # noqa: BLE001 - Python has codecs that aren't charsets, and each fails in its own way
        text = ""
    return text if isinstance(text, str) and text else raw.decode(errors="replace")


def _parse_json(text: str) -> Any:
    try:
        return strict_json(text)
    except (ValueError, RecursionError):
        return None


def _find_token_counts(text: str) -> tuple[int, int] | None:
    """Return the requested number of tokens and the limit, if the message states them."""
    head = text[:4096]
    if match := CHARACTER_LIMIT.search(head):
        characters, max_characters, limit = (int(number) for number in match.groups())
        return -(-characters * limit // max(max_characters, 1)), limit
    pairs = [(int(match[1]), int(match[2])) for pattern in TOKENS_THEN_LIMIT if (match := pattern.search(head))]
    pairs += [(int(match[2]), int(match[1])) for pattern in LIMIT_THEN_TOKENS if (match := pattern.search(head))]
    return pairs[0] if pairs else None


def _max_token_advice(head: str) -> str:
    limit_tokens = next((int(match[1]) for pattern in MAX_TOKEN_LIMITS if (match := pattern.search(head))), None)
    in_all = " in all" if re.search(r"max_model_len|context length", head) else ""
    limit = f": this model takes at most {limit_tokens} tokens{in_all}" if limit_tokens is not None else ""
    return f" Lower max_token{limit}."


def _classify_message(text: str) -> tuple[str, str]:
    """Return kind and advice for an error without a status."""
    head = text[:4096]
    if NO_CREDIT.search(head):
        return "no_money", NO_CREDIT_ADVICE
    if RATE_LIMIT.search(head):
        return "rate_limit", RATE_ADVICE
    if BAD_KEY.search(head):
        return "auth", KEY_ADVICE
    if CONTEXT_LENGTH.search(head):
        return "too_long", SHORTEN_ADVICE
    return "server_error", ""


NO_CREDIT_ADVICE = " The account has no credit left: a retry will not help."
RATE_ADVICE = " Wait a moment and ask again."
KEY_ADVICE = " Set the key with %chatglm_config api_key, or the variable CHATGLM_API_KEY."


def _classify_refusal(status: int, text: str, url: str) -> tuple[str, str]:
    """Return kind and advice for an HTTP error."""
    head = text[:4096]
    if status in (301, 302, 303, 307, 308):
        return "redirect", ""
    if status in (401, 403):
        return "auth", KEY_ADVICE
    if status in (404, 405):
        return _classify_not_found(head, url)
    if NO_CREDIT.search(head):
        return "no_money", NO_CREDIT_ADVICE
    if status in (400, 422) and MAX_TOKEN_REFUSED.search(head):
        return "bad_request", _max_token_advice(head)
    if status == 413 or (status in (400, 422) and TOO_LONG.search(head)):
        return "too_long", SHORTEN_ADVICE
    if status in (400, 422) and UNKNOWN_MODEL.search(head):
        return "not_found", MODEL_ADVICE
    if status == 429:
        return "rate_limit", RATE_ADVICE
    if status == 503 and "oading" in head:
        return "loading", " Wait until it is loaded, then ask again."
    if status >= 500:
        return "server_error", " Ask again, or look at the server's log."
    return "bad_request", " See what is sent with %chatglm --dry-run PROMPT."


MODEL_ADVICE = " Choose a model the server has: %chatglm_config model=NAME."


def _classify_not_found(head: str, url: str) -> tuple[str, str]:
    if "model" in head.lower() or UNKNOWN_MODEL.search(head):
        return "not_found", MODEL_ADVICE
    from . import dialect_of

    if dialect_of(url) == "openai":
        hint = "a server with ChatGLM's own POST / has its address end in a plain /"
    else:
        hint = "a server that speaks OpenAI's protocol has its address end in /v1, or needs dialect=openai"
    return (
        "not_found",
        f" Nothing answers at {bodies.sanitize_line(url)}: {hint} (%chatglm_config endpoint_url=...).",
    )
