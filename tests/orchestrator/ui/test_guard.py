"""Who gets an answer and who does not, asked of a real server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import command
from tests.support.paths import GOLDEN
from tests.support.ui import Server, running_ui

FRAME = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
TRAP = "import pathlib\npathlib.Path(__file__).with_name('imported').touch()\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results: one whole sweep, and whatever else may lie there."""
    home = tmp_path_factory.mktemp("ui")
    results = home / "results"
    shutil.copytree(GOLDEN / "begun" / "function", results / "whole")
    broken = {"half": '{"kind": "fun', "list": "[]", "empty": ""}
    for name, text in broken.items():
        shutil.copytree(GOLDEN / "begun" / "function", results / name)
        (results / name / "sweep.json").write_text(text)
    facts = json.loads((results / "whole" / "sweep.json").read_text())
    for name, changed in {
        "newer": {"format": 99},
        "foreign": {"kind": "no_such_kind"},
        "odd": {"spec": {"axes": 3}},
    }.items():
        shutil.copytree(GOLDEN / "begun" / "function", results / name)
        (results / name / "sweep.json").write_text(json.dumps({**facts, **changed}))
    shutil.copytree(GOLDEN / "begun" / "function", results / "lost")
    (results / "lost" / "sweep.json").unlink()
    shutil.copytree(GOLDEN / "begun" / "function", results / "torn")
    part = next((results / "torn" / "rows").glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-40])
    (results / "pipe").mkdir()
    os.mkfifo(results / "pipe" / "sweep.json")
    outside = home / "outside"
    shutil.copytree(GOLDEN / "begun" / "function", outside)
    (results / "link").symlink_to(outside)
    shutil.copytree(GOLDEN / "begun" / "function", results / "code")
    (results / "code" / "trap.py").write_text(TRAP)
    spec = {**facts["spec"], "function": "trap:run"}
    (results / "code" / "sweep.json").write_text(json.dumps({**facts, "spec": spec, "folder": str(results / "code")}))
    return home


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with running_ui("results", cwd=folder) as running:
        yield running


def ask(server: Server, path: str) -> tuple[int, dict[str, object]]:
    status, _, body = server.ask(path, {"cookie": server.cookie()})
    fields: dict[str, object] = json.loads(body)
    return status, fields


def sweeps(server: Server) -> dict[str, dict[str, object]]:
    """What the list says, by name of the folder."""
    _, fields = ask(server, "/api/sweeps")
    return {Path(s["where"]).name: s for s in fields["sweeps"]}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "path", ["/", "/api/sweeps", "/static/main.js", "/sweep/x", "/no/such/page", "/?token=", "/?token=x"]
)
def test_without_the_token_nothing_is_answered(server: Server, path: str) -> None:
    status, _, body = server.ask(path)
    assert status == 401 and b"landsweep ui" in body


def test_the_token_becomes_a_cookie_and_leaves_the_address(server: Server) -> None:
    token = server.url.partition("token=")[2]
    status, headers, _ = server.ask(f"/sweep/x?tab=curves&token={token}&sort=a%20b")
    assert status == 303 and headers["location"] == "/sweep/x?tab=curves&sort=a+b"
    cookie = headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "domain" not in cookie
    assert token.lower() not in cookie
    assert server.ask("/", {"cookie": server.cookie()})[0] == 200
    assert server.ask("/", {"cookie": f"landsweep-{server.port}=wrong"})[0] == 401
    assert server.ask(f"//evil.example/?token={token}")[1]["location"] == "/evil.example/"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({"host": "evil.example"}, False),
        ({"host": "evil.example:PORT"}, False),
        ({"host": "127.0.0.1.evil.example:PORT"}, False),
        ({"host": "localhost.:PORT"}, False),
        ({"host": ""}, False),
        ({"host": "localhost:1@evil.example"}, False),
        ({"host": "[::1"}, False),
        ({"host": "[::1]evil.example"}, False),
        ({"host": "localhost:PORT"}, True),
        ({"host": "LOCALHOST:1234"}, True),  # a forwarded port
        ({"host": "[::1]:PORT"}, True),
        ({"host": "127.0.0.1:PORT", "origin": "http://evil.example"}, False),
        ({"host": "127.0.0.1:PORT", "origin": "null"}, False),
        ({"host": "127.0.0.1:PORT", "origin": "http://127.0.0.1:1"}, False),
        ({"host": "127.0.0.1:PORT", "origin": "http://127.0.0.1:PORT"}, True),
        ({"host": "127.0.0.1:PORT", "sec-fetch-site": "cross-site"}, False),
        ({"host": "127.0.0.1:PORT", "sec-fetch-site": "same-site", "sec-fetch-mode": "cors"}, False),
        ({"host": "127.0.0.1:PORT", **FRAME}, False),
        ({"host": "127.0.0.1:PORT", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}, True),
    ],
)  # fmt: skip
def test_other_names_and_other_sites_are_refused(server: Server, headers: dict[str, str], allowed: bool) -> None:
    given = {name: value.replace("PORT", str(server.port)) for name, value in headers.items()}
    status, _, body = server.ask("/api/sweeps", {**given, "cookie": server.cookie()})
    assert status == (200 if allowed else 403)
    assert allowed or b"where" not in body


