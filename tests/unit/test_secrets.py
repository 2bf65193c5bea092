"""Secrets: how one is named and found, and that its value stays out of every output."""

from __future__ import annotations

import base64
import copy
import json
import logging
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tiforge import Secret, Settings, conceal
from tiforge import secrets as module
from tiforge.secrets import REDACTED, EnvironmentResolver, FileResolver, default_resolvers, redact, resolving

VALUE = 'p@ss/w"ord\\with żółć & 100%'


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no secret remembered: what one test conceals is not another's business."""
    monkeypatch.setattr(module, "_kept", {})
    monkeypatch.setattr(module, "_recent", {})


class Sample(Settings):
    secret: Secret
    other: Secret | None = None


class Vault:
    scheme = "keyvault"

    def resolve(self, reference: str) -> str:
        return f"value at {reference}"


@pytest.mark.parametrize(
    "written",
    [
        VALUE, quote(VALUE), quote(VALUE, safe=""), quote_plus(VALUE), json.dumps(VALUE), json.dumps([VALUE]),
        json.dumps(VALUE, ensure_ascii=False), repr(VALUE), repr([VALUE]), urlencode({"client_secret": VALUE}),
        f"https://user:{quote(VALUE, safe='')}@example.com/",
    ],
)  # fmt: skip
def test_a_secret_is_taken_out_however_it_is_written(written: str) -> None:
    """In a URL, a form, JSON or a `repr` a secret is spelled otherwise, and is still taken out."""
    conceal(VALUE)
    shown = redact(f"before {written} after")
    assert REDACTED in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    for part in ("p@ss", "p%40ss", "ord", "100%"):
        assert part not in shown


def test_a_secret_with_a_line_break_is_taken_out() -> None:
    """A value that was copied with its line break is known without it, and as `repr` writes it."""
    conceal("abcdefgh\n")
    assert redact("abcdefgh\n") == REDACTED
    assert redact("header b'abcdefgh\\n'") == f"header b'{REDACTED}'"
    assert redact("the abcdefgh") == f"the {REDACTED}"


@pytest.mark.parametrize("order", [1, -1])
def test_of_secrets_inside_one_another_nothing_is_left(order: int) -> None:
    """A secret that begins with another is taken out whole."""
    for value in ["secret-one", "secret-one-and-more"][::order]:
        conceal(value)
    assert redact("x secret-one-and-more y secret-one z") == f"x {REDACTED} y {REDACTED} z"


def test_of_overlapping_secrets_nothing_is_left() -> None:
    """Where the end of one secret is the beginning of another, both are taken out."""
    conceal("abcdefgh")
    conceal("efghijkl")
    assert redact("-abcdefghijkl-") == f"-{REDACTED}-"
    assert redact("-abcdefghefghijkl-") == f"-{REDACTED}{REDACTED}-"


SECRETS = st.lists(st.text("abc%\"'\\ \n/é", min_size=6, max_size=12), min_size=1, max_size=4)


@given(SECRETS, st.data())
def test_no_secret_is_left_in_any_text(values: list[str], data: st.DataObject) -> None:
    """However secrets lie side by side or over one another, none of them is in the text afterwards."""
    for value in values:
        conceal(value)
    text = "".join(data.draw(st.lists(st.sampled_from([*values, "a", "b", "-", "\n"]))))
    shown = redact(text)
    for value in values:
        assert value not in shown.replace(REDACTED, "\x00")


@given(st.text())
def test_other_text_stays_as_it_is(text: str) -> None:
    """Text without a secret is not changed."""
    conceal("a secret that is not in the text \x00\x01\x02")
    if "a secret" not in text:
        assert redact(text) == text


def test_nothing_is_known_at_first() -> None:
    """Without a secret there is nothing to take out."""
    assert redact("text") == "text"


@pytest.mark.parametrize("value", ["", "a", "test", "12345"])
def test_a_short_value_is_a_word(value: str) -> None:
    """Taking a short word out of every text would garble it all."""
    assert conceal(value).get_secret_value() == value
    assert redact("a test of 12345") == "a test of 12345"


