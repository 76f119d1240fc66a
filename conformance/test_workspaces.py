"""What a session's workspace begins with, how long it is kept, and `centaur sessions`."""

import json
import os
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from centaur_server import PROGRAM, base_environment
from conftest import make_anthropic, make_sdk, with_model
from scripts import COUNT, script, shell, text
from session_api import WAIT_SECONDS, answer, kinds


def new_key() -> str:
    return f"api:{uuid.uuid4()}"


def run(api, key: str, command: str, **more) -> str:
    """A turn that runs one command: what the command printed."""
    api.create(key, **more).raise_for_status()
    events = api.run(key, script(shell(command), text("{{stdout}}")))
    assert events[-1]["kind"] == "execution.completed", events[-1]
    return answer(events).strip()


def files_of(server, key: str) -> Path:
    return server.data / "sessions" / server.api.show(key).json()["id"]


def wait(until) -> None:
    deadline = time.monotonic() + 60
    while not until():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


# Beginnings


def test_a_template_is_copied_and_stays_as_it_is(make_server, directory):
    """Each session gets a copy, whose changes reach neither the template nor another session."""
    template = directory / "template"
    (template / "bin").mkdir(parents=True)
    (template / "rules.txt").write_text("be kind")
    (template / "bin/tool").write_text("#!/bin/sh\necho tool\n")
    (template / "bin/tool").chmod(0o755)
    os.link(template / "rules.txt", template / "same.txt")
    os.symlink("bin/tool", template / "link")
    personas = {"other": {"workspace": {"template": str(template)}}}
    server = make_server({"workspace": str(template), "personas": personas})
    command = "cat rules.txt && ./link && echo cruel > rules.txt && rm bin/tool && cat same.txt && touch new"
    for options in ({}, {"persona": "other"}):
        assert run(server.api, new_key(), command, **options) == "be kindtool\nbe kind"
    assert (template / "rules.txt").read_text() == "be kind" and sorted(os.listdir(template)) == [
        "bin", "link", "rules.txt", "same.txt"]
    assert (template / "bin/tool").exists()


