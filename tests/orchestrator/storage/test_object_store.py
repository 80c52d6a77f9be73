"""Results in an object store: what may stand in a URL, what goes wrong there, and sweeps from end to end."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from landsweep import Zoo
from landsweep.orchestrator.errors import Unreachable, UsageError
from landsweep.orchestrator.run.messages import CheckInput
from landsweep.orchestrator.run.worker import Worker
from landsweep.orchestrator.site import Budgets, Site
from landsweep.orchestrator.storage.artifacts import Artifacts
from landsweep.orchestrator.storage.ledger import Ledger, Store
from landsweep.orchestrator.testing.executor_suite import config
from landsweep.orchestrator.testing.kind_suite import metrics_of, run_example
from landsweep.sweeps.zoo.kind import ZooKind
from tests.support.cli import LOCAL, command, write_spec
from tests.support.s3 import S3, environment, running_s3


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://KEY:hidden@bucket/x", "no user, key or option"),
        ("s3://bucket/x?aws_secret_access_key=hidden", "no user, key or option"),
        ("https://bucket.s3.amazonaws.com/x", r"file://, s3:// or gs://"),
        ("s4://bucket/x", r"file://, s3:// or gs://"),
        ("s3:///x", "no bucket"),
    ],
)
def test_a_url_that_can_not_be_used_is_refused_and_its_secret_is_not_repeated(url: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as e:
        Store.at(url)
    assert "hidden" not in str(e.value)


def test_a_file_url_is_a_folder(tmp_path: Path) -> None:
    store = Store.at(f"file://{tmp_path}/with%20blank")
    assert store.path == tmp_path / "with blank"


def test_the_same_bytes_come_back_and_are_listed(bucket_url: str, tmp_path: Path) -> None:
    store = Store.at(bucket_url)
    assert store.list("rows") == []
    assert store.create("rows/a", b"first") and not store.create("rows/a", b"second")
    store.replace("rows/b", b"x" * 3)
    store.replace("rows/b", b"y" * 4)
    assert (store.read("rows/a"), store.list("rows")) == (b"first", [("a", 5), ("b", 4)])
    store.move("rows/b", "damaged/b")
    store.delete("rows/a")
    store.delete("rows/a")
    assert (store.list("rows"), store.list("damaged")) == ([], [("b", 4)])
    with pytest.raises(FileNotFoundError):
        store.read("rows/a")


def test_a_copy_on_this_machine_is_made_once_and_again_when_the_file_has_changed(
    bucket_url: str, tmp_path: Path
) -> None:
    store = Store.at(bucket_url)
    store.replace("weights/w.bin", b"one")
    first = store.fetch("weights/w.bin", tmp_path)
    assert store.fetch("weights/w.bin", tmp_path) == first
    store.replace("weights/w.bin", b"two")
    assert store.fetch("weights/w.bin", tmp_path).read_bytes() == b"two"
    assert first.read_bytes() == b"one"
    with pytest.raises(FileNotFoundError):
        store.fetch("weights/none.bin", tmp_path)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "weights/../../outside"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").write_bytes(b"not ours")
    store = Store.at(tmp_path / "sweep")
    with pytest.raises(UsageError, match="no name of a file inside"):
        store.fetch(name, tmp_path)
    with pytest.raises(UsageError, match="no name of a file inside"):
        store.replace(name, b"")
    assert (tmp_path / "outside").read_bytes() == b"not ours"


# what goes wrong


@contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """An HTTP server that gives one answer to all; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_PUT = do_GET  # noqa: N815 - the name that the library wants

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def error(code: str, message: str) -> str:
    return f"<?xml version='1.0'?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>"


@pytest.mark.parametrize(
    ("status", "code", "cure"),
    [
        (400, "ExpiredToken", "have expired: log in again"),
        (403, "AccessDenied", "may not do that"),
        (403, "SignatureDoesNotMatch", "are wrong: AWS_ACCESS_KEY_ID"),
        (301, "PermanentRedirect", "set AWS_REGION"),
    ],
)
def test_what_the_store_says_is_told_with_a_cure(
    status: int, code: str, cure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, error(code, "as S3 words it")) as endpoint:
        for name, value in environment(endpoint).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(Unreachable, match=cure) as e:
            Ledger.exists(Store.at("s3://bucket/sweep"))
    assert "top-secret" not in str(e.value)


def test_no_such_bucket(s3: S3) -> None:
    with pytest.raises(Unreachable, match=r"NoSuchBucket.*create it, or correct the address"):
        Ledger.exists(Store.at("s3://no-such-bucket/sweep"))


