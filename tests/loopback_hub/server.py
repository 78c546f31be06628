"""The sockets: two small HTTP/1.1 servers over one state, with faults, a record, and a clean end."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import traceback
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any, Literal

from . import files, pushing, reading
from .faults import Answer, DropDownload, DropUpload, Fault, Faults, HangUp, Hold, LoseAnswer
from .state import Route, State
from .wire import Refusal, Request, Response, decoded

Place = Literal["hub", "storage"]

MAX_BODY = 64 * 1024 * 1024
IDLE_SECONDS = 60.0
ROUTES: dict[Place, tuple[Route, ...]] = {
    "hub": (*files.ROUTES, *pushing.ROUTES, *reading.ROUTES),
    "storage": files.STORAGE_ROUTES,
}


@dataclass
class Seen:
    """One request that came in.

    Args:
        place: `"hub"` or `"storage"`.
        request: The request; its body is cut short where a fault dropped it.
        known: Whether a route answers it; a client that asks for anything else has learned something new.
        status: Of the answer; `None` where the connection ended without one.
    """

    place: Place
    request: Request
    known: bool
    status: int | None = None


class Served:
    """What the two servers share: the state, its lock, the faults, and the record."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.faults = Faults()
        self.record: list[Seen] = []
        self.crashes: list[str] = []
        self.lock = threading.RLock()

    def note(self, place: Place, request: Request) -> Seen:
        """Write a request into the record."""
        known = any(route.match(request) for route in ROUTES[place])
        seen = Seen(place, request, known)
        with self.lock:
            self.record.append(seen)
        return seen

    def answer(self, place: Place, request: Request) -> Response:
        """The right answer to a request; one request at a time."""
        with self.lock:
            try:
                for route in ROUTES[place]:
                    if found := route.match(request):
                        return route.endpoint(self.state, request, **decoded(found.groupdict()))
                raise Refusal(404, f"No such endpoint: {request.method} {request.path}")
            except Refusal as refusal:
                return refusal.response
            except Exception:
                # A fault of this server, not of the client: the fixture fails the test that met it.
                self.crashes.append(traceback.format_exc())
                return Response.json({"error": "The loopback Hub crashed"}, 500)


class Server(ThreadingHTTPServer):
    """One port. Its threads end with the process, and with `stop` at the latest."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, place: Place, served: Served) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.place = place
        self.served = served
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        """The address, with the port that the system chose."""
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        """Serve in the background."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more connections and end those that are open."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        with self.served.lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, and serve it in its own thread."""
        with self.served.lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection, and end it."""
        with self.served.lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep an error of this server; a client that went away in the middle is none."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            self.served.crashes.append(traceback.format_exc())


class Handler(BaseHTTPRequestHandler):
    """One connection, with any number of requests, one after the other."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    server: Server

    def do_GET(self) -> None:
        """Serve one request of any method."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers)
        served = self.server.served
        fault = served.faults.take(request)
        if fault is not None and isinstance(fault.action, DropUpload):
            served.note(self.server.place, request)
            self.rfile.read(min(fault.action.after, int(headers.get("content-length", 0))))
            self.close_connection = True
            return
        request = Request(self.command, self.path, headers, read_body(self.rfile, headers))
        seen = served.note(self.server.place, request)
        self._answer(request, seen, fault)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing: the record holds every request."""

    def _answer(self, request: Request, seen: Seen, fault: Fault | None) -> None:
        match fault.action if fault else None:
            case HangUp():
                self.close_connection = True
                return
            case Answer(response):
                self._send(response, seen)
                return
            case Hold(seconds) if fault is not None:
                fault.wait(seconds)
        response = self.server.served.answer(self.server.place, request)
        match fault.action if fault else None:
            case LoseAnswer():
                self.close_connection = True
            case DropDownload(after):
                self._send(response, seen, after)
                self.close_connection = True
            case _:
                self._send(response, seen)

    def _send(self, response: Response, seen: Seen, after: int | None = None) -> None:
        seen.status = response.status
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(response.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body[:after])


def read_body(stream: BufferedIOBase, headers: dict[str, str]) -> bytes:
    """The body of a request, of known length or in chunks.

    Raises:
        ConnectionError: It is larger than `MAX_BODY`, or ends too early.
    """
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return _read(stream, int(headers.get("content-length", 0)))
    body = b""
    while size := int(stream.readline().split(b";")[0] or b"0", 16):
        body += _read(stream, size, len(body))
        stream.readline()
    stream.readline()
    return body


def _read(stream: BufferedIOBase, size: int, before: int = 0) -> bytes:
    if before + size > MAX_BODY:
        raise ConnectionError(f"A body of more than {MAX_BODY} bytes is not taken, got {before + size}.")
    data = stream.read(size)
    if len(data) < size:
        raise ConnectionError("The client ended the connection in the middle of a body.")
    return data