def test_a_link_from_elsewhere_is_followed_by_the_page_itself(server: Server) -> None:
    follows = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    status, _, body = server.ask("/sweep/x", follows)
    assert status == 200 and b"refresh" in body and b"main.js" not in body


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/api/sql?q=select%201", "/api/sweeps", "/api/sql.csv?q=select%201"])
def test_a_link_to_an_answer_is_not_followed(server: Server, site: str, path: str) -> None:
    follows = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for headers in (follows, {**follows, "cookie": server.cookie()}):  # a site on another port gets the cookie sent
        status, _, body = server.ask(path, headers)
        assert status == 403 and b"refresh" not in body


ANOTHER_USER = """
import encodings.idna, http.client, os, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
port, path, cookie, *forged = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=60)
connection.request("GET", path, headers={"cookie": cookie, **dict(h.split("=") for h in forged)})
answer = connection.getresponse()
print(answer.status, (answer.getheader("set-cookie") or "").partition(";")[0])
"""


def as_another_user(server: Server, path: str, cookie: str, *forged: str) -> list[str]:
    """Status and new cookie that somebody else on this machine gets."""
    words = [sys.executable, "-I", "-S", "-c", ANOTHER_USER, str(server.port), path, cookie, *forged]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout.split()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another user")
def test_a_cookie_counts_for_the_user_who_got_it(server: Server) -> None:
    """A browser sends it to other ports of this host too, where somebody else may listen."""
    mine = server.cookie()
    assert server.ask("/api/sweeps", {"cookie": mine})[0] == 200
    assert as_another_user(server, "/api/sweeps", mine) == ["401"]
    forged = f"x-forwarded-for=127.0.0.1:{server.port}", "forwarded=for"
    assert as_another_user(server, "/api/sweeps", mine, *forged) == ["401"]
    status, theirs = as_another_user(server, f"/?token={server.url.partition('token=')[2]}", "")  # it was given to them
    assert status == "303" and theirs != mine
    assert as_another_user(server, "/api/sweeps", theirs) == ["200"]
    assert server.ask("/api/sweeps", {"cookie": theirs})[0] == 401


