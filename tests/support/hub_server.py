"""A stand-in for the Hugging Face hub on this machine: it keeps what huggingface_hub sends, and gives it back."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_right"
SHA = "0" * 39 + "1"


@dataclass
class Hub:
    """What it holds.

    Attributes:
        url: its address.
        repos: `models/owner/name` -> its files; `datasets/...` likewise.
        private: the repositories that are private.
        requests: method and path of all that was asked.
        objects: SHA-256 -> content of large files.
        refuse: path -> status that it answers with.
    """

    url: str = ""
    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    requests: list[str] = field(default_factory=list)
    objects: dict[str, bytes] = field(default_factory=dict)
    refuse: dict[str, int] = field(default_factory=dict)


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, cache: str, token: str | None = TOKEN) -> Iterator[Hub]:
    """A hub to which huggingface_hub goes in this process, with its cache in a folder of its own."""
    from huggingface_hub import close_session, constants

    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # a protocol of its own, to other servers
    monkeypatch.setattr(constants, "HF_HUB_CACHE", cache)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", f"{cache}/token")
    monkeypatch.setattr(constants, "HF_STORED_TOKENS_PATH", f"{cache}/tokens")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    close_session()  # which may be one that goes nowhere
    try:
        yield hub
    finally:
        close_session()
        server.shutdown()
        server.server_close()
        thread.join()


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: Any = b"", **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def handle_any(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.hub.requests.append(f"{self.command} {path}")
        if path in self.hub.refuse:
            self.answer(self.hub.refuse[path], {"error": "not today"})
        elif not path.startswith("/lfs/") and self.headers.get("Authorization") not in (None, f"Bearer {TOKEN}"):
            self.answer(401, {"error": "Invalid credentials in Authorization header"})
        else:
            self.serve(path, body)

    do_GET = do_POST = do_PUT = do_HEAD = handle_any  # noqa: N815 - the names that http.server asks for

    def serve(self, path: str, body: bytes) -> None:
        match [self.command, *path.strip("/").split("/")]:
            case ["GET", "api", "whoami-v2"]:
                self.answer(200, {"name": "owner", "type": "user", "orgs": []})
            case ["POST", "api", "validate-yaml"]:
                self.answer(200, {"errors": [], "warnings": []})
            case ["POST", "api", "repos", "create"]:
                self.create(json.loads(body))
            case ["PUT", "lfs", oid]:
                self.hub.objects[oid] = body
                self.answer(200)
            case ["POST", _, _, "info", "lfs", "objects", "batch"]:
                self.batch(json.loads(body))
            case ["GET", "api", kind, owner, name, *rest]:
                self.info(f"{kind}/{owner}/{name}", rest)
            case ["POST", "api", _, _, _, "preupload", _]:
                self.modes(json.loads(body))
            case ["POST", "api", kind, owner, name, "commit", _]:
                self.commit(f"{kind}/{owner}/{name}", body)
            case ["GET" | "HEAD", owner, name, "resolve", _, *file]:
                self.file(f"models/{owner}/{name}", "/".join(file))
            case _:
                self.answer(404, {"error": f"nobody asks for {path}"})

    def modes(self, asked: dict[str, Any]) -> None:
        kinds = {True: "lfs", False: "regular"}
        files = [
            {"path": file["path"], "uploadMode": kinds[file["path"].endswith(".safetensors")], "shouldIgnore": False}
            for file in asked["files"]
        ]
        self.answer(200, {"files": files})

    def create(self, asked: dict[str, Any]) -> None:
        repo = f"models/{asked['organization']}/{asked['name']}"
        self.hub.repos[repo] = {".gitattributes": b""}
        if asked.get("visibility") == "private" or asked.get("private"):
            self.hub.private.add(repo)
        self.answer(200, {"url": f"{self.hub.url}/{repo.removeprefix('models/')}"})

    def batch(self, asked: dict[str, Any]) -> None:
        found = [
            {**entry, "actions": {"upload": {"href": f"{self.hub.url}/lfs/{entry['oid']}"}}}
            for entry in asked["objects"]
        ]
        self.answer(200, {"objects": found, "transfer": "basic"})

    def commit(self, repo: str, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.hub.repos[repo][value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.hub.repos[repo][value["path"]] = self.hub.objects[value["oid"]]
        self.answer(200, {"commitUrl": f"{self.hub.url}/{repo.partition('/')[2]}/commit/{SHA}", "commitOid": SHA})

    def info(self, repo: str, rest: list[str]) -> None:
        files = self.hub.repos.get(repo)
        if files is None:
            self.answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        elif rest[:1] == ["tree"]:
            entries = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in files.items()]
            self.answer(200, entries)
        else:
            siblings = [{"rfilename": name} for name in files]
            known = {"id": repo.partition("/")[2], "sha": SHA, "private": repo in self.hub.private}
            self.answer(200, {**known, "siblings": siblings})

    def file(self, repo: str, name: str) -> None:
        content = self.hub.repos.get(repo, {}).get(name)
        if content is None:
            self.answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
        else:
            self.answer(200, content, ETag=f'"{hashlib.sha256(content).hexdigest()}"', X_Repo_Commit=SHA)