def git(directory: Path, *arguments: str) -> str:
    environment = {
        **base_environment(), "HOME": str(directory), "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "t@t.invalid" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}}
    return subprocess.run(
        ["git", *arguments], cwd=directory, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(directory) -> Path:
    """Two commits on `main`, the first tagged `v1`, and a branch `topic`."""
    made = directory / "repository"
    made.mkdir()
    git(made, "init", "-q", "-b", "main")
    for name, ref in (("one", ("tag", "v1")), ("two", ("branch", "topic"))):
        (made / "file.txt").write_text(name)
        git(made, "add", ".")
        git(made, "commit", "-q", "-m", name)
        git(made, *ref)
    git(made, "checkout", "-q", "topic")
    (made / "file.txt").write_text("topic")
    git(made, "commit", "-q", "-a", "-m", "topic")
    git(made, "checkout", "-q", "main")
    return made


@pytest.mark.parametrize("harness_name", ["codex", "claude"])
def test_a_repository_is_cloned_at_a_ref(make_server, repository, harness_name):
    """The agent has a repository of its own at the branch, the tag or the commit, and no way back to the first."""
    first = git(repository, "rev-parse", "v1")
    personas = {
        name: {"harness": harness_name, "workspace": {"git": str(repository), "ref": ref}}
        for name, ref in (("topic", "topic"), ("tag", "v1"), ("commit", first))}
    server = make_server({"workspace": {"git": str(repository)}, "personas": personas})
    command = "git rev-parse --abbrev-ref HEAD && cat file.txt && git status --porcelain && git remote"
    assert run(server.api, new_key(), command, harness=harness_name) == "main\ntwo"
    for persona, said in (("topic", "topic\ntopic"), ("tag", "HEAD\none"), ("commit", "HEAD\none")):
        assert run(server.api, new_key(), command, persona=persona) == said
    key = new_key()
    commit = "git -c user.name=a -c user.email=a@a.invalid commit -q -a -m mine"
    log = run(server.api, key, f"echo mine > file.txt && {commit} && git log --format=%s", persona="topic")
    assert log == "mine\ntopic\ntwo\none"
    assert git(repository, "log", "--format=%s", "topic") == "topic\ntwo\none"


def test_a_workspace_that_cannot_be_made_fails_the_turn_and_not_the_session(make_server, repository):
    """The user is told why, in the client's own way, and the next turn tries again."""
    server = make_server({"workspace": {"git": str(repository), "ref": "later"}})
    key = new_key()
    server.api.create(key)
    for _ in range(2):
        failed = server.api.run(key, "Reply PONG")[-1]
        assert failed["kind"] == "execution.failed" and failed["payload"]["error"]["code"] == "workspace_failed"
        assert "no branch, tag or commit 'later'" in failed["payload"]["error"]["message"]
        assert str(repository) not in failed["payload"]["error"]["message"]
    assert not (files_of(server, key) / "workspace").exists()
    git(repository, "branch", "later", "v1")
    assert run(server.api, key, "cat file.txt") == "one"


@pytest.mark.parametrize("what", ["template", "git"])
def test_a_beginning_that_is_too_large_is_refused(make_server, directory, what):
    """`limits.workspace` holds from the first byte, and nothing of what was begun stays."""
    source = directory / "source"
    source.mkdir()
    (source / "large").write_bytes(os.urandom(3 << 20))
    if what == "git":
        git(source, "init", "-q")
        git(source, "add", ".")
        git(source, "commit", "-q", "-m", "large")
    server = make_server({"workspace": {what: str(source)}, "limits": {"workspace": "2MiB"}})
    key = new_key()
    server.api.create(key)
    failed = server.api.run(key, "Reply PONG")[-1]["payload"]["error"]
    assert failed["code"] == "workspace_failed" and "larger than the limit" in failed["message"]
    assert sorted(os.listdir(files_of(server, key))) == ["home", "sandboxes", "tmp"]


@pytest.mark.parametrize(
    "value, said", [
        ({"git": "https://host/x.git"}, "directory of this machine"),
        ({"git": "user@host:x"}, "directory of this machine"),
        ({"git": "/x", "ref": "--upload-pack=touch x"}, "cannot be a Git ref"), ({"ref": "main"}, "'workspace' is")])
def test_what_no_workspace_can_begin_with_stops_the_start(directory, value, said):
    """An address on the network or an option in a ref's place is refused before anything runs."""
    file = directory / "bad.yaml"
    file.write_text(json.dumps({"workspace": value}))
    run = subprocess.run(
        [str(PROGRAM), "serve", "--config", str(file), "--data", str(directory / "data")], env=base_environment(),
        capture_output=True, text=True, timeout=WAIT_SECONDS)
    assert run.returncode == 64 and said in run.stderr and ":1:" in run.stderr


# Rest


def test_archive_by_the_session_api(server):
    """An archived session has no process, keeps its log and its files, and is not archived twice."""
    api, key = server.api, new_key()
    run(api, key, COUNT)
    for _ in range(2):
        archived = api.http.post(api.path(key, "/archive"))
        assert (archived.status_code, archived.json()["status"]) == (200, "archived")
    assert kinds(api.events(key))[-2:] == ["sandbox.stopped", "session.archived"]
    assert os.listdir(files_of(server, key) / "sandboxes") == []
    assert (files_of(server, key) / "workspace/count.txt").read_text() == "x\n"
    assert api.http.get(api.path(key, "/files/count.txt")).content == b"x\n"
    refused = api.http.put(api.path(key, "/files/new"), content=b"x")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "session_archived")


@pytest.mark.parametrize("removed", [False, True], ids=["archived", "removed"])
def test_a_client_that_comes_back_brings_its_session_back(server, removed):
    """Both dialects: who uses an archived session goes on in it; its workspace is new where it was removed."""
    for ask in (responses, messages):
        api, key = server.api, new_key()
        assert ask(server, key, script(shell(COUNT), text("{{stdout}}"))).strip() == "1"
        rest = api.http.delete(api.path(key)) if removed else api.http.post(api.path(key, "/archive"))
        assert (rest.status_code, rest.json()["status"]) == (200, "archived")
        assert files_of(server, key).exists() == (not removed)
        assert ask(server, key, script(shell(COUNT), text("{{stdout}}"))).strip() == ("1" if removed else "2")
        assert api.show(key).json()["status"] == "active"
        assert kinds(api.events(key)).count("session.archived") == 1


def responses(server, key: str, prompt: str) -> str:
    headers = {"X-Centaur-Thread-Key": key}
    return make_sdk(server).responses.create(model="gpt-5.5", input=prompt, extra_headers=headers).output_text


def messages(server, key: str, prompt: str) -> str:
    headers = {"X-Centaur-Thread-Key": key}
    made = make_anthropic(server).messages.create(
        model="claude-opus-5-5", max_tokens=1000, messages=[{"role": "user", "content": prompt}], extra_headers=headers)
    return [block.text for block in made.content if block.type == "text"][-1]


def test_a_removed_session_remembers_what_was_said(make_server, model):
    """The log is told to the next process: the conversation goes on, though nothing of the old files is there."""
    server = with_model(make_server, model)
    api, key = server.api, new_key()
    api.create(key)
    api.run(key, "Reply REMEMBERED-7431")
    assert api.http.delete(api.path(key)).status_code == 200
    assert api.run(key, "Reply PONG")[-1]["kind"] == "execution.completed"
    assert "REMEMBERED-7431" in json.dumps(model.requests()[-1])


def test_a_session_at_work_is_not_archived(server):
    """409 while a turn runs; with `force` the turn ends first."""
    api = server.api
    for method, path in (("POST", "/archive"), ("DELETE", "")):
        key = new_key()
        api.create(key)
        api.execute(key, {"text": script(shell("sleep 60"), text("done"))}).raise_for_status()
        api.wait_for_kind(key, "item.started")
        refused = api.http.request(method, api.path(key, path))
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "session_busy")
        assert refused.headers["retry-after"]
        assert api.http.request(method, api.path(key, path), params={"force": "maybe"}).status_code == 400
        forced = api.http.request(method, api.path(key, path), params={"force": "true"})
        assert (forced.status_code, forced.json()["status"]) == (200, "archived")
        [ended] = [event for event in api.events(key) if event["kind"] == "execution.cancelled"]
        assert ended["payload"]["reason"] == "archived"
        unknown = api.http.request(method, api.path(new_key(), path))
        assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "session_not_found")


