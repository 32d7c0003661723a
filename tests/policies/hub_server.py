"""A stand-in for the Hub on this machine: as much of its interface as uploading and downloading a small folder need."""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def _body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, value, code=200, headers=()):
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        for name, content in (("Content-Length", str(len(data))), *headers):
            self.send_header(name, content)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self):
        repos, body = self.server.repos, self._body()
        self.server.asked.append(f"POST {self.path}")
        if self.headers.get("Authorization") != "Bearer good":
            self._answer({"error": "Invalid username or password."}, 401)
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            repos.setdefault(name, {})
            self._answer({"url": f"{self.server.address}/{name}", "name": name, "id": name})
        elif self.path == "/api/validate-yaml":  # of the card
            self._answer({"errors": [], "warnings": []})
        elif found := re.fullmatch(r"/api/models/(.+)/preupload/.+", self.path):
            paths = [file["path"] for file in json.loads(body)["files"]]
            self._answer({"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    repos[found[1]][line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            address = f"{self.server.address}/{found[1]}/commit/{'a' * 40}"
            self._answer({"success": True, "commitOid": "a" * 40, "commitUrl": address})
        else:
            self._answer({"error": f"no {self.path}"}, 404)

    def do_GET(self):
        repos, path = self.server.repos, self.path.split("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        information = re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)(/revision/.+)?", path)
        tree = re.fullmatch(r"/api/(?:models|datasets)/([^/]+/[^/]+)/tree/.+", path)
        file = re.fullmatch(r"/(?:datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
        found = information or tree or file
        if not found or found[1] not in repos:
            self._answer({"error": "Repository not found"}, 404, [("X-Error-Code", "RepoNotFound")])
            return
        contents = repos[found[1]]
        if information:
            siblings = [{"rfilename": name, "size": len(data)} for name, data in contents.items()]
            self._answer({"_id": "1", "id": found[1], "sha": "a" * 40, "private": False, "siblings": siblings})
        elif tree:
            entries = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in contents.items()
            ]
            self._answer(entries)
        elif found[2] in contents:
            data = contents[found[2]]
            self._answer(data, headers=[("ETag", f'"{hashlib.sha1(data).hexdigest()}"'), ("X-Repo-Commit", "a" * 40)])
        else:
            self._answer({"error": "Entry not found"}, 404, [("X-Error-Code", "EntryNotFound")])

    do_HEAD = do_GET


@contextmanager
def serving():
    """Yield a server with `address`, `repos` (files by name) and what was `asked`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.repos, server.asked = {}, []
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
