"""A hub on this machine: repositories with revisions, and private ones, to be read and to be written to."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

FIRST = "main"


@dataclass
class Hub:
    """Repositories by id: their revisions as folders, and the token that a private one asks for.

    `requests` has the method, the path and the token of each request.
    """

    repositories: dict[str, dict[str, Path]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""
    uploads: Path = Path()

    def add(self, repository: str, revision: str, folder: Path, token: str | None = None) -> None:
        """Adds a revision; with a token the repository is private."""
        self.repositories.setdefault(repository, {})[revision] = folder
        if token is not None:
            self.tokens[repository] = token

    def files_of(self, repository: str) -> list[str]:
        """Returns the files of a repository that were sent, each once."""
        start = f"/{repository}/resolve/"
        found = [path for method, path, _ in self.requests if method == "GET" and path.startswith(start)]
        return sorted({path.removeprefix(start).partition("/")[2] for path in found})


def commit(repository: str, revision: str) -> str:
    """Returns the hash of a revision."""
    return hashlib.sha1(f"{repository}@{revision}".encode()).hexdigest()


@contextmanager
def run_hub(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[Hub]:
    """Runs a hub that `huggingface_hub` and transformers take for the real one, with a cache of its own."""
    hub = Hub(uploads=cache.parent / "uploads")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (HubHandler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", hub.url)
    monkeypatch.setattr("transformers.utils.hub._hf_api", None)
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class HubHandler(BaseHTTPRequestHandler):
    """Answers for one `Hub`."""

    hub: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ") or None
        self.hub.requests.append((self.command, path, token))
        parts = path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        parts = parts[2:] if is_api else parts
        repository, rest = "/".join(parts[:2]), parts[2:]
        revisions = self.hub.repositories.get(repository)
        if revisions is None or self.hub.tokens.get(repository, token) != token:
            return self.refuse(401, "RepoNotFound")
        given = rest[1] if len(rest) > 1 else FIRST
        revision = next((one for one in revisions if given in (one, commit(repository, one))), None)
        if revision is None:
            return self.refuse(404, "RevisionNotFound")
        folder, sha = revisions[revision], commit(repository, revision)
        files = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
        if not is_api:
            return self.send_repository_file(folder, "/".join(rest[2:]), sha)
        if rest[:1] == ["tree"]:
            below = "/".join(rest[2:])
            files = [one for one in files if one.startswith(f"{below}/" if below else "")]
            tree = [
                {"type": "file", "path": one, "size": (folder / one).stat().st_size, "oid": blob(folder / one)}
                for one in files
            ]
            return self.send(json.dumps(tree).encode()) if files else self.refuse(404, "EntryNotFound")
        info = {"id": repository, "sha": sha, "private": False, "siblings": [{"rfilename": one} for one in files]}
        return self.send(json.dumps(info | {"tags": [], "downloads": 0, "likes": 0}).encode())

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts == ["api", "repos", "create"]:
            asked = json.loads(content)
            repository = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.hub.add(repository, FIRST, self.hub.uploads / repository)
            return self.send(json.dumps({"url": f"{self.hub.url}/{repository}"}).encode())
        if parts[4:5] == ["preupload"]:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(content)["files"]
            ]
            return self.send(json.dumps({"files": files}).encode())
        if parts[4:5] == ["commit"]:
            repository = "/".join(parts[2:4])
            for line in map(json.loads, content.splitlines()):
                if line["key"] == "file":
                    path = self.hub.repositories[repository][FIRST] / line["value"]["path"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(base64.b64decode(line["value"]["content"]))
            sha = commit(repository, FIRST)
            answer = {"commitUrl": f"{self.hub.url}/{repository}/commit/{sha}", "commitOid": sha, "hookOutput": ""}
            return self.send(json.dumps(answer).encode())
        return self.send(b"{}")  # the card is not looked at

    def send_repository_file(self, folder: Path, name: str, sha: str) -> None:
        if not (folder / name).is_file():
            return self.refuse(404, "EntryNotFound", {"X-Repo-Commit": sha})
        return self.send((folder / name).read_bytes(), {"X-Repo-Commit": sha, "ETag": f'"{blob(folder / name)}"'})

    def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self.send(b"", {"X-Error-Code": code, **(headers or {})}, status)

    def send(self, content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Stay silent."""


def blob(path: Path) -> str:
    """Returns the hash of a file, as git has it."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


__all__ = ["Hub", "commit", "run_hub"]