def test_retention(make_server):
    """After its time an archived session's files go and its log stays; one that was not archived keeps all."""
    server = make_server({"retention": "1s"})
    api, archived, active = server.api, new_key(), new_key()
    for key in (active, archived):
        run(api, key, COUNT)
    gone, kept = files_of(server, archived), files_of(server, active)
    api.http.post(api.path(archived, "/archive")).raise_for_status()
    wait(lambda: not gone.exists())
    events = api.events(archived)
    assert kinds(events)[-2:] == ["session.archived", "warning"]
    assert events[-1]["payload"]["code"] == "files_removed"
    assert (kept / "workspace/count.txt").exists()
    wait(lambda: os.listdir(server.data / "trash") == [])
    assert api.show(archived).json()["status"] == "archived"
    # What is archived when the server is down goes when it is back.
    api.http.post(api.path(active, "/archive")).raise_for_status()
    server.stop()
    server.start()
    wait(lambda: not kept.exists())


# The command line


def test_the_doctor_looks_at_what_workspaces_begin_with(directory):
    """`centaur doctor` says before the first session what would keep its workspace from being made."""
    template, repository = directory / "template", directory / "repository"
    template.mkdir()
    environment = {**base_environment(), "HOME": str(directory), "GIT_CONFIG_GLOBAL": "/dev/null"}
    for command in (["init", "-q", "-b", "main"], [
            "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"]):
        repository.mkdir(exist_ok=True)
        subprocess.run(["git", *command], cwd=repository, env=environment, check=True)
    sources = {
        "good": str(template), "cloned": {"git": str(repository), "ref": "main"}, "head": {"git": str(repository)},
        "gone": str(directory / "nothing"), "file": str(directory / "config.yaml"), "unborn": {"git": str(template)},
        "other": {"git": str(repository), "ref": "v9"}, "nowhere": {"git": str(directory / "nothing")}}
    (directory / "config.yaml").write_text(json.dumps({
        "data": str(directory / "data"), "sandbox": "process", "workspace": str(template),
        "personas": {name: {"workspace": source} for name, source in sources.items()}}))
    doctor = subprocess.run(
        [str(PROGRAM), "doctor", "--config", str(directory / "config.yaml")], env=environment, capture_output=True,
        text=True, timeout=WAIT_SECONDS)
    found = {line.split("persona '")[1].split("'")[0] if "persona" in line else None: line
             for line in doctor.stdout.splitlines() if " workspace " in line}
    verdicts = {name: line.split()[0] for name, line in found.items()}
    assert verdicts == {None: "ok", "good": "ok", "cloned": "ok", "head": "ok", **dict.fromkeys(
        ("gone", "file", "unborn", "other", "nowhere"), "FAIL")}, doctor.stdout
    assert doctor.returncode == 1
    assert str(directory / "nothing") in found["gone"] and "'v9'" in found["other"]
    assert not list((directory / "data").glob("*")) and sorted(os.listdir(directory)) == [
        "config.yaml", "repository", "template"]