def test_what_is_remembered_does_not_grow() -> None:
    """A daemon is given tokens for ever: the last are remembered, and those of the settings always."""
    Sample(secret="correct-horse-battery")  # type: ignore[arg-type]
    for number in range(2_000):
        conceal(f"token-{number:06}")
    conceal("token-000000")
    assert len(module._recent) == 500
    assert redact("correct-horse-battery token-001999 token-000000") == " ".join([REDACTED] * 3)
    assert redact("token-000001") == "token-000001"


def test_a_token_in_use_is_not_forgotten() -> None:
    """A value that is concealed again counts as the latest."""
    conceal("token-in-use")
    for number in range(2_000):
        conceal(f"token-{number:06}")
        conceal("token-in-use")
    assert redact("token-in-use") == REDACTED


def outputs(settings: Sample) -> Iterator[str]:
    yield repr(settings)
    yield str(settings)
    yield f"{settings.secret}"
    yield f"{settings.secret!r}"
    yield settings.model_dump_json()
    yield str(settings.model_dump())
    yield str(settings.model_dump(mode="json"))
    yield repr(copy.deepcopy(settings))
    yield str(vars(settings))


def test_the_value_is_in_no_output() -> None:
    """A settings model shows asterisks wherever it is printed, logged or dumped."""
    settings = Sample(secret="correct-horse-battery")  # type: ignore[arg-type]
    for shown in outputs(settings):
        assert "correct-horse" not in shown
    assert settings.secret.get_secret_value() == "correct-horse-battery"


def test_settings_are_not_pickled() -> None:
    """A pickle would hold the value as it is, so there is none."""
    with pytest.raises(TypeError, match="never pickled"):
        pickle.dumps(Sample(secret="correct-horse-battery"))  # type: ignore[arg-type]


def test_a_wrong_secret_is_not_shown() -> None:
    """A secret of the wrong kind is refused without being shown."""
    for value in ([b"correct-horse"], 731_731_731, {"env": "correct-horse", "file": "correct-horse"}):
        with pytest.raises(ValidationError) as caught:
            Sample(secret=value)  # type: ignore[arg-type]
        assert "correct-horse" not in str(caught.value)
        assert "731" not in str(caught.value)


def test_a_secret_that_was_read_is_concealed() -> None:
    """From the moment that settings are validated, the value is taken out of every text."""
    Sample(secret="correct-horse-battery")  # type: ignore[arg-type]
    assert redact("the correct-horse-battery leaks") == f"the {REDACTED} leaks"


def test_each_way_to_name_one(tmp_path: Path) -> None:
    """An environment variable, a file and a plugin's scheme give the value, and it is concealed."""
    (tmp_path / "s").write_text("value of the file\n")
    resolvers = {**default_resolvers(tmp_path, {"NAME": "value of the variable"}), "keyvault": Vault()}
    with resolving(resolvers):
        for reference, value in (
            ({"env": "NAME"}, "value of the variable"),
            ({"file": "s"}, "value of the file"),
            ({"file": str(tmp_path / "s")}, "value of the file"),
            ({"keyvault": "https://v/secrets/x"}, "value at https://v/secrets/x"),
            ("the value itself", "the value itself"),
            (SecretStr("wrapped already"), "wrapped already"),
        ):
            settings = Sample(secret=reference)  # type: ignore[arg-type]
            assert settings.secret.get_secret_value() == value


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        (
            "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/x)",
            "https://v.vault.azure.net/secrets/x",
        ),
        (
            " @Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/x/0123abcd) ",
            "https://v.vault.azure.net/secrets/x/0123abcd",
        ),
        ("@Microsoft.KeyVault(VaultName=v;SecretName=x)", "https://v.vault.azure.net/secrets/x"),
        (
            "@Microsoft.KeyVault(VaultName=v;SecretName=x;SecretVersion=0a)",
            "https://v.vault.azure.net/secrets/x/0a",
        ),
    ],
)
def test_app_service_references(reference: str, asked: str) -> None:
    """What Azure App Service writes into a setting names the secret in the vault."""
    with resolving({"keyvault": Vault()}):
        settings = Sample(secret=reference)  # type: ignore[arg-type]
    assert settings.secret.get_secret_value() == f"value at {asked}"


