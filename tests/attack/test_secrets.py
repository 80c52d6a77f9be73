"""Credentials: none in what is stored, shown or handed over."""

from __future__ import annotations

import shlex

import pytest

from orchestrator.redaction import holds_credentials, is_secret_name, redacted, redacted_words

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
    f"curl -u ann:{CANARY} x", f"curl --user=ann:{CANARY} x", "AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 9,
    "hf_" + "a1B2" * 6, "sk-" + "a1B2" * 6, "xoxb-1234567890-abc", "glpat-" + "a1B2" * 5, "dapi" + "0f" * 16,
    "eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl", "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----",
    f"private_key={CANARY}", f"passphrase: {CANARY}", f"site.tracking=http://ann:{CANARY}@host",
    f"recipe.data.args.password={CANARY}", f"PGPASSWORD={CANARY}", f"clientSecret={CANARY}", f"pwd={CANARY}",
]  # fmt: skip
HARMLESS = [
    "axes.tokens=[1000,2000]", "recipe.data.token=5", "tokens_per_step=12", "site.workers=8", "s3://bucket/a@b/c",
    "axes.x.linear=[-1,1,101]", "results/key=value", "--out results/x", "key: 3f2a", "recipe.net.keys=4",
    "recipe.optimizer.learning_rate=0.1", "monkey=1", "https://host:80/path?page=2", "signal=fast", "design=a",
    "--site my_slurm.yaml", "author=ann", "password=$PASSWORD", "token=$TOKEN", "auto", "a.b@c.d", "author: me",
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


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_credential_stays(text: str) -> None:
    assert redacted(text) == text
    assert redacted_words(text.split()) == text.split()


def test_names_of_secrets() -> None:
    assert all(map(is_secret_name, ("password", "DB_PASSWORD", "x-api-key", "sig", "AUTH_TOKEN", "client.secret")))
    assert not any(map(is_secret_name, ("tokens", "design", "signal", "author", "monkey", "keys", "max_tokens")))
