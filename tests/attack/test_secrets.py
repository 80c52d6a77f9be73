"""Credentials: none in what is stored, shown or handed over."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
import pytest
import yaml

from landsweep.cluster.jobs.jobs import claim, record
from landsweep.cluster.jobs.submit import draft, keep_private
from landsweep.cluster.launch import write_private
from landsweep.cluster.node.driver import private_fields
from landsweep.orchestrator.errors import UsageError
from landsweep.orchestrator.named_secrets import is_secret_name
from landsweep.orchestrator.redaction import holds_credentials, redacted, redacted_error, redacted_words
from landsweep.orchestrator.site import parse_site
from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.attack.folders import FUNCTION, command
from tests.support.cli import LANDSWEEP
from tests.support.paths import ROOT

CANARY = "cAnArY7xq"
TEXTS = [
    f"https://ann:{CANARY}@host/x", f"https://{CANARY}@host/x", f"https://ann:p@{CANARY}@host/x",
    f"mysql+pymysql://ann:a/{CANARY}@host/db", f"postgresql://ann:{CANARY}@host:5432/db", f"--password {CANARY}",
    f"--password={CANARY}", f"-password {CANARY}", f"--db-password '{CANARY} b'", f"--api-key {CANARY}",
    f"--token={CANARY}", f"token={CANARY}", f"TOKEN: {CANARY}", f"auth_token={CANARY}", f'"password": "{CANARY}"',
    f"{{'secret': '{CANARY}'}}", f"AWS_SECRET_ACCESS_KEY={CANARY}", f"AWS_SESSION_TOKEN={CANARY}",
    f"MLFLOW_TRACKING_PASSWORD={CANARY}", f"MLFLOW_TRACKING_TOKEN={CANARY}", f"WANDB_API_KEY={CANARY}",
    f"https://host/x?sig={CANARY}", f"https://host/x?a=1&X-Amz-Signature={CANARY}&b=2",
    f"https://host/x?X-Amz-Credential={CANARY}", f"https://host/x?access_token={CANARY}",
    f"https://host/x?sv=2020&sig={CANARY}", f"?api_key={CANARY}", f"AccountName=a;AccountKey={CANARY};b=c",
    f"SharedAccessSignature={CANARY}", f"Authorization: Bearer {CANARY}", f"-H 'Authorization: Basic {CANARY}='",
    f"Authorization: token {CANARY}", f"-H 'Authorization: ApiKey {CANARY}'", f"authorization: {CANARY}",
    f"curl -u ann:{CANARY} x", f"curl --user=ann:{CANARY} x", "AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 9,
    "hf_" + "a1B2" * 6, "sk-" + "a1B2" * 6, "xoxb-1234567890-abc", "glpat-" + "a1B2" * 5, "dapi" + "0f" * 16,
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    f"private_key={CANARY}", f"passphrase: {CANARY}", f"site.tracking=http://ann:{CANARY}@host",
    f"recipe.data.args.password={CANARY}", f"PGPASSWORD={CANARY}", f"clientSecret={CANARY}", f"pwd={CANARY}",
    f"DB_PASS={CANARY}", f"--pass {CANARY}", *(PASSWORDS := [
        f"--password=a,{CANARY}", f"password=a;b}}{CANARY}]c", f'{{"password": "a\\"{CANARY}"}}',
        f'{{\\"password\\": \\"{CANARY}\\"}}', f"<password>{CANARY}</password>", f"password=$a,{CANARY}",
    ]), *(MARKED := [
        f"https%3A%2F%2Fann%3A{CANARY}%40host%2Fx", f"https://ann:p%40{CANARY}@host/x", f"https://h/?a=1%26password%3D{CANARY}",
        f"https://h/?next=%2Fx%253Faccess_token%253D{CANARY}", f"https://h/?pass%77ord={CANARY}",
        f'Authorization: Digest username="ann", realm="r", nonce="{CANARY}", uri="/x", response="{CANARY}"',
        f"Digest username=ann, response={CANARY}", f'WWW-Authenticate: Digest realm="r", nonce="{CANARY}", qop="auth"',
        f'{{"Authorization": "Digest username=\\"ann\\", response=\\"{CANARY}\\""}}',
        f"Authorization: AWS4-HMAC-SHA256 Credential={CANARY}/2026/s3, SignedHeaders=host, Signature={CANARY}",
        f"jdbc:sqlserver://host:1433;user=sa;password={CANARY};encrypt=true",
        f"jdbc:oracle:thin:ann/{CANARY}@host:1521:x",
        f"jdbc:mysql://host/db?user=ann&password={CANARY}", f"Endpoint=sb://x;SharedAccessKey={CANARY}=;EntityPath=x",
        f"SharedAccessSignature sr=x&sig={CANARY}&se=1", f"https://a.blob.core.windows.net/c?sv=2020&sig={CANARY}%3D",
        f'"private_key": "-----BEGIN PRIVATE KEY-----\\n{CANARY}\\n-----END PRIVATE KEY-----\\n"',
        f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n{CANARY}\n-----END PGP PRIVATE KEY BLOCK-----",
        f'{{"Authorization": "Bearer {CANARY}"}}', f'{{"header": ["Bearer", "{CANARY}"]}}', f"bearer {CANARY}",
        f"Authorization:Bearer\\ {CANARY}",
    ]), *(SAID := [
        f"PASSWORD is set to {CANARY}", f"TOKEN2={CANARY}", f"dbpass={CANARY}",
        f"passwd {CANARY}", f"PASSWORD {CANARY}", f"the password is {CANARY}", f"['mysql', 'passwd', '{CANARY}']",
        f"auth=('ann', '{CANARY}')", f'HTTPBasicAuth("ann", "{CANARY}")', f"auth={CANARY}", f"x(auth='{CANARY}')",
        f"token={CANARY}", f"{{'auth': '{CANARY}'}}", f'{{"token": "{CANARY}"}}',
    ]),
]  # fmt: skip
HARMLESS = [
    "axes.tokens=[1000,2000]", "recipe.data.token=5", "tokens_per_step=12", "site.workers=8", "s3://bucket/a@b/c",
    "axes.x.linear=[-1,1,101]", "results/key=value", "--out results/x", "key: 3f2a", "recipe.net.keys=4",
    "recipe.optimizer.learning_rate=0.1", "monkey=1", "https://host:80/path?page=2", "signal=fast", "design=a",
    "--site my_slurm.yaml", "author=ann", "password=$PASSWORD", "token=$TOKEN", "auto", "a.b@c.d", "author: me",
    "bypass=fast", "forward_pass=3", "password=$(cat file)",
    *(ORDINARY := [
        "optimizer: sgd, learning_rate=0.1, momentum: 0.9, weight_decay=1e-4, betas=(0.9, 0.999)", "100%25 done at 5%",
        "Basic training loop failed", "Digest mismatch: expected 3f2a", "Digest sha256=abcdef, size=12", "%3D%26%zz",
        "the Bearer token is missing", "Bearer authentication is required", "s3://bucket/a%20b/c%2Fd",
        "access_tokens=[1]",
        "https://host/x?page=2&tokens=5&q=a%3Db", "jdbc:sqlite:file.db", "jdbc:oracle:thin:@host:1521:x",
        "results/token_files/part-0001.parquet", "AWS4-HMAC-SHA256 is not supported", "session_tokens=5 secret-less",
        "auth=basic", "auth = Digest", "password authentication failed for user ann", "the password is wrong",
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)", "user.name%40host",
    ]),
]  # fmt: skip


def words(text: str) -> list[str]:
    """As a shell gives them; text that is no command is one word."""
    return shlex.split(text) if text.startswith(("-", "curl")) and "BEGIN" not in text else [text]


@pytest.mark.parametrize("text", TEXTS)
def test_every_form_of_a_credential_is_removed(text: str) -> None:
    for shown in (redacted(text), redacted(f"before {text} after"), " ".join(redacted_words(words(text)))):
        assert CANARY not in shown and "a1B2a1B2" not in shown and "0f0f0f" not in shown and "EXAMPLE" not in shown
    assert redacted(redacted(text)) == redacted(text), "twice is once"
    assert holds_credentials({"a": [text]})


@pytest.mark.parametrize(
    "text",
    [
        f"--token={CANARY}", f"Command 'curl --token={CANARY} x' returned 1", f"['curl', '--api-key={CANARY}']",
        f"--api-key='{CANARY} b'", f"-token={CANARY}", f"--password={CANARY}", f"Authorization: token {CANARY}",
    ],
)  # fmt: skip
def test_options_and_headers_are_removed_from_errors(text: str) -> None:
    assert CANARY not in redacted_error(text) and redacted_error(redacted_error(text)) == redacted_error(text)
    code = "y = embed(x, token=token) --tokens=5 --max-tokens=9"
    assert redacted_error(f"{code} {text}").startswith(code)


@pytest.mark.parametrize("text", [*PASSWORDS, *MARKED, *SAID])
def test_passwords_of_any_signs_are_removed_from_errors(text: str) -> None:
    assert CANARY not in redacted_error(f"at {text} there")


NAMES = [
    "aws_session_token", "aws_secret_access_key", "AWS_SESSION_TOKEN", "sessionToken", "SecretAccessKey", "AccountKey",
    "SharedAccessKey", "SharedAccessSignature", "db_password", "clientSecret", "private_key", "access_token",
]  # fmt: skip
SYNTAXES: dict[str, Callable[[str, str], str]] = {
    "ini": lambda name, value: f"[default]\n{name} = {value}\nregion = x",
    "variable": lambda name, value: f"export {name}={value}",
    "yaml": lambda name, value: yaml.safe_dump({"a": {name: value}, "b": 1}),
    "json": lambda name, value: json.dumps({"region": "x", name: value, "b": [1]}),
    "json in json": lambda name, value: json.dumps(json.dumps({name: value})),
    "python": lambda name, value: repr({"x": 1, name: value}),
    "address": lambda name, value: f"https://h/x?a=1&{name}={quote(value, safe='')}&b=2",
    "encoded": lambda name, value: quote(f"https://h/?{name}={value}", safe=""),
    "encoded twice": lambda name, value: quote(quote(f"https://h/?{name}={value}", safe=""), safe=""),
    "jdbc": lambda name, value: f"jdbc:sqlserver://h:1;user=sa;{name}={value};x=1",
    "option": lambda name, value: f"run --{name} {value} --lr 0.1",
}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_secrets_are_removed_in_any_syntax(syntax: str, seed: int) -> None:
    draw = random.Random(seed)
    signs = "".join(draw.choices("abcXYZ019+/=_.~-", k=draw.randint(0, 20)))
    place = draw.randint(0, len(signs))
    for name in NAMES:
        text = SYNTAXES[syntax](name, signs[:place] + CANARY + signs[place:])
        for remove in (redacted, redacted_error):
            shown = remove(f"before {text} after")
            assert CANARY not in shown and shown.startswith("before ") and shown.endswith(" after"), text
            assert remove(shown) == shown, "twice is once"


CODE = [
    'File "/home/u/token.py", line 3, in f\n    token = self.embed(token)', "  File 'a.py'\n    f(token=embed2(y))",
    "unknown token: Linear2d", "token=hello", "token=None, auth=session.auth",
]  # fmt: skip


@pytest.mark.parametrize("text", [*ORDINARY, *CODE])
def test_what_is_no_credential_stays_in_errors(text: str) -> None:
    assert redacted_error(text) == text


@pytest.mark.parametrize("word", ["--db-password=a b {}", "command.env.TOKEN=a,{}", "fixed.secrets=[a, {}]"])
def test_a_word_is_removed_to_its_end(word: str) -> None:
    (kept,) = redacted_words([word.format(CANARY)])
    assert kept == word.partition("=")[0] + "=..."


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redacted(text) == text
    assert redacted_words(text.split()) == text.split()


def test_names_of_secrets() -> None:
    assert all(map(is_secret_name, ("password", "DB_PASSWORD", "x-api-key", "sig", "AUTH_TOKEN", "client.secret")))
    assert not any(map(is_secret_name, ("tokens", "design", "signal", "author", "monkey", "keys", "max_tokens")))


SECTIONS: dict[str, dict[str, Any]] = {
    "slurm": {"type": "slurm"},
    "ssh": {"type": "ssh", "hosts": ["a"]},
    "rayjobs": {"type": "rayjobs"},
    "rayjobs shared": {"type": "rayjobs", "shared": True},
    "kuberay": {"type": "kuberay", "image": "x"},
    "autoscaler": {
        "type": "ray-autoscaler", "provider": "aws", "region": "r", "head_machine": "h", "worker_machine": "w",
    },
}  # fmt: skip
PLACES: dict[str, Callable[[dict[str, Any], list[str]], None]] = {
    "tracking's user": lambda site, words: site.update(tracking=f"http://ann:{CANARY}@host:5000"),
    "tracking's parameter": lambda site, words: site.update(tracking=f"http://host:5000?token={CANARY}"),
    "a variable": lambda site, words: site.update(runtime_env={"env_vars": {"ANY_NAME": CANARY}}),
    "an index": lambda site, words: site.update(runtime_env={"pip": [f"--index-url=https://u:{CANARY}@host/", "x"]}),
    "a shell line": lambda site, words: site["launcher"].update(setup=[f"export WANDB_API_KEY={CANARY}"]),
    "an option": lambda site, words: site["launcher"].update(options=["-p", f"--password={CANARY}"]),
    "the launcher's variable": lambda site, words: site["launcher"].update(
        runtime_env={"env_vars": {"ANY_NAME": CANARY}, "working_dir": f"https://u:{CANARY}@host/x.zip"}
    ),
    "the command's variable": lambda site, words: words.append(f"site.runtime_env.env_vars.X={CANARY}"),
    "the command's address": lambda site, words: words.append(f"site.tracking=https://u:{CANARY}@host"),
    "a chat": lambda site, words: site.update(notify=f"https://discord.com/api/webhooks/1234567890/{CANARY * 2}"),
    "a notifier": lambda site, words: site.update(notify=f"curl -H 'Authorization: Bearer {CANARY}' https://host"),
    "the command's chat": lambda site, words: words.append(f"site.notify=https://ntfy.sh/{CANARY}"),
    "a user of a shell line": lambda site, words: site["launcher"].update(setup=[f"curl -u :{CANARY} https://host"]),
    "the command's option": lambda site, words: words.extend(["--token", CANARY]),
}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", SECTIONS)
def test_no_file_of_a_launch_holds_a_secret(
    tmp_path: Path, name: str, seed: int, monkeypatch: pytest.MonkeyPatch, state_home: Path
) -> None:
    """A secret in random places of site and command: it is refused, or stands in the private file and nowhere else."""
    draw = random.Random(seed)
    chosen = [list(PLACES)[seed % len(PLACES)], *draw.sample(list(PLACES), draw.randint(0, 2))]
    site: dict[str, Any] = {"launcher": dict(SECTIONS[name]), "tracking": "none.db"}
    typed = ["submit", "spec.yaml"]
    for place in chosen:
        PLACES[place](site, typed)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(FUNCTION))
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    results, state = tmp_path / "results", tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    try:
        launcher, launch = draft(
            tmp_path / "spec.yaml", [], str(tmp_path / "site.yaml"), str(results), redacted_words(typed), offline=True
        )
        launch = claim(keep_private(launcher, launch).model_copy(update={"home": f"{results}/jobs/0001"}))
    except UsageError as e:
        assert CANARY not in str(e) or "launcher" in str(e)
        assert not results.exists()
        return
    for file, text in launcher.files(launch).items():
        write_private(launch.file(file), text)
    record(launch, "7", launcher)
    shown = launcher.dry_run(launch) + launch.text() + repr(launch)
    assert CANARY not in shown
    for path in results.rglob("*"):
        assert path.is_dir() or CANARY not in path.read_text(), path
        assert path.is_dir() or path.name == "job.json" or stat.S_IMODE(path.stat().st_mode) == 0o600, path
    kept = [p for p in state.rglob("*.json") if CANARY in p.read_text()]
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 and not p.stat().st_mode & 0o077 for p in kept)
    if launch.private_file:
        given = parse_site({**launch.site, **private_fields(launch)}, "test")
        assert (given.tracking, given.runtime_env) == (site["tracking"], site.get("runtime_env", {}))


@pytest.mark.parametrize("name", ["kuberay", "rayjobs", "autoscaler"])
def test_no_manifest_holds_the_address_of_a_chat(tmp_path: Path, name: str) -> None:
    site = {"launcher": SECTIONS[name], "tracking": "off", "notify": f"https://chat.example/hook/{CANARY}"}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(FUNCTION))
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    launcher, launch = draft(tmp_path / "spec.yaml", [], str(tmp_path / "site.yaml"), "s3://b/x", [], offline=True)
    assert CANARY not in launcher.dry_run(launch) + launch.text()
    with pytest.raises(UsageError, match=r"site\.notify: .* can name a command there"):
        keep_private(launcher, launch)


def test_a_dry_run_prints_no_secret(tmp_path: Path) -> None:
    site = {"launcher": {"type": "slurm", "setup": [f"export WANDB_API_KEY={CANARY}"]}}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(FUNCTION))
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    done = command("submit", tmp_path / "spec.yaml", "--site", tmp_path / "site.yaml", "--dry-run", cwd=tmp_path)
    assert done.returncode == 2 and "launcher.setup" in done.stderr and CANARY not in done.stdout + done.stderr


def test_no_file_of_a_run_holds_a_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(variable, CANARY)
    (tmp_path / "site.yaml").write_text(
        yaml.safe_dump({"executor": "local", "runtime_env": {"env_vars": {"A": CANARY}}})
    )
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(FUNCTION))
    results = tmp_path / "out/small"
    words = ("--site", tmp_path / "site.yaml", "--out", results)
    done = command("run", tmp_path / "spec.yaml", f"site.runtime_env.env_vars.B={CANARY}", *words, cwd=tmp_path)
    assert done.returncode == 0 and "MLflow run" in done.stderr, done.stderr
    again = [command(*w, results, cwd=tmp_path) for w in (("status",), ("verify",), ("report",), ("export-mlflow",))]
    for one in (done, *again):
        assert CANARY not in one.stdout + one.stderr
    files = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert any(p.name == "mlflow.db" for p in files) and any(p.name == "index.html" for p in files)
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    "text",
    [
        f'<add key="password" value="{CANARY}"/>\n<x/>\n</configuration>',
        f"program: error: argument --password: invalid int value: '{CANARY}'",
        f"argument -t/--api-token: invalid choice value: '{CANARY}' (choose from 'a', 'b')",
        f"\x1b[31mCookie: sid={CANARY}",
        f"\x1b[36mpassword\x1b[0m: \x1b[32m{CANARY}\x1b[0m",
        f"\x1b[31mmysql -u root -p{CANARY}",
        f"\x1b[1;31m-u ann:{CANARY}\x1b[K",
        f"\x1b]8;;http://x\x07password\x1b]8;;\x1b\\: {CANARY}",
        f"'\\x1b[31mCookie: sid={CANARY}'",
        f"\x1b[password={CANARY}",
        f"argument --password/-p: invalid choice: '{CANARY}' (choose from 'a', 'b')",
        f"[('Authorization', 'Bearer {CANARY}')]",
        "passwords[0] = " + repr(CANARY),
        f"cfg['password'][0]={CANARY!r}",
        f"{{'name': 'DB_PASSWORD', 'type': 'x', 'value': {CANARY!r}}}",
    ],
)
def test_secrets_among_colours_tags_and_complaints_of_argparse(text: str) -> None:
    assert CANARY not in redacted(text) + redacted_error(text)
    letters = text.replace(CANARY, "letmeinplease")
    assert "letmein" not in redacted(letters) + redacted_error(letters)


@pytest.mark.parametrize(
    "text", ["\x1b[31mred\x1b[0m", "echo '\\033[1mhello'", "argument --steps: invalid int value: 'x'"]
)
def test_texts_without_secrets_keep_their_colours(text: str) -> None:
    assert redacted(text) == redacted_error(text) == text
    assert not holds_credentials(text)


@pytest.mark.ray
def test_no_command_line_of_our_own_ray_holds_a_secret(tmp_path: Path) -> None:
    """Every user of a machine can read all command lines."""
    (tmp_path / "mine.py").write_text("import os\ndef f(x): return {'y': len(os.environ['A']) + len(os.environ['B'])}")
    spec = {"kind": "function", "name": "n", "function": "mine:f", "axes": {"x": [1]}}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    given = {"A": CANARY, "B": "${A}" + CANARY, "OMP_NUM_THREADS": "1"}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump({"workers": 1, "runtime_env": {"env_vars": given}}))
    words = [*LANDSWEEP, "run", "spec.yaml", "--site", "site.yaml", "site.tracking=off"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "A": "of the driver"}
    lines: set[str] = set()
    with subprocess.Popen(words, cwd=tmp_path, env=env) as process:
        while process.poll() is None:
            for other in psutil.process_iter():
                with contextlib.suppress(psutil.Error):
                    lines.add(" ".join(other.cmdline()))
            time.sleep(0.01)
    assert process.returncode == 0 and any("setup_worker.py" in line for line in lines)
    assert not [line for line in lines if CANARY in line]
    (row,) = Ledger.open(Store.at(tmp_path / "results/n")).rows().to_pylist()
    assert row["y"] == len(CANARY) + len("of the driver" + CANARY)


LEAKS = [
    f"can't reach http://ann:{CANARY}@host/x", f"GET https://host/x?a=1&X-Amz-Signature={CANARY}&b=2 gave 403",
    f"environment: {{'AWS_SECRET_ACCESS_KEY': '{CANARY}', 'HOME': '/home/ann'}}",
    f"headers: Authorization: Bearer {CANARY}",
    f"(psycopg2) postgresql://ann:{CANARY}@host:5432/db", "no access with hf_" + "a1B2" * 6,
    f"{{'api_key': '{CANARY}'}}", f"Client(api_key={CANARY})",
    f"headers: x-api-key: {CANARY}", f"{{'X-Auth-Token': '{CANARY}', 'Accept': '*/*'}}", f"PRIVATE-TOKEN: {CANARY}",
    f"Authorization: token {CANARY}", f"authorization: bearer {CANARY}", f"{{'Authorization': '{CANARY}'}}",
    f"Cookie: session={CANARY}; x=1", f"Set-Cookie: sid={CANARY}; Path=/", f"https://host/#access_token={CANARY}",
    f"host=h user=u password={CANARY} dbname=d", f"connect(password='{CANARY} b')", f'{{"password": "{CANARY}"}}',
    f"aws_secret_access_key = {CANARY}", f"DefaultEndpointsProtocol=https;AccountKey={CANARY}==;EndpointSuffix=x",
    f"Command 'load --password {CANARY} x' returned 1", f"Command '['load', '--password', '{CANARY}']' returned 1",
    "npm_" + "a1B2" * 9, "pypi-" + "a1B2" * 8, "sk_live_" + "a1B2" * 6, "ya29." + "a1B2" * 8,
    "https://hooks.slack.com/services/T0/B0/" + "a1B2" * 6, "https://discord.com/api/webhooks/12345/" + "a1B2" * 6,
    "https://api.telegram.org/bot123:" + "a1B2" * 8 + "/sendMessage", "dckr_pat_" + "a1B2" * 6, "whsec_" + "a1B2" * 6,
    "SG." + "a1B2" * 6 + "." + "a1B2" * 6,
]  # fmt: skip


def leaky(i: int) -> dict[str, float]:
    token = "no secret"
    raise RuntimeError(LEAKS[i] + f" {token = }")


def test_no_error_of_a_unit_holds_a_secret(tmp_path: Path) -> None:
    """Neither rows nor report nor MLflow; names in source lines stay, for they say where it was."""
    spec = {"kind": "function", "name": "leaky", "function": "tests.attack.test_secrets:leaky"}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**spec, "axes": {"i": {"range": len(LEAKS)}}}))
    words = ("run", tmp_path / "spec.yaml", "--out", tmp_path / "out/r", "site.executor=local")
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 1 and "MLflow run" in done.stderr, done.stderr
    errors = [row["error"] for row in Ledger.open(Store.at(tmp_path / "out/r")).rows().to_pylist()]
    assert len(errors) == len(LEAKS) and all("token = 'no secret'" in error for error in errors)
    texts = [
        *errors,
        done.stderr,
        *(p.read_bytes().decode("latin-1") for p in tmp_path.rglob("out/**/*") if p.is_file()),
    ]
    assert not [text[:200] for text in texts if CANARY in text or "a1B2a1B2" in text]


LONG = [
    "A_B_", "a.b.", "token_", "--a-b-", "X-token-", "eyJ-", "redis", "mysql+", "%41", "a%3D", "Digest nonce=1,",
    "Bearer ", 'Digest nonce="\\', "jdbc:oracle:a:", '\\"',
]  # fmt: skip


def test_long_texts_are_looked_through_in_time() -> None:
    """Were the time to grow with the square of the length, each text would take many minutes."""
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, (120, 120))\n"
        "from landsweep.orchestrator.redaction import redacted, redacted_error\n"
        f"text = ' '.join((t * 60_000)[:60_000] for t in {LONG!r}) + ' password=hunter2'\n"
        "for removed in (redacted, redacted_error): assert removed(text).endswith(' password=...'), removed\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])


@pytest.mark.parametrize("parts", [1, 8, 12])
def test_names_of_many_parts_are_names_of_secrets(parts: int) -> None:
    for name in ("a-" * parts + "password", "password" + "-a" * parts, "A_" * 40 + "PASSWORD"):
        assert is_secret_name(name.replace("A_" * 40, "A_" * parts))
        assert redacted(f"{name}=hunter2") == f"{name}=..."
    assert redacted("--" + "a-" * parts + "password hunter2").endswith("password ...")


@pytest.mark.parametrize(
    "address", ["https://ntfy.sh/{}", "HTTPS://u:{0}@h:80/{0}", "http://[::1]?t={}", "https://h#{}"]
)
@pytest.mark.parametrize(
    "word",
    ["site.notify={}", "site.notify='{}'", 'site.notify="{}"', "site.notify= {}", "site={{notify: {}}}",
     'site={{"notify": "{}"}}', "site.notify=curl -d x {}", "--set=notify={}"],
)  # fmt: skip
def test_of_the_address_of_a_chat_the_host_is_kept(word: str, address: str) -> None:
    (kept,) = redacted_words([word.format(address.format(CANARY))])
    assert CANARY not in kept and "://" in kept and redacted_words([kept]) == [kept]
    assert redacted_words(["site.notify=https://host"]) == ["site.notify=https://host"]