@pytest.mark.parametrize(
    "reference",
    [
        "@Microsoft.KeyVault(", "@Microsoft.KeyVault()", "@Microsoft.KeyVault(SecretUri=http://v/secrets/x)",
        "@Microsoft.KeyVault(SecretName=x)", "@Microsoft.KeyVault(SecretUri=https://v/x",
        "@Microsoft.KeyVault(SecretUri=https://v/x;y)", "@Microsoft.KeyVault(VaultName=v/x;SecretName=y)",
    ],
)  # fmt: skip
def test_a_broken_reference_is_not_sent_as_the_secret(reference: str) -> None:
    """A reference with a slip is refused with both forms, rather than taken for the value."""
    with resolving({"keyvault": Vault()}), pytest.raises(ValidationError, match=r"SecretUri=https.*VaultName"):
        Sample(secret=reference)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ({"vault": "x"}, "'vault' is no way to name a secret here; the installed ones are: env, file"),
        ({}, "a table with one key, one of: env, file"),
        ({"env": "A", "file": "b"}, "a table with one key, one of: env, file"),
        ({"env": 5}, "what 'env' names must be text"),
        ({"env": ["A"]}, "what 'env' names must be text"),
        ({"env": "MISSING"}, "the environment variable MISSING is not set"),
        ({"env": "EMPTY"}, "the environment variable EMPTY is not set"),
        ({"file": "missing"}, "cannot be read: No such file"),
        ({"file": "."}, "cannot be read: Is a directory"),
        ({"file": "empty"}, "is empty"),
        ({"file": "binary"}, "it is no UTF-8 text"),
    ],
)
def test_what_is_wrong_with_a_reference(tmp_path: Path, reference: object, told: str) -> None:
    """A reference that finds nothing says what is missing and what there is."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    resolvers = default_resolvers(tmp_path, {"EMPTY": ""})
    with resolving(resolvers), pytest.raises(ValidationError, match=re.escape(told)):
        Sample(secret=reference)  # type: ignore[arg-type]


def test_without_resolvers_a_reference_finds_nothing() -> None:
    """Outside of a config's validation no scheme is known."""
    with pytest.raises(ValidationError, match="the installed ones are: none"):
        Sample(secret={"env": "HOME"})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "value"),
    [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("a\nb\n", "a\nb")],
)
def test_one_line_break_at_the_end_is_dropped(tmp_path: Path, content: str, value: str) -> None:
    """A file as editors and `echo` write it holds the value and a line break; all else is the value's."""
    (tmp_path / "s").write_bytes(content.encode())
    assert FileResolver(tmp_path).resolve("s") == value


def test_the_environment_is_read_when_it_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without variables of its own a resolver reads the process's environment at that moment."""
    resolver = default_resolvers(tmp_path)["env"]
    monkeypatch.setenv("TIFORGE_TEST_SECRET", "one")
    assert resolver.resolve("TIFORGE_TEST_SECRET") == "one"
    assert EnvironmentResolver({}).scheme == "env"


def test_a_log_line_can_be_redacted(caplog: pytest.LogCaptureFixture) -> None:
    """A secret inside a traceback's text is taken out like any other."""
    conceal("correct-horse-battery")
    with caplog.at_level(logging.ERROR):
        try:
            raise ValueError("correct-horse-battery")
        except ValueError:
            logging.getLogger("test").exception("failed")
    assert "correct-horse-battery" in caplog.text
    assert "correct-horse-battery" not in redact(caplog.text)


def test_the_schema_says_how_a_secret_is_written() -> None:
    """Editors complete the ways to name a secret."""
    schema = Sample.model_json_schema()["properties"]["secret"]
    assert {each["type"] for each in schema["anyOf"]} == {"string", "object"}


def test_basic_credentials_are_concealed_by_their_owner() -> None:
    """What a plugin derives of a secret is concealed by concealing it: `redact` knows no encodings of pairs."""
    pair = base64.b64encode(b"user:correct-horse-battery").decode()
    conceal(pair)
    assert redact(f"Basic {pair}") == f"Basic {REDACTED}"
