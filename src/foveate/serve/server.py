"""The server behind `foveate serve`: one page, and one address that takes an image, and the crop of one to look for in
it where there is one, and gives what was found.

It is meant for its own machine, and for a network only where its user says so. What it guards against:

- Files of the host: no address is a path, and no name that a client gives is used. There are two answers, the page and
  what was found; an uploaded image lies in a temporary file while it is attended to.
- Other pages in the same browser: requests must name the host that is served (no rebinding of names), an upload must
  come from the page itself (`Origin`), and the answers may neither be framed nor fetch anything.
- Large images: a body above `LARGEST` bytes is refused before it is read, one above the limit of pixels before it is
  decoded. One image is attended at a time.
- Slow or silent clients: a connection has `PATIENCE` seconds to say all that it wants to, and there are at most `MOST`.
"""

import base64
import hashlib
import json
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from foveate import __version__
from foveate.errors import FoveateError, one_line
from foveate.runtime import signals
from foveate.storage.files import strict

LARGEST = 64 * 2**20
PATIENCE = 30.0
MOST = 32
LIKE = "Foveate-Like"  # header: how many of the last bytes are a crop of the one that is looked for
HOSTS = ("localhost", "127.0.0.1", "[::1]")

Answer = Callable[[bytes, bytes], dict[str, Any]]
"""From the bytes of an image file, and those of a crop of the one that is looked for (empty: of any), to what the page
shows of it; raises FoveateError for what is no image."""


class Server(ThreadingHTTPServer):
    """Serves the page and `answer` on a host and port; port 0 is any that is free."""

    daemon_threads = True
    request_queue_size = MOST

    def __init__(self, answer: Answer, facts: dict[str, Any], host: str = "127.0.0.1", port: int = 0):
        self.answer, self.page = answer, _page(facts)
        self._seats, self._one = threading.BoundedSemaphore(MOST), threading.Lock()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), Handler)
        named = f"[{host}]" if ":" in host else host
        wide = host in ("0.0.0.0", "::")  # then its names are not known, and any is taken
        self.names = None if wide else {f"{name}:{self.server_port}" for name in {*HOSTS, named}}
        self.url = f"http://{named}:{self.server_port}/"

    def attended(self, image: bytes, like: bytes) -> dict[str, Any]:
        """One image after the other: each takes all cores."""
        with self._one:
            return self.answer(image, like)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, if there is a seat."""
        if not self._seats.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves it and gives the seat back."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._seats.release()

    def service_actions(self) -> None:
        """Twice a second: whether the process was asked to stop."""
        signals.check()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of ours."""


class Handler(BaseHTTPRequestHandler):
    """One request per connection, which has `PATIENCE` seconds to arrive."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "foveate", ""
    timeout = PATIENCE

    def setup(self) -> None:
        """Starts the clock: a client that sends a byte now and then is cut off like one that sends none."""
        super().setup()
        self._clock = threading.Timer(PATIENCE, self._cut)
        self._clock.daemon = True
        self._clock.start()

    def finish(self) -> None:
        """Stops the clock."""
        self._clock.cancel()
        super().finish()

    def _cut(self) -> None:
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has gone already

    def do_GET(self) -> None:
        """The page."""
        if not self._is_ours():
            return
        if self.path != "/":
            self._refuse(HTTPStatus.NOT_FOUND, "no such page")
        else:
            body, script = self.server.page
            policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{script}'; "
            policy += "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            self._send(HTTPStatus.OK, body, "text/html; charset=utf-8", policy)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """An image to attend to."""
        if not self._is_ours():
            return
        origin = self.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != self.headers.get("Host"):
            return self._refuse(HTTPStatus.FORBIDDEN, "images are taken from this page only")
        if self.path != "/attend":
            return self._refuse(HTTPStatus.NOT_FOUND, "no such page")
        length, like = (_count(self.headers.get(name, none)) for name, none in (("Content-Length", ""), (LIKE, "0")))
        if length is None or like is None or like > length:
            return self._refuse(HTTPStatus.LENGTH_REQUIRED, "an image comes with its length")
        if length > LARGEST:
            limit = f"the limit is {LARGEST // 2**20} MiB"
            return self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the image is too large: {limit}")
        content = self.rfile.read(length)
        if len(content) < length:
            return self._refuse(HTTPStatus.BAD_REQUEST, "the image has not come whole")
        self._clock.cancel()
        try:
            told = self.server.attended(content[: length - like], content[length - like :])
        except FoveateError as error:
            return self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, one_line(error))
        self._send(HTTPStatus.OK, json.dumps(strict(told)).encode(), "application/json")

    def _is_ours(self) -> bool:
        names = self.server.names
        if names is None or self.headers.get("Host") in names:
            return True
        self._refuse(HTTPStatus.MISDIRECTED_REQUEST, "another host was asked for")
        return False

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send(status, json.dumps({"error": why}).encode(), "application/json")

    def _send(self, status: HTTPStatus, body: bytes, kind: str, policy: str = "default-src 'none'") -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), "Content-Security-Policy": policy}
        fixed = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"}
        for name, value in {**headers, **fixed, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the standard library refuses (methods, long lines), without repeating what was sent."""
        self._refuse(HTTPStatus(code), HTTPStatus(code).phrase.lower())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what a client sends doesn't reach the terminal."""


def _count(told: str) -> int | None:
    """A number of bytes; None for what is none."""
    return int(told) if told.isascii() and told.isdecimal() and len(told) < 12 else None


def _page(facts: dict[str, Any]) -> tuple[bytes, str]:
    """The page, and the hash of its script for the content policy; the facts lie in it as JSON that is no markup."""
    text = (files("foveate.serve") / "page.html").read_text(encoding="utf-8")
    script = text.split("<script>")[1].split("</script>")[0]
    told = json.dumps(strict({**facts, "version": __version__})).replace("<", "\\u003c")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return text.replace("FACTS", told, 1).encode(), f"sha256-{digest}"
