"""A notebook's page without a browser: runs cells, keeps what the widgets show, clicks and types."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import zmq

from . import packages
from .kernels import Kernel, Ran
from .transcripts import TranscriptState, action
from .visible import strip_markup

VIEW = "application/vnd.jupyter.widget-view+json"
HTML = ("HTMLModel", "HTMLMathModel")

T = TypeVar("T")


@dataclass
class Heard:
    """A message of the kernel's: when it came, its bytes on the wire, and what it says."""

    at: float
    size: int
    message: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.message["msg_type"])


@dataclass
class Widget:
    """What a page knows of one widget: its state, and each change of it that the kernel sent."""

    id: str
    state: dict[str, Any]
    open: bool = True
    changes: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    transcript: TranscriptState | None = None
    messages: dict[str, Widget] = field(default_factory=dict)
    """What stands in a transcript, each message as a widget of HTML."""

    def __post_init__(self) -> None:
        if "messages" in self.state:
            self.transcript = TranscriptState(self.state)
            self._show([message["id"] for message in self.transcript.messages])

    def take(self, content: dict[str, Any]) -> None:
        """Take in what the kernel sends beside the state."""
        if self.transcript is not None:
            self._show(self.transcript.take(content))
            self.messages = {message["id"]: self.messages[message["id"]] for message in self.transcript.messages}

    def _show(self, ids: Sequence[str]) -> None:
        assert self.transcript is not None
        for id in ids:
            shown = self.messages.setdefault(id, Widget(id, {"_model_name": "HTMLModel"}))
            shown.state["value"] = self.transcript.text_of(id)
            shown.changes.append((time.monotonic(), {"value": shown.state["value"]}))

    @property
    def kind(self) -> str:
        return str(self.state.get("_model_name", ""))

    @property
    def text(self) -> str:
        """What a reader sees of it."""
        value = self.state.get("value", "")
        if not isinstance(value, str):
            return ""
        return strip_markup(value) if self.kind in HTML else value