def sessions(server, *arguments: str, environment: dict | None = None) -> subprocess.CompletedProcess:
    if environment is None:
        environment = {"CENTAUR_LISTEN": f"127.0.0.1:{server.port}"}
    return subprocess.run(
        [str(PROGRAM), "sessions", *arguments], env={**base_environment(), **environment}, capture_output=True,
        text=True, timeout=WAIT_SECONDS)


def test_sessions_commands(make_server):
    """A person lists, shows, archives and removes sessions of a running server."""
    server = make_server()
    first, second = f"{new_key()}/ä b", new_key()
    for key in (first, second):
        run(server.api, key, "head -c 300000 /dev/zero > zeros; echo done")
    listed = sessions(server, "list")
    assert listed.returncode == 0, listed.stderr
    titles, *lines = listed.stdout.splitlines()
    assert titles.split() == ["THREAD", "KEY", "HARNESS", "PERSONA", "NEWEST", "TURN", "CREATED", "WORKSPACE"]
    assert [line.startswith(key) for line, key in zip(lines, (second, first), strict=True)] == [True, True]
    assert all("KiB" in line and "codex" in line and " completed " in line for line in lines)
    found = json.loads(sessions(server, "list", "--json").stdout)
    assert [session["thread_key"] for session in found] == [second, first]
    assert all(session["workspace"]["bytes"] >= 300_000 for session in found)
    shown = sessions(server, "show", first, "--server", server.url, environment={})
    assert shown.returncode == 0 and f"thread key:   {first}" in shown.stdout and "completed" in shown.stdout
    assert json.loads(sessions(server, "show", first, "--json").stdout)["newest_execution"]["status"] == "completed"
    assert sessions(server, "archive", first).stdout == f"archived {first}\n"
    assert sessions(server, "archive", first).returncode == 0
    assert [session["thread_key"] for session in json.loads(sessions(server, "list", "--json").stdout)] == [second]
    archived = json.loads(sessions(server, "list", "--archived", "--json").stdout)
    assert [session["thread_key"] for session in archived] == [first] and archived[0]["workspace"]["bytes"] > 0
    assert sessions(server, "remove", first).stdout == f"removed the files of {first}\n"
    assert not files_of(server, first).exists()
    assert json.loads(sessions(server, "show", first, "--json").stdout)["workspace"]["bytes"] == 0
    assert sessions(server, "remove", second, environment={"CENTAUR_CONFIG": str(with_listen(server))}).returncode == 0
    assert sessions(server, "list").stdout.splitlines() == ["THREAD KEY  HARNESS  PERSONA  NEWEST TURN  CREATED  WORKSPACE"]


def with_listen(server) -> Path:
    file = server.directory / "client.yaml"
    file.write_text(json.dumps({"listen": f"127.0.0.1:{server.port}"}))
    return file


def test_sessions_commands_say_what_is_wrong(server):
    """One sentence on standard error, and a status that a script can test."""
    for arguments, said in (
        (("show", new_key()), "There is no session"), (("archive", new_key()), "There is no session"),
        (("show", "nonsense"), "A thread key has the form"),
        (("list", "--server", "http://127.0.0.1:1"), "no server answers at http://127.0.0.1:1"),
        (("list", "--server", "host"), "must begin with http")):
        run = sessions(server, *arguments)
        assert run.returncode != 0 and said in run.stderr and run.stdout == "", (arguments, run.stderr)
    key = new_key()
    server.api.create(key)
    server.api.execute(key, {"text": script(shell("sleep 60"), text("done"))}).raise_for_status()
    server.api.wait_for_kind(key, "item.started")
    busy = sessions(server, "remove", key)
    assert busy.returncode == 1 and "A turn of this session is running" in busy.stderr
    assert sessions(server, "remove", key, "--force").returncode == 0