def test_no_server_is_said_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        closed = s.getsockname()[1]
    for name, value in environment(f"http://127.0.0.1:{closed}").items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unreachable, match=rf"no answer from http://127.0.0.1:{closed}; nothing answers there"):
        Ledger.exists(Store.at("s3://bucket/sweep"))
    worker = Worker(replace(config(), results="s3://bucket/sweep"))
    with pytest.raises(Unreachable, match=r"a worker on .* can't reach the results"):
        list(worker.run(CheckInput(1)))


def test_weights_that_can_not_be_written_are_no_fault_of_the_unit(tmp_path: Path) -> None:
    """Class `infra`: tried again, elsewhere if there is another worker; once the folder is free, all is well."""
    kind = ZooKind()
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/weights").write_text("a file where the folder belongs")
    site = Site(executor="local", budgets=Budgets(infra=1))
    run_example(kind, kind.example(), tmp_path / "zoo", site)
    rows = Ledger.open(Store.at(tmp_path / "zoo")).rows(["key", "status", "cause", "attempt"]).to_pylist()
    assert {(r["status"], r["cause"]) for r in rows} == {("failed", "infra")}
    assert {r["attempt"] for r in rows} == {2}
    (tmp_path / "zoo/weights").unlink()
    Ledger.open(Store.at(tmp_path / "zoo")).retire([r["key"] for r in rows])
    run_example(kind, kind.example(), tmp_path / "zoo", site)
    assert {r["status"] for r in metrics_of(tmp_path / "zoo").values()} == {"ok"}


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Outside a cloud the metadata service does not answer, or what stands in its place refuses."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with answering(403, "no metadata here") as metadata:
        monkeypatch.setenv("AWS_METADATA_ENDPOINT", metadata)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        with pytest.raises(Unreachable, match=r"no credentials were found.*AWS_PROFILE"):
            Store.at("s3://bucket/sweep").reach()


