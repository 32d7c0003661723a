"""A server for the page on this machine alone, which saves what was decided on it as edits.json in the run's folder."""

import json
import secrets
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from manyways.demonstrations import Edits
from manyways.errors import InputError, ManywaysError, WriteError
from manyways.files import write_json
from manyways.policies.modes import named
from manyways.runs.progress import SILENT, Progress
from manyways.runs.run import Run
from manyways.visual.live import Live
from manyways.visual.report import prepared

_HOST = "127.0.0.1"
_BOUNDARY = "frame"
_LARGEST = 64 * 2**20  # bytes of edits


class Server:
    """Listens on 127.0.0.1 until it is closed. Every address needs the token, which only the one who started it knows.

    Args:
        run: finished.
        port: to listen on; 0 for a free one.
        progress: receives what is said on the way.
        live: a simulator to show beside it.

    Raises:
        InputError: the port is taken, or as `page`.
    """

    def __init__(self, run: Run, port: int = 0, progress: Progress = SILENT, live: Live | None = None) -> None:
        self.token = secrets.token_urlsafe(24)
        page = prepared(run, served=True, live=live is not None, progress=progress)
        try:
            self._http = ThreadingHTTPServer((_HOST, port), _handler(run, page, self.token, live))
            self._http.daemon_threads = True  # an onlooker of the simulator does not keep it from ending
        except OSError as error:
            raise InputError(f"cannot listen on port {port} ({error.strerror}); give another --port") from error
        self.port = int(self._http.server_address[1])
        self.address = f"http://{_HOST}:{self.port}/?token={self.token}"

    def run(self) -> None:
        """Answer until `close` is called in another thread, or the user interrupts."""
        try:
            self._http.serve_forever()
        except KeyboardInterrupt:
            return

    def close(self) -> None:
        """Stop answering."""
        self._http.shutdown()

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.server_close()


def _handler(run: Run, page: Callable[[], str], token: str, live: Live | None) -> type[BaseHTTPRequestHandler]:
    """Return what answers: the page at /; edits at /edits.json, which it writes; the simulator at /live.

    What the simulator does is at /live.json.
    """

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: an address has the token."""

        def _allowed(self) -> bool:
            given = parse_qs(urlsplit(self.path).query).get("token", [""])[0]
            # The name too, so that no other site's page reaches this one by a name of its own.
            named = self.headers.get("Host", "").partition(":")[0] in (_HOST, "localhost")
            if named and secrets.compare_digest(given.encode(), token.encode()):
                return True
            self._answer(403, "This address needs its token: open the one that manyways has printed.")
            return False

        def _answer(self, status: int, content: str | bytes, kind: str = "text/plain") -> None:
            body = content.encode() if isinstance(content, str) else content
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if not self._allowed():
                return
            if urlsplit(self.path).path == "/":
                self._answer(200, page(), "text/html")
            elif urlsplit(self.path).path == "/live" and live is not None:
                self._stream(live)
            elif urlsplit(self.path).path == "/live.json" and live is not None:
                self._answer(200, json.dumps(live.state()), "application/json")
            else:
                self._answer(404, "There is nothing here.")

        def _stream(self, live: Live) -> None:
            """Send pictures, each in the place of the one before, until the browser has seen enough."""
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            frames = live.frames(parse_qs(urlsplit(self.path).query).get("window", [""])[0])
            try:
                for frame in frames:
                    head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(frame)}\r\n\r\n"
                    self.wfile.write(head.encode() + frame + b"\r\n")
            except OSError:
                return
            finally:
                frames.close()

        def do_POST(self) -> None:
            length = self.headers.get("Content-Length", "")
            self.close_connection = True
            if not self._allowed():
                return
            place = urlsplit(self.path).path
            if place not in ("/edits.json", "/live") or not length.isdecimal() or int(length) > _LARGEST:
                self._answer(400, "There is nothing to save here.")
                return
            try:
                asked = json.loads(self.rfile.read(int(length)))
                if place == "/live":
                    if live is None:
                        raise InputError("no simulator is running; start the server with --env")
                    live.command(asked)
                    self._answer(200, json.dumps(live.state()), "application/json")
                    return
                edits, names = Edits.from_json(asked, "the page"), dict[int, str]()
                for code, name in edits.names.items():
                    names = named(names, code, name, code + 1)  # as training asks
                write_json(run.path / "edits.json", edits.to_json())
            except (ManywaysError, ValueError) as error:
                said = str(error) if place == "/live" else f"Not saved: {error}"
                self._answer(500 if isinstance(error, WriteError) else 400, said)
            else:
                self._answer(200, f"saved as {run.path / 'edits.json'}")

    return Handler
