"""Files into and out of a session's workspace, by the session API."""

import hashlib
import http.client
import json
import os
import socket
import uuid
from urllib.parse import quote

import httpx
import pytest
from scripts import script, shell, text
from session_api import WAIT_SECONDS, items

SECRET = "not for anybody"


class Files:
    """The files of one session; a path is sent as it is written."""

    def __init__(self, server, key: str):
        self.server, self.api, self.key = server, server.api, key

    def path(self, path: str) -> str:
        return f"/api/session/{quote(self.key, safe='')}/files/{path}"

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, http.client.HTTPMessage, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=WAIT_SECONDS)
        try:
            connection.request(method, self.path(path), body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def put(self, path: str, content: bytes) -> tuple[int, dict]:
        status, _, body = self.ask("PUT", path, content)
        return status, json.loads(body)

    def get(self, path: str) -> bytes:
        status, _, body = self.ask("GET", path)
        assert status == 200, body
        return body

    def error(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str]:
        status, _, answer = self.ask(method, path, body)
        found = json.loads(answer)["error"]
        assert found["message"] and str(self.workspace.parent) not in found["message"]
        return status, found["code"]

    @property
    def session(self) -> dict:
        return self.api.show(self.key).raise_for_status().json()

    @property
    def workspace(self):
        return self.server.data / "sessions" / self.session["id"] / "workspace"


def make(server, **body) -> Files:
    key = f"api:files/ä {uuid.uuid4()}"
    server.api.create(key, **body).raise_for_status()
    return Files(server, key)


@pytest.fixture
def files(server) -> Files:
    return make(server)


@pytest.fixture
def beside(files, directory):
    """A session with a workspace, and a directory with a secret that is not in it."""
    files.put("sub/file", b"hello")
    (directory / "secret").write_text(SECRET)
    return directory


def test_what_is_put_before_the_turn_is_read_by_the_agent(server, harness):
    """Files that a user brings are there when the agent begins, and what it writes comes out, byte for byte."""
    files = make(server, harness=harness)
    assert files.error("GET", "in/data.bin") == (404, "file_not_found")
    data = bytes(range(256)) * 3000
    assert files.put("in/data.bin", data) == (201, {"path": "in/data.bin", "size": len(data)})
    assert files.get("in/data.bin") == data
    command = "sha256sum < in/data.bin; mkdir -p out && cat in/data.bin in/data.bin > out/twice.bin"
    events = files.api.run(files.key, script(shell(command), text("{{stdout}}")))
    assert events[-1]["kind"] == "execution.completed"
    assert hashlib.sha256(data).hexdigest() in items(events, "message")[-1]["text"]
    assert files.get("out/twice.bin") == data + data
    assert files.put("in/data.bin", b"") == (200, {"path": "in/data.bin", "size": 0})
    assert files.get("in/data.bin") == b""


def test_files_go_in_and_out_while_the_agent_works(files):
    """Nobody waits for the turn's end: a file that the agent waits for ends it."""
    waits = "for n in $(seq 600); do test -e go && break; sleep 0.1; done; cat go"
    files.put("began", b"")
    admitted = files.api.execute(files.key, {"text": script(shell(waits), text("{{stdout}}"))}).json()
    files.api.wait_for_kind(files.key, "item.started")
    assert files.put("go", b"gone ahead") == (201, {"path": "go", "size": 10})
    events = files.api.wait(files.key, lambda event: event["kind"].startswith("execution.c"))
    assert events[-1]["execution_id"] == admitted["execution_id"] and events[-1]["kind"] == "execution.completed"
    assert "gone ahead" in items(events, "message")[-1]["text"]


def test_a_directory_is_listed(files):
    """A directory answers with what is in it; the workspace itself too."""
    files.put("b/two.txt", b"22")
    files.put("a.txt", b"1")
    os.symlink("a.txt", files.workspace / "link")
    for path in ("", "b"):
        status, headers, body = files.ask("GET", path)
        assert status == 200 and headers["content-type"] == "application/json"
    listing = json.loads(files.get(""))
    assert (listing["path"], listing["type"], listing["has_more"]) == ("", "directory", False)
    found = [(entry["name"], entry["type"]) for entry in listing["data"]]
    assert found == [("a.txt", "file"), ("b", "directory"), ("link", "link")]
    [two] = json.loads(files.get("b"))["data"]
    assert (two["name"], two["size"]) == ("two.txt", 2) and two["modified_at"].endswith("Z")
    bare = httpx.get(f"{files.server.url}/api/session/{quote(files.key, safe='')}/files")
    assert bare.json() == listing


def test_what_comes_out_is_saved_and_never_shown(files):
    """A page that an agent wrote is not run by the browser of who opens it."""
    files.put("page.html", b"<script>alert(1)</script>")
    _, headers, _ = files.ask("GET", "page.html")
    assert headers["content-type"] == "application/octet-stream" and headers["content-disposition"] == "attachment"
    assert headers["x-content-type-options"] == "nosniff" and headers["content-length"] == "25"


def test_names_are_decoded_once(files):
    """Any name that the file system takes can be written and read, whatever it would mean in a URL."""
    for path, name in (
        ("%41", b"A"), ("a%20b", b"a b"), ("%2541", b"%41"), ("%252e%252e", b"%2e%2e"), ("%C3%A4", "ä".encode()),
        ("%FF%FE", b"\xff\xfe"), ("a+b", b"a+b"), ("...", b"..."), (".hidden", b".hidden"), ("a%3Fb%23c", b"a?b#c")):
        assert files.put(path, name)[0] == 201, path
        assert files.get(path) == name
        with open(os.path.join(os.fsencode(files.workspace), name), "rb") as file:
            assert file.read() == name


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_no_path_leads_out(files, beside, method):
    """`..`, absolute paths and bytes that no name can have are refused, however they are written."""
    files.put("sub/file", b"hello")
    for path in (
        "..", "../secret", "sub/../../x", "%2e%2e", "%2E%2e/secret", ".%2e/x", ".", "./sub/file", "sub/./file",
        "/etc/passwd", "//etc/passwd", "sub//file", "sub/", "%2Fetc%2Fpasswd", "..%2F..%2Fx", "sub%2Ffile",
        "sub/file%00.txt", "%00", "%",
        "%zz", "a" * 256, "a/" * 2100 + "a"):
        body = b"x" if method == "PUT" else None
        assert files.error(method, path, body) == (400, "file_path_invalid"), path
    assert files.get("sub/file") == b"hello" and sorted(os.listdir(files.workspace)) == ["sub"]


def test_no_link_leads_out(files, beside):
    """A link that an agent made into the machine gives nothing out and takes nothing in."""
    links = {
        "file": beside / "secret", "directory": beside, "relative": "../home", "etc": "/etc", "loop": "loop",
        "root": "/proc/self/root", "self": files.workspace / "sub"}
    command = " && ".join(f"ln -s {target} {name}" for name, target in links.items())
    assert files.api.run(files.key, script(shell(command), text("done")))[-1]["kind"] == "execution.completed"
    outside = (403, "file_outside_workspace")
    for path in (
        "file", "directory", "directory/secret", "relative", "etc/passwd", "loop", "root/etc/passwd", "self/file"):
        assert files.error("GET", path) == outside, path
    for path in ("directory/new", "directory/deep/new", "etc/new", "loop/new", "root/tmp/new"):
        assert files.error("PUT", path, b"x") == outside, path
    assert files.error("DELETE", "directory/secret") == outside
    # A file in a link's place takes the link away, not what it points at.
    assert files.put("file", b"mine")[0] == 200
    assert (beside / "secret").read_text() == SECRET and os.listdir(beside) == ["secret"]
    assert not (files.workspace / "file").is_symlink() and files.get("file") == b"mine"


def head(path: str, files: Files, *more: str) -> bytes:
    """Of an upload of ten bytes."""
    lines = (f"PUT {files.path(path)} HTTP/1.1", "Host: localhost", "Content-Length: 10", *more)
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def test_a_directory_that_becomes_a_link_on_the_way_takes_a_file_nowhere(files, beside):
    """An upload that has begun ends in the directory that it began in, or nowhere."""
    with socket.create_connection(("127.0.0.1", files.server.port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(head("sub/late", files, "Connection: close") + b"12345")
        # It has begun: its file is there under a name of its own.
        while not [name for name in os.listdir(files.workspace / "sub") if name.startswith(".centaur-upload-")]:
            pass
        os.rename(files.workspace / "sub", files.workspace / "moved")
        os.symlink(beside, files.workspace / "sub")
        connection.sendall(b"67890")
        assert b" 201 " in connection.makefile("rb").readline()
    assert os.listdir(beside) == ["secret"]
    assert (files.workspace / "moved/late").read_bytes() == b"1234567890"


def test_only_files_and_directories_are_opened(files):
    """A pipe, a socket or a device holds nobody up and gives nothing."""
    command = "mkfifo pipe && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'"
    assert files.api.run(files.key, script(shell(command), text("done")))[-1]["kind"] == "execution.completed"
    for path in ("pipe", "socket"):
        assert files.error("GET", path) == (403, "file_refused")
        assert files.error("PUT", path, b"x") == (403, "file_refused")
    if os.geteuid() == 0:
        os.mknod(files.workspace / "zero", 0o20666, os.makedev(1, 5))
        assert files.error("GET", "zero") == (403, "file_refused")
        os.unlink(files.workspace / "zero")


def test_what_is_in_the_way_is_told(files):
    """A directory is no file, and a file no directory."""
    files.put("sub/file", b"hello")
    assert files.error("PUT", "sub", b"x") == (409, "file_conflict")
    assert files.error("PUT", "sub/file/x", b"x") == (409, "file_conflict")
    assert files.error("GET", "sub/file/x") == (409, "file_conflict")
    assert files.error("DELETE", "sub") == (409, "file_conflict")
    assert files.ask("DELETE", "sub/file")[0] == 204 and files.ask("DELETE", "sub")[0] == 204
    assert files.error("DELETE", "sub") == (404, "file_not_found")
    for method in ("PUT", "DELETE"):
        assert files.error(method, "", b"x") == (400, "file_path_invalid")


def test_file_size_limit(make_server):
    """A file of `limits.file` goes in and out; a larger one does neither, whether it says so before or not."""
    files = make(make_server({"limits": {"file": 1000, "body": 100}}))
    for size in (999, 1000):
        assert files.put(f"f{size}", b"x" * size)[0] == 201
        assert len(files.get(f"f{size}")) == size
    too_large = (413, "file_too_large")
    assert files.error("PUT", "f1000", b"y" * 1001) == too_large
    for size, status in ((999, 200), (1000, 200), (1001, 413)):
        pieces = (b"z" * 100 for _ in range(size // 100))
        last = b"z" * (size % 100)
        answer = httpx.put(
            f"{files.server.url}{files.path('f1000')}", content=iter([*pieces, last] if last else [*pieces]))
        assert answer.status_code == status, size
    assert answer.json()["error"]["code"] == "file_too_large"
    assert files.get("f1000") == b"z" * 1000
    (files.workspace / "f1001").write_bytes(b"y" * 1001)
    assert files.error("GET", "f1001") == too_large
    assert sorted(os.listdir(files.workspace)) == ["f1000", "f1001", "f999"]


def test_an_upload_that_breaks_off_leaves_nothing(files):
    """Half a file is never taken for the whole one."""
    files.put("kept", b"before")
    with socket.create_connection(("127.0.0.1", files.server.port), timeout=WAIT_SECONDS) as connection:
        connection.sendall(head("kept", files) + b"12345")
        while len(os.listdir(files.workspace)) < 2:
            pass
        assert files.get("kept") == b"before"
    while len(os.listdir(files.workspace)) > 1:
        pass
    assert files.get("kept") == b"before"


def test_a_large_file_is_not_held_in_memory(make_server, directory):
    """What goes through the server in pieces does not make it grow."""
    server = make_server({"limits": {"file": "1GiB"}})
    files = make(server)
    files.put("small", b"x")
    before = server.resident_kilobytes()
    piece = os.urandom(1 << 20)
    answer = httpx.put(
        f"{server.url}{files.path('large')}", content=(piece for _ in range(200)), timeout=120)
    assert answer.status_code == 201 and answer.json()["size"] == 200 << 20
    with httpx.stream("GET", f"{server.url}{files.path('large')}", timeout=120) as stream:
        assert sum(len(chunk) for chunk in stream.iter_bytes()) == 200 << 20
    assert server.resident_kilobytes() - before < 100_000


def test_files_need_a_session(server):
    """There are no files of a session that is not there."""
    files = Files(server, f"api:{uuid.uuid4()}")
    for method, body in (("GET", None), ("PUT", b"x"), ("DELETE", None)):
        status, _, answer = files.ask(method, "a", body)
        assert (status, json.loads(answer)["error"]["code"]) == (404, "session_not_found")
