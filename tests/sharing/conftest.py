"""A hub on this machine: what is needed of its interface, over files in memory."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Hub:
    """Repositories by name, each a list of commits, and a commit its files."""

    commits: dict[str, list[dict[str, bytes]]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)  # that are announced, of some files

    def sha(self, repository: str, number: int) -> str:
        return hashlib.sha1(f"{repository} {number}".encode()).hexdigest()

    def find(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        for number, files in enumerate(self.commits.get(repository, ())):
            last = number == len(self.commits[repository]) - 1
            if revision == self.sha(repository, number) or (revision == "main" and last):
                return self.sha(repository, number), files
        return None


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *words: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.hub.requests.append(self.path)
        parts = self.path.partition("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._tell(f"{parts[2]}/{parts[3]}", parts[5] if len(parts) > 5 else "main")
        else:
            owner, name, _, revision, *file = parts
            there = self.hub.find(f"{owner}/{name}", revision)
            self._send_file(there, "/".join(file))

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        parts = self.path.strip("/").split("/")
        if parts == ["api", "repos", "create"]:
            made = json.loads(content)
            name = f"{made['organization']}/{made['name']}"
            self.hub.commits.setdefault(name, [{}])
            self._send({"url": f"https://huggingface.co/{name}"})
        elif parts[-2] == "preupload":
            files = json.loads(content)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files
            ]
            self._send({"files": modes})
        elif parts[-2] == "commit":
            self._commit(f"{parts[2]}/{parts[3]}", content)
        else:
            self._send({"errors": [], "warnings": []})

    def _commit(self, name: str, content: bytes) -> None:
        lines = [json.loads(line) for line in content.splitlines()]
        values = [line["value"] for line in lines if line["key"] == "file"]
        files = {value["path"]: base64.b64decode(value["content"]) for value in values}
        self.hub.commits[name].append({**self.hub.commits[name][-1], **files})
        sha = self.hub.sha(name, len(self.hub.commits[name]) - 1)
        self._send({"commitOid": sha, "commitUrl": f"https://huggingface.co/{name}/commit/{sha}"})

    def _tell(self, name: str, revision: str) -> None:
        there = self.hub.find(name, revision)
        if there is None:
            self._refuse("RepoNotFound" if name not in self.hub.commits else "RevisionNotFound")
            return
        sha, files = there
        sizes = {file: self.hub.sizes.get(file, len(content)) for file, content in files.items()}
        siblings = [{"rfilename": file, "size": size} for file, size in sizes.items()]
        self._send({"id": name, "sha": sha, "private": False, "tags": [], "siblings": siblings})

    def _send_file(self, there: tuple[str, dict[str, bytes]] | None, file: str) -> None:
        if there is None or file not in there[1]:
            self._refuse("EntryNotFound")
            return
        content = there[1][file]
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": there[0]}
        self._send(content, headers)

    def _refuse(self, code: str) -> None:
        self._send({"error": code}, {"X-Error-Code": code}, status=404)

    def _send(self, value: Any, headers: dict[str, str] | None = None, status: int = 200) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        kind = "application/octet-stream" if isinstance(value, bytes) else "application/json"
        for name, text in {"Content-Type": kind, **(headers or {})}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub, which ``huggingface_hub`` takes for its own."""
    pytest.importorskip("huggingface_hub")
    handler = type("HandlerOfOne", (Handler,), {"hub": Hub()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_made_up")
    yield handler.hub
    server.shutdown()
    server.server_close()
    thread.join()
