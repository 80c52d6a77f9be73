"""Secrets under their names, in the syntaxes of programs, shells, files and sentences: none is left, sentences are."""

from __future__ import annotations

import json
import pprint
import random
import string
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import pytest
import yaml
from pydantic import BaseModel, Field

from landsweep.orchestrator.faults import LONGEST_ERROR, without_middle
from landsweep.orchestrator.redaction import holds_credentials, redacted, redacted_error, redacted_words
from landsweep.orchestrator.storage.ledger import Ledger, Store
from tests.attack.folders import command

CANARY = "cAnArY7xq"
NAMES = [
    "password", "Passwd", "aws_session_token", "aws_secret_access_key", "DB_PASSWORD", "sessionToken", "AccountKey",
    "SharedAccessSignature", "client_secret", "private_key", "api-key", "passphrase",
]  # fmt: skip
WORD = "abcXYZ019+/=_.~-"
ANY = string.ascii_letters + "0189'\"\\()[]{}<>,;:&|$#@! \t"
QUOTED: dict[str, Callable[[str, str], str]] = {  # the value may hold any sign
    "bytes": lambda name, value: repr({"x": 1, name: value.encode(), "y": 2}),
    "call": lambda name, value: f"Config(user='a', {name}=SecretStr({value!r}))",
    "calls in calls": lambda name, value: f"Config({name}=Secret(tags=['a', (1, 'b')], value={value!r}), user='a')",
    "attribute of a call": lambda name, value: f"connect({name}=Secret({value!r}).get(), user='a')",
    "list": lambda name, value: repr({name: ["a", value], "y": 1}),
    "dict": lambda name, value: repr({name: {"value": value, "more": ["x"]}, "y": 1}),
    "indented JSON": lambda name, value: json.dumps({"a": {name: {"b": [value, "x"]}, "y": 1}}, indent=2),
    "JSON in lines": lambda name, value: json.dumps({"a": {name: {"b": [value, "x"]}, "y": 1}}, indent=0),
    "JSON in JSON": lambda name, value: json.dumps(json.dumps({name: [value], "y": 1})),
    "JSON in JSON in JSON": lambda name, value: json.dumps(json.dumps(json.dumps({name: value, "y": 1}))),
    "Python in JSON": lambda name, value: json.dumps(repr({name: value, "y": 1})),
    "printed in columns": lambda name, value: pprint.pformat({name: [value, "x" * 60, "y" * 60], "z": 1}),
    "pairs": lambda name, value: repr([("user", "ann"), (name, value)]),
    "lists of two": lambda name, value: json.dumps([["user", "ann"], [name, value]]),
    "item": lambda name, value: f"os.environ['{name}'] = {value!r}",
    "annotation": lambda name, value: f"def f(user: str, {name}: str | None = {value!r}) -> None:",
    "sum": lambda name, value: f"connect({name}='a' + {value!r})",
    "name and value": lambda name, value: repr({"env": [{"name": name, "value": value}]}),
    "list of words": lambda name, value: repr(["x", f"--{name}", value, "y"]),
    "option with a sign": lambda name, value: f"x --{name}={value!r} y",
    "option and bytes": lambda name, value: repr((b"x", f"--{name}".encode(), value.encode())),
    "sentence": lambda name, value: f"the {name} is {value!r}, and so on",
    "pydantic": lambda name, value: (
        f"1 validation error for S\n{name}\n  String should be short [type=string_too_long, input_value={value!r}, "
        "input_type=str]"
    ),
    "arrow": lambda name, value: f"{{:user => 'a', :{name} => {json.dumps(value)}}}",
}  # fmt: skip
PLAIN: dict[str, Callable[[str, str], str]] = {  # the value is a word
    "arrow": lambda name, value: f"{name} => {value} x",
    "thin arrow": lambda name, value: f"{name} -> {value} x",
    "assigned": lambda name, value: f"{name} := {value} x",
    "equal": lambda name, value: f"{name} == {value} x",
    "not equal": lambda name, value: f"{name} != {value} x",
    "raw": lambda name, value: f"{name} = r'{value}' x",
    "formatted": lambda name, value: f"f({name}=f'{value}', x=1)",
    "apostrophe": lambda name, value: f"{name}='it's {value}' x",
    "ampersand": lambda name, value: f"login {name}=a&b{value} x",
    "form": lambda name, value: f"a=1&{name}={value}&b=2 x",
    "block": lambda name, value: f"a:\n  {name}: |\n    x y {value}\n\n    {value}\n  b: 1\nx",
    "folded": lambda name, value: f"\n- {name}: >-\n    {value}\n- x",
    "below": lambda name, value: f"{name}:\n  {value}\nx",
    "list": lambda name, value: yaml.safe_dump({"a": {name: ["x", value]}, "b": 1}),
    "words": lambda name, value: f"\n  {name}: correct horse {value}\n  b: 1",
    "ini": lambda name, value: f"[a]\n{name} = correct horse {value}\nb = 1",
    "XML": lambda name, value: f"<a><{name}>{escape(value)}</{name}></a>",
    "XML with attributes": lambda name, value: f"<a><x:{name} b='c'>{escape(value)}</x:{name}></a>",
    "XML, the value an attribute": lambda name, value: f"<a {name}={quoteattr(value)}/>",
    "XML, name and value": lambda name, value: f'<add key="{name}" value={quoteattr(value)}/>',
    "XML, entry": lambda name, value: f'<entry key="{name}">{escape(value)}</entry>',
    "netrc": lambda name, value: f"machine h login ann {name} {value}\nmachine i",
    "netrc in lines": lambda name, value: f"machine h\n  login ann\n  {name} {value}\nx",
    "C shell": lambda name, value: f"setenv {name} {value}\nx",
    "variable of a manifest": lambda name, value: f"- name: {name}\n  value: {value}\n- x",
    "escaped blank": lambda name, value: f"{name}=a\\ {value} x",
    "begins with a hyphen": lambda name, value: f"run --{name} -{value} x",
    "address": lambda name, value: f"https://h/x?a=1&{name}={value}#x",
}  # fmt: skip