def test_keys_of_a_profile_are_read_and_wrong_ones_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server that checks keys; the profile's file is the only place where they stand."""
    with running_s3() as server:
        import boto3

        user = boto3.client("iam").create_user(UserName="me")["User"]["UserName"]
        boto3.client("iam").put_user_policy(
            UserName=user,
            PolicyName="all",
            PolicyDocument=json.dumps(
                {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
            ),
        )
        keys = boto3.client("iam").create_access_key(UserName=user)["AccessKey"]
        plain = {"Content-Type": "text/plain"}
        check = urllib.request.Request(f"{server.endpoint}/moto-api/reset-auth", data=b"0", headers=plain)
        urllib.request.urlopen(check).close()  # from now on the server checks
        with pytest.raises(Unreachable, match="are wrong"):
            Store.at(f"s3://{server.bucket}/sweep").reach()
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        file = tmp_path / "credentials"
        file.write_text(
            f"[lab]\naws_access_key_id={keys['AccessKeyId']}\naws_secret_access_key={keys['SecretAccessKey']}\n"
        )
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        monkeypatch.setenv("AWS_PROFILE", "lab")
        store = Store.at(f"s3://{server.bucket}/sweep")
        assert store.create("a", b"data") and store.read("a") == b"data"
        monkeypatch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(UsageError, match="nobody"):
            Store.at(f"s3://{server.bucket}/sweep")


@contextmanager
def answers_cut(endpoint: str, methods: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """A way to the server on which every second request of a method is carried out, but its answer is lost."""
    host, port = endpoint.removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    cut: list[bytes] = []
    seen = 0

    def carry(client: socket.socket) -> None:
        nonlocal seen
        with client, socket.create_connection((host, int(port))) as server:
            request = b""
            while b"\r\n\r\n" not in request:
                request += client.recv(65536)
            head, _, body = request.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            missing = int(lengths[0].split(b":")[1]) - len(body) if lengths else 0
            while missing > 0:
                more = client.recv(65536)
                body, missing = body + more, missing - len(more)
            once = head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
            server.sendall(once + b"\r\n\r\n" + body)
            answer = b"".join(iter(lambda: server.recv(65536), b""))
            if head.startswith(methods):
                seen += 1
                if seen % 2:
                    cut.append(head.split(b"\r\n")[0])
                    return
            client.sendall(answer)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=carry, args=(client,), daemon=True).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", cut
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_a_password_in_the_address_of_an_endpoint_is_not_shown(
    bucket_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://ann:hunter2pass@127.0.0.1:1")
    with pytest.raises(Unreachable, match=r"no answer from http://127\.0\.0\.1:1") as caught:
        Store.at(bucket_url).reach()
    assert "hunter2pass" not in str(caught.value)


def test_a_commit_whose_answer_is_lost_is_there_once(s3: S3, bucket_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client repeats the put, and finds that the name is taken: by its own bytes."""
    from tests.orchestrator.storage.ledger.driver import key, work

    with answers_cut(s3.endpoint, b"PUT") as (way, cut):
        monkeypatch.setenv("AWS_ENDPOINT_URL", way)
        ledger = Ledger.create(Store.at(bucket_url), {})
        with ledger.writing(beat=1e9) as writer:
            work(writer, 12, 2)
        assert sum(b"/rows/" in line for line in cut) >= 3, cut
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    found = Ledger.open(Store.at(bucket_url)).verify(key(i) for i in range(12))
    assert (found.sound, found.rows, found.missing) == (True, 12, [])


# sweeps from end to end


SPEC: dict[str, Any] = {
    "kind": "function",
    "name": "cloud",
    "function": "tests.chaos.driver:work",
    "axes": {"i": {"range": 6}},
}


@pytest.mark.slow
def test_every_command_works_on_a_url_and_no_secret_is_left_anywhere(bucket_url: str, tmp_path: Path) -> None:
    write_spec(tmp_path, SPEC)
    out = ["--out", bucket_url]
    runtime = "site.runtime_env={env_vars: {TOKEN: hidden-token}}"
    done = command("run", "spec.yaml", "--site", "local", *out, runtime, cwd=tmp_path)
    assert "6 units (6 ok)" in done.stderr and "MLflow run" in done.stderr
    assert json.loads(command("plan", "spec.yaml", "axes.i.range=9", *out, "--json", cwd=tmp_path).stdout)["done"] == 6
    command("run", "spec.yaml", "axes.i.range=9", *LOCAL, *out, cwd=tmp_path)
    state = json.loads(command("status", bucket_url, "--json", cwd=tmp_path).stdout)
    assert (state["phase"], state["done"], state["running"]) == ("done", 9, False)
    assert "sound" in command("verify", bucket_url, cwd=tmp_path).stdout
    page = command("report", bucket_url, cwd=tmp_path).stdout.removeprefix("report: ").strip()
    assert re.fullmatch(r"results/sweep-[0-9a-f]{6}/report/index\.html", page)  # an id of the address
    assert "nothing to do" in command("rerun", bucket_url, *LOCAL, cwd=tmp_path).stderr
    assert "MLflow run" in command("export-mlflow", bucket_url, cwd=tmp_path).stdout
    store = Store.at(bucket_url)
    assert store.read("report/index.html") == (tmp_path / page).read_bytes()
    everything = [store.read(name) for name, _ in store.list("")] + [store.read("lock/000002.json")]
    everything += [p.read_bytes() for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".yaml"]
    for secret in (b"top-secret-of-the-tests", b"hidden-token"):
        assert not any(secret in data for data in everything)
        assert secret.decode() not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("out", "said"),
    [("s3://no-such-bucket/x", "no such bucket"), ("s3://KEY:hidden@bucket/x", "no user"), ("s4://b/x", "s3://")],
)
def test_results_that_can_not_be_kept_there_are_said_before_any_work(
    s3: S3, out: str, said: str, tmp_path: Path
) -> None:
    write_spec(tmp_path, SPEC)
    for words in (["run", "spec.yaml", *LOCAL, "--out", out], ["plan", "spec.yaml", "--out", out], ["verify", out]):
        done = command(*words, cwd=tmp_path, check=2)
        assert said in done.stderr and "hidden" not in done.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_zoo_is_read_from_its_url(bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, weights and proofs equal those of the same zoo on disk."""
    import torch

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    kind = ZooKind()
    run_example(kind, kind.example(), tmp_path / "disk")
    run_example(kind, kind.example(), bucket_url)
    here, there = Zoo(tmp_path / "disk"), Zoo(bucket_url)
    assert list(here.rows["key"]) == list(there.rows["key"]) and len(here.series()) == len(there.series())
    assert all(torch.equal(here[key].vector(), there[key].vector()) for key in here.keys)
    copies = list((tmp_path / "cache").rglob("*.safetensors"))
    assert len(copies) == there.rows["weights_file"].nunique()
    run = ["--reevaluate", "2"]
    assert "all as in their rows" in command("verify", bucket_url, *run, cwd=tmp_path).stdout
    assert "the same bits" in command("regenerate", bucket_url, there.keys[0], cwd=tmp_path).stdout
    assert "give --to FOLDER" in command("zoo-card", bucket_url, cwd=tmp_path, check=2).stderr
    command("zoo-export", bucket_url, "--to", "exported", cwd=tmp_path)
    assert len(Zoo(tmp_path / "exported")) == len(here)
    file = there.rows["weights_file"].iloc[0]
    data = bytearray(Store.at(bucket_url).read(file))
    data[-1] ^= 1
    Store.at(bucket_url).replace(file, data)
    assert "its checksum is not that of its rows" in command("verify", bucket_url, *run, cwd=tmp_path, check=1).stdout


def test_artifacts_say_where_they_are(bucket_url: str) -> None:
    found = Artifacts(bucket_url)
    assert (found.where, found.folder) == (bucket_url, None)
    assert os.environ["AWS_SECRET_ACCESS_KEY"] not in repr(vars(found))
