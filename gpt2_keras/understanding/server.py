"""A page that computes what is typed and clicked, for this machine alone."""

import contextlib
import errno
import http.server
import itertools
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from gpt2_keras.json_text import parse_json
from gpt2_keras.model import GPT2Model
from gpt2_keras.understanding.exploration import Exploration
from gpt2_keras.understanding.explore import explore
from gpt2_keras.understanding.page import page_of
from gpt2_keras.understanding.page.packing import pack
from gpt2_keras.understanding.panels import with_panels
from gpt2_keras.validation import check_integer, check_list, check_text

ADDRESS = "127.0.0.1"  # this machine; a page of it is nobody else's business
_MAX_BODY = 2**20  # bytes: far more than a context of text
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class RequestError(ValueError):
    """A request that cannot be answered, with the status of HTTP that says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ExplorerServer(http.server.ThreadingHTTPServer):
    """Serves the page, and explores what it asks for, one text after the other.

    Args:
        models: The models by their names. The first is asked about attributions and ablations.
        text: The text that the page begins with; or its ids.
        port: The port; 0 for any that is free.
        **options: As for `explore`.

    Raises:
        OSError: If the port is taken.
        TypeError, ValueError: As `explore` does.
    """

    daemon_threads = True

    def __init__(
        self,
        models: dict[str, GPT2Model],
        text: str | Sequence[int],
        port: int = 0,
        **options: Any,
    ) -> None:
        check_integer("port", port, minimum=0, maximum=65535)
        self._models, self._options = models, options
        self._lock = threading.Lock()
        self._numbers, self._newest = itertools.count(), -1
        self.page = page_of(self._explore(text), live=True, text=self._text_of(text)).encode()
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            raise OSError(
                f"port {port} of {ADDRESS} cannot be used: {error.strerror}. Another program may "
                "have it, or it needs rights. Use another, or 0 for any that is free."
            ) from error

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def answer(self, path: str, request: dict[str, Any]) -> dict[str, Any]:
        """Returns the answer to a request.

        Args:
            path: `/explore`: the data of the page for `text`, or for `ids`. `/panels`: for `ids`
                the attributions of a `position`, compared with `foil` if that is given, and
                what every head does.
            request: These.

        Raises:
            RequestError: If there is no such path, something is missing, or another request comes
                while every head is asked, which takes long.
            TypeError, ValueError: If what is asked for cannot be computed.
        """
        started = time.perf_counter()
        number = self._newest = next(self._numbers)
        with self._lock:
            if path == "/explore":
                asked = self._asked(request)
                answer = {"text": self._text_of(asked), **pack(self._explore(asked))}
            elif path == "/panels":
                answer = pack([self._with_panels(request, number)])
            else:
                raise RequestError(404, f"{path} is not there. Ask for /explore or /panels.")
        return {**answer, "seconds": time.perf_counter() - started}

    def _asked(self, request: dict[str, Any]) -> str | list[int]:
        """Returns the text or the ids of a request."""
        if "ids" in request:
            return [
                check_integer(f"ids[{index}]", each)
                for index, each in enumerate(check_list("ids", request["ids"], "a list of ids"))
            ]
        if "text" not in request:
            raise RequestError(400, "The request has neither text nor ids. Give one of them.")
        # A half of a character, as JSON can write it, is none in UTF-8.
        return check_text("text", request["text"]).encode("utf-8", "replace").decode()

    def _explore(self, text: str | Sequence[int]) -> list[Exploration]:
        return [
            explore(model, text, name=name, **self._options) for name, model in self._models.items()
        ]

    def _with_panels(self, request: dict[str, Any], number: int) -> Exploration:
        name, model = next(iter(self._models.items()))
        asked = self._asked(request)
        exploration = explore(model, asked, name=name, **self._options)
        position = request.get("position", len(exploration.token_ids) - 1)

        def give_way(_done: int, _total: int) -> None:
            if self._newest != number:
                raise RequestError(409, "Another request came meanwhile. Ask again.")

        return with_panels(
            model,
            exploration,
            positions=[position],
            foil=request.get("foil"),
            on_progress=give_way,
        )

    def _text_of(self, text: str | Sequence[int]) -> str:
        """Returns the text of ids, without the start token."""
        if isinstance(text, str):
            return text
        tokenizer = next(iter(self._models.values())).tokenizer
        if tokenizer is None:
            return ""
        ids = list(text)
        return tokenizer.decode(ids[1:] if ids[:1] == [tokenizer.end_token_id] else ids)


@contextlib.contextmanager
def serving(server: ExplorerServer) -> Iterator[str]:
    """Serves in a thread while the block runs; yields the address of the page."""
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers one request."""

    server: ExplorerServer
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds without a byte from a client

    def do_GET(self) -> None:
        """Sends the page."""
        try:
            self._check_origin()
            if urlsplit(self.path).path != "/":
                raise RequestError(404, f"{self.path} is not there. The page is /.")
        except RequestError as error:
            self._send_json(error.status, {"error": str(error)})
        else:
            self._send(200, "text/html; charset=utf-8", self.server.page)

    def do_POST(self) -> None:
        """Computes what is asked for."""
        try:
            self._check_origin()
            answer = self.server.answer(urlsplit(self.path).path, self._request())
        except RequestError as error:
            self._send_json(error.status, {"error": str(error)})
        except (TypeError, ValueError) as error:
            self._send_json(400, {"error": str(error)})
        else:
            self._send_json(200, answer)

    def _check_origin(self) -> None:
        """Raises an error unless the page itself asks.

        A page of another site could have a browser ask this address, under a name of its own.
        """
        port = self.server.server_port
        ours = [f"{ADDRESS}:{port}", f"localhost:{port}"]
        if (host := self.headers.get("Host")) not in ours:
            raise RequestError(403, f"Host {host!r} is not this server. Open {self.server.url}.")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{each}" for each in ours]:
            raise RequestError(403, f"Origin {origin!r} is another site. Open {self.server.url}.")

    def _request(self) -> dict[str, Any]:
        """Returns the JSON that was sent."""
        self.close_connection = True  # until all of it is read
        kind = self.headers.get_content_type()
        if kind != "application/json":
            raise RequestError(415, f"The request is {kind}. Send application/json.")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise RequestError(411, f"Content-Length is {length!r}. Send the number of bytes.")
        if int(length) > _MAX_BODY:
            raise RequestError(
                413, f"The request has {length} bytes. At most {_MAX_BODY} are read. Shorten it."
            )
        data = self.rfile.read(int(length))
        self.close_connection = False
        try:
            request = parse_json(data.decode())
        except ValueError as error:
            raise RequestError(400, f"The request is no JSON: {error}. Send an object.") from error
        if not isinstance(request, dict):
            raise RequestError(400, f"The request is {request!r:.80}. Send an object.")
        return request

    def _send_json(self, status: int, answer: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(answer).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Says nothing."""
