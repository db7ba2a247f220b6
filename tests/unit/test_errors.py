"""The tree of errors, and the way a refusal crosses the wire."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import omserver_client
from omserver_client import errors, keyfile, tls
from omserver_client.errors import InternalError, OMServerError, ProtocolError, Refused, UnknownHost

LEAVES = Refused.__subclasses__()
PROTOCOL = Path(__file__).parents[2] / "docs" / "protocol.md"


def drawn() -> set[str]:
    return set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) | {"OMServerError"}


def family(cls: type[OMServerError]) -> set[type[OMServerError]]:
    return {cls}.union(*(family(child) for child in cls.__subclasses__()))


def test_every_error_of_the_client_is_in_the_drawn_tree() -> None:
    modules = {module.__name__ for module in (errors, keyfile, tls)}
    assert {cls.__name__ for cls in family(OMServerError) if cls.__module__ in modules} == drawn()


def test_every_drawn_error_can_be_imported_from_the_package() -> None:
    assert drawn() <= set(omserver_client.__all__)
    assert omserver_client.__all__ == sorted(omserver_client.__all__)


@pytest.mark.parametrize("cls", LEAVES)
def test_a_refusal_survives_the_wire(cls: type[Refused]) -> None:
    sent = cls("Because.", number=7)
    received = Refused.from_wire(sent.to_wire())
    assert (type(received), received.code, received.text, received.details) == (
        cls,
        cls.code,
        "Because.",
        {"number": 7},
    )


def test_codes_are_unique_and_described() -> None:
    codes = [cls.code for cls in LEAVES]
    assert len(set(codes)) == len(codes)
    described = set(re.findall(r"^\| `([a-z_]+)` \| ", PROTOCOL.read_text(encoding="utf-8"), re.MULTILINE))
    assert set(codes) <= described


def test_an_unknown_code_is_still_a_refusal() -> None:
    received = Refused.from_wire({"code": "out_of_coffee", "text": "No coffee.", "details": {}})
    assert (type(received), received.code, str(received)) == (Refused, "out_of_coffee", "No coffee.")


@pytest.mark.parametrize(
    "junk", [None, [], "internal", {}, {"code": 7, "text": ""}, {"code": "x", "text": "y", "details": []}]
)
def test_junk_is_no_refusal(junk: object) -> None:
    with pytest.raises(ProtocolError):
        Refused.from_wire(junk)


def test_an_error_without_words_says_its_first_docstring_line() -> None:
    assert str(InternalError(request="7")) == "The master failed inside; its log says why."
    assert InternalError(request="7").details == {"request": "7"}


def test_builtin_families_catch_ours() -> None:
    with pytest.raises(LookupError):
        raise UnknownHost(hosts=["web-09"])
    with pytest.raises(ConnectionError):
        raise errors.NotReached