def test_the_words_of_a_browser_that_is_opened_are_of_no_use_to_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All users of a machine can read the words with which a process was started."""
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    with running_ui("results", "--open", cwd=folder) as server:
        assert server.ask(server.url.removeprefix(server.base))[0] == 303  # by then the browser was opened
        words = opened.read_text()
        assert words.startswith(server.base) and words != server.url
        path = words.removeprefix(server.base)
        if sys.platform == "linux" and os.geteuid() == 0:
            assert as_another_user(server, path, "") == ["401"]
        status, headers, _ = server.ask(path)
        cookie = headers["set-cookie"].partition(";")[0]
        assert status == 303 and server.ask("/api/sweeps", {"cookie": cookie})[0] == 200
        assert server.ask(path)[0] == 401
        assert server.ask(path, {"cookie": cookie})[0] == 303  # the same window, loaded again


@pytest.mark.parametrize(
    "path", ["/%09/evil.example", "/a%0d%0aset-cookie:%20b=c", "/%e2%82%ac", "/%ff", "/%5c%5cevil.example"]
)
def test_the_address_without_the_token_is_one_of_this_server(server: Server, path: str) -> None:
    status, headers, _ = server.ask(f"{path}?token={server.url.partition('token=')[2]}")
    place = headers["location"]
    assert status == 303 and place.startswith("/") and place[1] not in "/\\" and place.isascii()
    assert not any(c.isspace() for c in place) and "b=c" not in headers["set-cookie"]


def test_answers_tie_the_browser_down(server: Server) -> None:
    for path in ("/", "/api/sweeps", "/static/main.js", "/nothing"):
        _, headers, _ = server.ask(path, {"cookie": server.cookie()})
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "script-src 'self';" in policy and "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers and "server" not in headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_can_be_changed(server: Server, method: str) -> None:
    assert server.ask("/api/sweeps", {"cookie": server.cookie()}, method)[0] == 405


@pytest.mark.parametrize(
    "path",
    ["/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/", "/static/..", "/etc/passwd",
     "/static//etc/passwd", "/static/%2fetc%2fpasswd"],
)  # fmt: skip
def test_no_other_file_is_given(server: Server, path: str) -> None:
    status, _, body = server.ask(path, {"cookie": server.cookie()})
    assert status == 404 and b"root" not in body and b"import" not in body


@pytest.mark.parametrize("name", ["..", "%2e%2e%2foutside", "..%2f..%2fetc", "000000000000"])
def test_no_other_folder_is_shown(server: Server, name: str) -> None:
    status, _, body = server.ask(f"/api/sweeps/{name}/rows", {"cookie": server.cookie()})
    assert status in (400, 404) and b'"rows"' not in body


@pytest.mark.parametrize("key", ["..", "..%2f..%2fsweep.json", "-x", ".hidden"])
def test_logs_are_those_of_units(server: Server, key: str) -> None:
    where = sweeps(server)["whole"]["id"]
    assert server.ask(f"/api/sweeps/{where}/units/{key}/log", {"cookie": server.cookie()})[0] in (400, 404)


def test_links_are_not_followed(server: Server, folder: Path) -> None:
    assert "link" not in sweeps(server) and "outside" not in sweeps(server)
    log = folder / "results" / "whole" / "units" / "0123"
    log.mkdir(parents=True)
    (folder / "secret.txt").write_text("a secret")
    (log / "stdout.txt").symlink_to(folder / "secret.txt")
    status, _, body = server.ask(
        f"/api/sweeps/{sweeps(server)['whole']['id']}/units/0123/log", {"cookie": server.cookie()}
    )
    assert status == 400 and b"a secret" not in body and b"leads out of the results folder" in body


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("half", "is damaged"),
        ("list", "is damaged"),
        ("empty", "is damaged"),
        ("newer", "of a later landsweep"),
        ("lost", "no sweep.json"),
        ("pipe", "named pipe"),
    ],
)
def test_a_folder_that_can_not_be_read_says_why(server: Server, name: str, says: str) -> None:
    shown = sweeps(server)[name]
    assert says in str(shown["problem"])
    status, fields = ask(server, f"/api/sweeps/{shown['id']}")
    assert status == 400 and says in str(fields["problem"])


def test_damaged_parts_are_named_and_the_rest_is_shown(server: Server) -> None:
    _, fields = ask(server, f"/api/sweeps/{sweeps(server)['torn']['id']}")
    assert "rows/part-000000.parquet" in str(fields["remarks"]) and "--status damaged" in str(fields["remarks"])


@pytest.mark.parametrize("name", ["foreign", "odd"])
def test_rows_are_shown_where_the_kind_can_not_be_asked(server: Server, name: str) -> None:
    where = sweeps(server)[name]["id"]
    assert ask(server, f"/api/sweeps/{where}/rows")[1]["count"] == 9
    status, fields = ask(server, f"/api/sweeps/{where}/columns")
    assert status == 200 and fields["problem"] and fields["columns"]
    assert ask(server, f"/api/sweeps/{where}/report")[0] == 400


def test_nothing_that_a_folder_names_is_imported(server: Server, folder: Path) -> None:
    where = sweeps(server)["code"]["id"]
    for path in ("", "/columns", "/report", "/rows", "/failures", "/curves"):
        ask(server, f"/api/sweeps/{where}{path}")
    assert (folder / "results/code/trap.py").exists() and not (folder / "results/code/imported").exists()


def test_a_taken_port_and_an_absent_folder_are_said_in_one_line(server: Server, folder: Path) -> None:
    taken = command("ui", "results", "--port", str(server.port), cwd=folder, check=2)
    assert f"port {server.port} is taken" in taken.stderr and "--port 0" in taken.stderr
    assert "there is no folder nowhere" in command("ui", "nowhere", cwd=folder, check=2).stderr
    assert "no folder results" in command("ui", cwd=folder / "outside", check=2).stderr
    assert "address of this machine" in command("ui", "results", "--host", "192.0.2.1", cwd=folder, check=2).stderr


def test_only_this_machine_reaches_it(server: Server) -> None:
    with socket.socket(socket.AF_INET6) as other:
        other.settimeout(5)
        with pytest.raises(OSError):
            other.connect(("::1", server.port))
    listening = Path("/proc/net/tcp")
    if listening.exists():
        lines = [line.split() for line in listening.read_text().splitlines()[1:]]
        local = [words[1] for words in lines if words[3] == "0A" and int(words[1].split(":")[1], 16) == server.port]
        assert local == [f"0100007F:{server.port:04X}"]