@pytest.mark.parametrize("syntax", QUOTED)
def test_nothing_is_left_of_a_secret_of_any_signs(syntax: str) -> None:
    for seed in range(20):
        nothing_is_left(random.Random(f"{syntax} {seed}"), QUOTED[syntax], ANY)


@pytest.mark.parametrize("syntax", PLAIN)
def test_nothing_is_left_of_a_secret_that_is_a_word(syntax: str) -> None:
    for seed in range(20):
        nothing_is_left(random.Random(f"{syntax} {seed}"), PLAIN[syntax], WORD)


def nothing_is_left(draw: random.Random, write: Callable[[str, str], str], signs: str) -> None:
    for name in NAMES:
        around = "".join(draw.choices(signs, k=draw.randint(0, 20)))
        place = draw.randint(0, len(around))
        text = write(name, around[:place] + CANARY + around[place:])
        for remove in (redacted, redacted_error):
            shown = remove(f"before {text}\n after")
            assert CANARY not in shown and shown.startswith("before ") and shown.endswith("\n after"), text
            assert remove(shown) == shown, ("twice is once", text)


@pytest.mark.parametrize("seed", range(20))
def test_of_a_text_that_was_cut_nothing_is_left(seed: int) -> None:
    draw = random.Random(seed)
    for write in (QUOTED[syntax] for syntax in QUOTED if syntax != "JSON in lines"):  # lines say nothing there
        name = draw.choice(NAMES)
        text = write(name, "a b " * draw.randint(0, 4) + CANARY + " c d")
        cut = text[: text.index(CANARY) + len(CANARY)]
        if name in cut:
            assert CANARY not in redacted_error(cut) and CANARY not in redacted(cut), cut


USERS = [
    f"curl -u :{CANARY} h", f"curl -u ann:{CANARY} h", f"curl -uann:{CANARY} h", f"curl -u 'ann:a {CANARY}' h",
    f'curl -u "ann:{CANARY}" h', f"curl --user=:{CANARY} h", f"curl --proxy-user ann:{CANARY} h",
    f"Command '['curl', '-u', 'ann:{CANARY}', 'h']' returned non-zero exit status 1.", f"['curl', '-u', ':{CANARY}']",
    f"['curl', '--user=ann:{CANARY}', 'h']", f'["curl", "--user", "ann:{CANARY}"]', f"[b'curl', b'-u', b'a:{CANARY}']",
    f"sshpass -p {CANARY} ssh h", f"sshpass -p'{CANARY} x' ssh h", f"mysql -u root -p{CANARY} db",
    f"['mysql', '-u', 'root', '-p{CANARY}']", f"docker login -u ann -p {CANARY} h",
    f"['docker', 'login', '-p', '{CANARY}']",
    f"https://ann:a/b#{CANARY}@host/x", f"https://ann:a?{CANARY}@host/x", f"proxy ann:{CANARY}@host:3128",
    f"redis://:{CANARY}@host:6379/0", f"amqp://ann:{CANARY}@host", f"_authToken={CANARY}", f"<token>{CANARY}</token>",
    f'{{"token": "{CANARY}"}}', f"token: {CANARY}", f"auth=('ann', '{CANARY}')", f"Password for ann: {CANARY}",
    f"IDENTIFIED WITH PASSWORD '{CANARY}'", f"config set requirepass {CANARY}", f"jwt={CANARY}", f"bindpw: {CANARY}",
    f"ssh_key={CANARY}", f"API key provided: {CANARY}.", f"passwordHash={CANARY}", f"password2={CANARY}",
]  # fmt: skip


