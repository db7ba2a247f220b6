"""Key files: what is accepted, and what makes a program refuse to start."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from omserver_client.keyfile import (
    PUBLISHED_SECRETS,
    BadKeyFile,
    Key,
    format_key,
    is_weak,
    new_key,
    parse_key,
    read_key,
    write_key,
)

GOOD = new_key("web")


def line(secret: bytes) -> str:
    return f"omserver-key-1 web {GOOD.kid_hex} {base64.b64encode(secret).decode()}"


def test_a_key_written_can_be_read(tmp_path: Path) -> None:
    write_key(tmp_path / "web.key", GOOD)
    assert read_key(tmp_path / "web.key") == GOOD


def test_a_key_file_is_for_its_owner_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o277)
    try:
        write_key(tmp_path / "web.key", GOOD)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "web.key").stat().st_mode) == 0o600


def test_a_key_is_never_overwritten_nor_written_through_a_link(tmp_path: Path) -> None:
    path = tmp_path / "web.key"
    write_key(path, GOOD)
    (tmp_path / "link.key").symlink_to(tmp_path / "elsewhere")
    for target in (path, tmp_path / "link.key"):
        with pytest.raises(FileExistsError):
            write_key(target, new_key("other"))
    assert read_key(path) == GOOD


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o620, 0o601, 0o666])
def test_a_key_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "web.key"
    write_key(path, GOOD)
    path.chmod(mode)
    with pytest.raises(BadKeyFile, match="chmod 600"):
        read_key(path)


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadKeyFile, match=r"web\.key cannot be read: No such file"):
        read_key(tmp_path / "web.key")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "omserver-key-2 " + format_key(GOOD).partition(" ")[2],
        format_key(GOOD) + "more",
        line(GOOD.secret[:31]),
        line(GOOD.secret + b"x"),
        line(b""),
        line(GOOD.secret)[:-2] + "**",
        line(GOOD.secret).replace(GOOD.kid_hex, "12"),
        line(GOOD.secret).replace(" web ", " ../web "),
    ],
    ids=["nothing", "version", "more", "short", "long", "empty", "letters", "number", "name"],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(BadKeyFile):
        parse_key(text)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "web.key"
    path.touch(mode=0o600)
    path.write_bytes(b"\xff" * 5000)
    with pytest.raises(BadKeyFile, match=r"web\.key cannot be used"):
        read_key(path)


@pytest.mark.parametrize("secret", [b"\0" * 32, b"a" * 32, b"ab" * 16, b"password" * 4])
def test_a_secret_that_is_not_random_is_refused(secret: bytes) -> None:
    with pytest.raises(BadKeyFile, match="not random"):
        parse_key(line(secret))


@pytest.mark.parametrize("secret", sorted(PUBLISHED_SECRETS))
def test_the_published_secrets_are_refused_whole_and_cut(secret: str) -> None:
    raw = secret.encode()
    assert is_weak(raw)
    for cut in (raw[:32], raw[-32:]):
        with pytest.raises(BadKeyFile, match="published"):
            parse_key(line(cut))


def test_new_keys_are_good_and_different() -> None:
    keys = [new_key("web") for _ in range(50)]
    assert len({key.kid for key in keys}) == len({key.secret for key in keys}) == 50
    assert all(parse_key(format_key(key)) == key for key in keys)


def test_a_secret_is_not_shown_by_repr() -> None:
    key = Key("web", b"12345678", b"hush" * 8)
    assert "hush" not in repr(key)