class Page(Kernel):
    """One kernel with one page open on it.

    The kernel is of a ``version`` that :data:`.older.KERNELS` names, and keeps its turns in ``home``, in a
    file that is there already: no cell says where it is.
    ``first`` are folders whose packages take the place of the installed ones.
    All messages are read in a thread of their own, as a browser would. Comm messages go to a subshell where the
    kernel has them, as JupyterLab sends them, unless ``subshells`` is false.
    """

    def __init__(
        self,
        home: Path,
        version: str = "installed",
        *,
        subshells: bool = True,
        first: Sequence[Path] = (),
        **more: str,
    ) -> None:
        home.mkdir(parents=True, exist_ok=True)
        (home / "history.sqlite").touch(mode=0o600)
        wanted = packages.KERNELS[version]
        folders = [packages.install(wanted)] if wanted else []
        super().__init__(PYTHONPATH=packages.python_path(*first, *folders), CHATGLM_MAGIC_HOME=str(home), **more)
        self.version, self.home = version, home
        self.heard: list[Heard] = []
        self._of: dict[str, list[dict[str, Any]]] = {}
        self._replies: dict[str, dict[str, Any]] = {}
        self._idle: dict[str, float] = {}
        self._sent_at = 0
        self.widgets: dict[str, Widget] = {}
        self._subshells = subshells
        self._subshell: str | None = None
        self._news = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def __enter__(self) -> Page:
        """Load the extension, and have a subshell made for comm messages where the kernel has them."""
        try:
            self._load()
        except BaseException:  # the thread must be gone before anything closes its socket
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended = True
        self._thread.join()
        super().__exit__(*exc)

    def ready_again(self, seconds: float = 60.0) -> None:
        """Wait until a restarted kernel answers, and load the extension into it.

        The client's own ``wait_for_ready`` reads the socket that the thread reads, and a ZeroMQ socket of two
        threads aborts the process.
        """
        end, asked = time.monotonic() + seconds, list[str]()
        while not any(message_id in self._idle for message_id in asked):  # heard on iopub: that is connected too
            assert time.monotonic() < end, f"the kernel does not answer within {seconds} s"
            asked.append(self.client.kernel_info())  # the one before may have gone to the kernel that ended
            with suppress(AssertionError):
                self.done(asked[-1], 1.0)
        self._subshell = None
        self._load()

    def send(self, code: str, cell_id: str | None = None, **options: Any) -> str:
        """Start a cell; return its message's id."""
        self._sent_at = len(self.heard)
        return super().send(code, cell_id, **options)

    @property
    def has_subshell(self) -> bool:
        """Whether comm messages go to a subshell."""
        return self._subshell is not None

    def run_in_subshell(self, code: str) -> Ran:
        """Run code in the subshell that comm messages go to, also while a cell runs; return what it said."""
        assert self._subshell, "this kernel has no subshells"
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}}
        message = self.client.session.msg("execute_request", content | {"allow_stdin": False})
        message["header"]["subshell_id"] = self._subshell
        self.client.shell_channel.send(message)
        return self.wait(message["header"]["msg_id"])

    def wait(self, message_id: str, seconds: float = 60.0) -> Ran:
        """Wait until the kernel is idle again after a message; return what it said meanwhile."""
        end = time.monotonic() + seconds
        self.done(message_id, seconds)
        return Ran(self._of.get(message_id, []), self._reply(message_id, end - time.monotonic()))

    def until(self, kind: str, seconds: float = 30.0) -> dict[str, Any]:
        """Wait for a message of a kind since the last cell was sent; return its content."""

        def come() -> list[dict[str, Any]]:
            heard = (heard.message for heard in self.heard[self._sent_at :])
            return [message["content"] for message in heard if message["msg_type"] == kind]

        return self.until_true(come, seconds, of=kind)[0]

    @property
    def printed(self) -> str:
        """What has been printed since the last cell was sent, by whatever thread."""
        messages = [heard.message for heard in self.heard[self._sent_at :] if heard.kind == "stream"]
        return "".join(message["content"]["text"] for message in messages)

    def until_true(self, test: Callable[[], T], seconds: float = 30.0, of: object = "") -> T:
        """Wait until a look at what was heard gives something true; return that."""
        end = time.monotonic() + seconds
        with self._news:
            while not (found := test()):
                assert time.monotonic() < end, f"not so within {seconds} s: {of}"
                self._news.wait(0.05)
        return found

    def done(self, message_id: str, seconds: float = 30.0) -> float:
        """Wait until the kernel has dealt with a message; return when it had."""
        self.until_true(lambda: message_id in self._idle, seconds, of="the kernel is busy")
        return self._idle[message_id]

    def bytes_since(self, begin: int) -> int:
        """Return the size of all messages from the one of that number on."""
        return sum(heard.size for heard in self.heard[begin:])

    def tell(self, widget: Widget, data: dict[str, Any]) -> str:
        """Send a message to a widget's other half in the kernel; return its id."""
        message = self.client.session.msg("comm_msg", {"comm_id": widget.id, "data": data})
        if self._subshell:
            message["header"]["subshell_id"] = self._subshell
        self.client.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    def view(self, ran: Ran) -> View:
        """Return the widget that a cell shows."""
        shown = [
            content["data"][VIEW]
            for content in ran.of("display_data", "execute_result")
            if VIEW in content["data"]
        ]
        assert shown, f"the cell shows no widget: {ran.error or ran.text or ran.displays}"
        return View(self, shown[-1]["model_id"])

    def _load(self) -> None:
        ran = self.run(
            "%load_ext chatglm_magic\nfrom chatglm_magic import get_session\nfrom tests.support import inside"
        )
        assert ran.error is None, ran.error
        known = self._reply(self.client.kernel_info(), 30)["content"].get("supported_features") or ()
        if self._subshells and "kernel subshells" in known:
            self.client.control_channel.send(self.client.session.msg("create_subshell_request", {}))
            self._subshell = self.client.get_control_msg(timeout=30)["content"]["subshell_id"]

    def _reply(self, message_id: str, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while message_id not in self._replies:
            reply = self.client.get_shell_msg(timeout=max(0.1, end - time.monotonic()))
            self._replies[reply["parent_header"]["msg_id"]] = reply
        return self._replies[message_id]

    def _listen(self) -> None:
        session, socket = self.client.session, self.client.iopub_channel.socket
        while not self._ended:
            if not socket.poll(20, zmq.POLLIN):
                continue
            frames = socket.recv_multipart()
            size = sum(map(len, frames))
            message = session.deserialize(session.feed_identities(frames)[1])
            with self._news:
                self.heard.append(Heard(time.monotonic(), size, message))
                self._take(message)
                self._news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        content, cause = message["content"], message["parent_header"].get("msg_id", "")
        if message["msg_type"] == "status" and content["execution_state"] == "idle":
            self._idle[cause] = time.monotonic()
        else:
            self._of.setdefault(cause, []).append(message)
        if message["msg_type"] == "comm_open":
            state = content["data"].get("state", {})
            self.widgets[content["comm_id"]] = Widget(content["comm_id"], dict(state))
        widget = self.widgets.get(content.get("comm_id", ""))
        if widget is None:
            return
        if message["msg_type"] == "comm_close":
            widget.open = False
        if message["msg_type"] == "comm_msg" and content["data"].get("method") == "custom":
            widget.take(content["data"]["content"])
        if message["msg_type"] == "comm_msg" and "state" in content["data"]:
            widget.state |= content["data"]["state"]
            if content["data"]["method"] == "update":
                widget.changes.append((time.monotonic(), content["data"]["state"]))
        if message["msg_type"] == "comm_msg" and "tiles" in (content["data"].get("content") or ()):
            widget.state["tiles"] |= content["data"]["content"]["tiles"]  # as the explorer's module takes them in


class View:
    """A widget that is shown, with all that stands in it."""

    def __init__(self, page: Page, root: str) -> None:
        self.page = page
        self._root = root

    def all(self) -> list[Widget]:
        """Return every widget of it, in the order of reading."""
        return list(self._below(self._root, set()))

    def find(self, description: str, kind: str = "") -> Widget:
        """Return the one widget of this name, as ``Send``, and, where several have it, of a kind (``Button``)."""
        found = [
            widget
            for widget in self.all()
            if widget.state.get("description") == description and widget.kind.startswith(kind)
        ]
        assert len(found) == 1, f"{description}: {[widget.kind for widget in found]}"
        return found[0]

    def click(self, description: str, times: int = 1) -> str:
        """Click a button, whatever it looks like; return the last message's id."""
        sent = [
            self.page.tell(self.find(description, "Button"), {"method": "custom", "content": {"event": "click"}})
            for _ in range(times)
        ]
        return sent[-1]

    def set(self, widget: Widget, value: Any) -> str:
        """Give a widget a value, as typing or dragging does; return the message's id."""
        widget.state["value"] = value
        return self.page.tell(widget, {"method": "update", "state": {"value": value}, "buffer_paths": []})

    @property
    def talk(self) -> Widget:
        """The conversation."""
        return next(widget for widget in self.all() if widget.transcript is not None)

    @property
    def settings(self) -> Widget:
        """The panel's side bar."""
        return next(widget for widget in self.all() if "sections" in widget.state)

    def send(self, prompt: str, times: int = 1) -> str:
        """Type a prompt and press Send; return the last message's id."""
        return [self.page.tell(self.talk, action("send", text=prompt)) for _ in range(times)][-1]

    def stop(self) -> str:
        """Press Stop; return the message's id."""
        return self.page.tell(self.talk, action("stop"))

    def choose(self, name: str, value: Any) -> str:
        """Give one of a panel's settings a value; return the message's id."""
        return self.page.tell(self.settings, action("set", name, value=value))

    @property
    def busy(self) -> bool:
        """Whether an answer is under way, as far as the page shows."""
        return bool(self.talk.state["busy"])

    @property
    def text(self) -> str:
        """All that a reader sees."""
        return "\n".join([*(widget.text for widget in self.all() if widget.kind in HTML), *self._said()])

    def _said(self) -> Iterator[str]:
        """Yield what stands beside messages: under the box, under the messages, and under refused settings."""
        for widget in self.all():
            if widget.transcript is not None:
                yield widget.state["notice"].get("text", "")
                yield from (m["notice"]["text"] for m in widget.transcript.messages if m["notice"])
            yield from (error["text"] for error in widget.state.get("errors", {}).values())

    def holding(self, text: str) -> list[Widget]:
        """Return the widgets in which a reader sees a text."""
        return [widget for widget in self.all() if widget.kind in HTML and text in widget.text]

    def until_sees(self, text: str, seconds: float = 30.0) -> None:
        """Wait until a reader sees a text."""
        sees = lambda: self.holding(text) or any(text in said for said in self._said())  # noqa: E731
        self.page.until_true(sees, seconds, of=(text[:80], "not in", self.text[-2000:]))

    def until_free(self, seconds: float = 30.0) -> None:
        """Wait until no answer is under way."""
        self.page.until_true(lambda: not self.busy, seconds, of="still busy")

    def _below(self, place: str, seen: set[str]) -> Iterator[Widget]:
        widget = self.page.widgets.get(place)
        if widget is None or place in seen:
            return
        seen.add(place)
        yield widget
        yield from list(widget.messages.values())
        for child in widget.state.get("children", ()):
            yield from self._below(str(child).removeprefix("IPY_MODEL_"), seen)