@pytest.mark.parametrize("text", USERS)
def test_users_options_and_tokens(text: str) -> None:
    for remove in (redacted, redacted_error):
        shown = remove(f"x {text}")
        assert CANARY not in shown and remove(shown) == shown
    assert holds_credentials([text])


@pytest.mark.parametrize(
    "words",
    [
        ["--password", f"-{CANARY}"], ["--token", f"--{CANARY}"], ["-u", f":{CANARY}"],
        ["--password", "--token", CANARY],
        [f"-uann:{CANARY}"], [f"site.notify=curl -u :{CANARY} h"], [f"site.launcher.setup=[curl -u :{CANARY} h]"],
        ["--auth", f"-{CANARY}", "x"], [f"site={{launcher: {{setup: ['curl -u :{CANARY} h']}}}}"],
    ],
)  # fmt: skip
def test_words_of_a_command(words: list[str]) -> None:
    shown = redacted_words(words)
    assert len(shown) == len(words) and CANARY not in " ".join(shown) and redacted_words(shown) == shown


SENTENCES = [
    "the password is missing", "token count: 5 tokens", "max_tokens=512", "auth = basic", "tokens per second 3.1e4",
    "key: a7f3", "No password was given for ann", "password required", "Enter password:", "KeyError: 'password'",
    "TypeError: f() got an unexpected keyword argument 'password'", "usage: login <user> <password> [options]",
    "--password is required, and --token must be given", "forgot your password? see https://host/help",
    "Access denied for user 'ann'@'host' (using password: YES)", 'password authentication failed for user "ann"',
    "NoCredentialsError: Unable to locate credentials", "botocore: credentials for ann are wrong", "passwords differ",
    "1 validation error for Settings\npassword\n  Field required [type=missing, input_type=dict]",
    "the secret of unit 3f2a9b1c77 is kept", "connect(password, user)", "the token 'the' is in no vocabulary",
    "password must have 8 characters", "unit 3f2a9b1c of row_password, and so on", "a secret key is needed",
    "image: repo/x:v1.2@sha256:0123abcd4567ef", "curl -u ann host", "docker login failed", "docker run -p 80:80 x",
    "python -u train.py", "https://host:8080/x@v1", "ssh://host:org/x@v1", "mailto:ann@host", "row 3: 10:30@noon",
    "401 Client Error: Unauthorized for url: https://host/x", "<token> is unknown; <pad> and <unk> are known",
    "attention (pass 2): loss 0.3", "pass 1 of 3", "for token in tokens:\n    embed(token)", "the cookie was not set",
    "machine learning is fun", "secrets are kept elsewhere", "['user', 'host', 'password'] are the columns",
]  # fmt: skip
CODE = [
    "token = self.embed(token)", "unexpected token: x at 3", "signature: (x, y) -> z", "token: int = 5",
    "{'token': 'hello', 'pos': 3}", "first pass: loss 0.3", "sig: 0.05", "auth = Basic", "cookie=None",
    "token == '</s>'",
    "fe_sendauth: no password supplied", "token=conv2d",
]  # fmt: skip


@pytest.mark.parametrize("text", SENTENCES)
def test_sentences_stay(text: str) -> None:
    for shown in (text, f"ValueError: {text}", f"x\n  {text}\ny"):
        assert redacted_error(shown) == shown == redacted(shown)


@pytest.mark.parametrize("text", CODE)
def test_names_of_networks_and_parsers_stay_in_errors(text: str) -> None:
    assert (
        redacted_error(f'File "/home/ann/token.py", line 3\n    {text}\n')
        == f'File "/home/ann/token.py", line 3\n    {text}\n'
    )


def test_the_error_itself_stays_behind_a_line_that_is_cut() -> None:
    first = '  File "a.py", line 3, in f\n    connect(password='
    rest = '\n  File "b.py", line 5\nValueError: no ('
    assert redacted_error(f"{first}decrypt(key,\n            ^^^^^{rest}") == f"{first}...{rest}"


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_parts_no_secret_from_its_name(seed: int) -> None:
    """The middle of a long error is left out; what is left may begin or end within a secret."""
    draw = random.Random(seed)
    secret = "".join(draw.choices(WORD, k=30)).join([CANARY] * draw.randint(2, 60))
    one = f"{{'password': '{secret}', 'x': 1}} " + "y" * draw.randint(0, 50)
    shown = without_middle(one * (3 * LONGEST_ERROR // len(one) + draw.randint(1, 5)))
    assert len(shown) < LONGEST_ERROR + 100
    assert CANARY not in redacted_error(shown)


LONG = [
    "password=[", "password=[\n", "password: [\n(", "password={\n'", "password='", "password='a'b ", "password=\\\"",
    "password: |\n  ", "password:\n", "<password>", "<password ", "<a key='", "password ", "password is ",
    "('password', ", "password = a = ", "password+", "--password ", "-u :", "-u a:", "mysql -p", "docker login ",
    "machine h ", "login ann ", "name=password value", "password\n  input_value=", "\\", "\\\\'", "'", "[", "\n",
    "secret-", "secret key ", "a:b@", "abcdefgh1:", "://a:b", "://", "password for user a", "token=[", "token='",
    "password: str | ", "password=<", "'password': 'a\\", "password=$(", "password=\\ ", "password\\",
]  # fmt: skip


def calls(text: str) -> int:
    """How many functions are called while credentials are looked for, those written in C among them."""
    count = 0

    def seen(frame: object, event: str, value: object) -> None:
        nonlocal count
        count += 1

    sys.setprofile(seen)
    try:
        redacted_error(text)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("text", LONG)
def test_steps_grow_with_the_length_alone(text: str) -> None:
    short, long = ((text * n)[:n] for n in (3_000, 12_000))
    assert calls(long) < 6 * calls(short) + 5_000  # with the square of the length it would be 16 times


class Settings(BaseModel):
    password: str = Field(max_length=3)


def leaky(i: int) -> dict[str, float]:
    forms = [*QUOTED.values(), *PLAIN.values()]
    if i == len(forms):
        subprocess.run([sys.executable, "-c", "raise SystemExit(3)", "-u", f"ann:{CANARY}"], check=True)
    if i == len(forms) + 1:
        Settings(password=CANARY)
    if i == len(forms) + 2:
        raise ValueError({"user": "ann", "password": CANARY.encode()})
    if i == len(forms) + 3:
        raise ValueError("x" * (LONGEST_ERROR // 4 - 30), {"password": [CANARY] * 3000})
    raise ValueError(forms[i]("password", CANARY))


def test_no_error_of_a_unit_leaves_a_secret_anywhere(tmp_path: Path) -> None:
    """Rows, report, the database of MLflow, `sweep.json` and the terminal; one sweep has a unit for each form."""
    units = len(QUOTED) + len(PLAIN) + 4
    spec = {
        "kind": "function",
        "name": "leaky",
        "function": f"{leaky.__module__}:leaky",
        "axes": {"i": {"range": units}},
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    words = ("spec.yaml", "--out", tmp_path / "out/r", "site.executor=local", f"site.notify=true -u :{CANARY}")
    done = command("run", *words, cwd=tmp_path)
    assert done.returncode == 1 and "MLflow run" in done.stderr, done.stderr
    rows = Ledger.open(Store.at(tmp_path / "out/r")).rows().to_pylist()
    assert len(rows) == units and all(row["status"] == "failed" for row in rows)
    assert [row["error"] for row in rows if CANARY in row["error"]] == []
    shown = [command(*again, tmp_path / "out/r", cwd=tmp_path) for again in (("status",), ("report",))]
    assert all(CANARY not in one.stdout + one.stderr for one in (done, *shown))
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert {"sweep.json", "mlflow.db", "index.html"} <= {path.name for path in files}
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
