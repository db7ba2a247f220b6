"""The settings of a connection: declared once, and checked, typed and explained from that."""

from __future__ import annotations

import pytest

from omserver_master.backends import KINDS, settings_of
from omserver_master.backends.options import Setting, read_settings
from omserver_master.contract.enginework import Playbook, State
from omserver_master.contract.work import Work, work_from_wire

DECLARED = (
    Setting("url", "Where it listens.", "地址。", required=True),
    Setting("forks", "How many at once.", "并发数。", "number", default=20),
    Setting("verify", "Whether to check.", "是否验证。", "bool", default=True),
    Setting("words", "Options.", "选项。", "words", default=()),
    Setting("key", "The key's file.", "密钥文件。", "path"),
    Setting("mode", "How.", "方式。", "choice", choices=("a", "b")),
)


def test_values_come_in_their_own_types_from_text_or_json() -> None:
    given = {"url": "u", "forks": "5", "verify": "no", "words": "-o x", "key": "/k", "mode": "b"}
    assert read_settings("c", DECLARED, given) == {
        "url": "u",
        "forks": 5,
        "verify": False,
        "words": ("-o", "x"),
        "key": "/k",
        "mode": "b",
    }
    assert read_settings("c", DECLARED, {"url": "u", "words": ["a b"]})["words"] == ("a b",)
    assert read_settings("c", DECLARED, {"url": "u"})["forks"] == 20


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "url is missing. Where it listens."),
        ({"url": "u", "uri": "x"}, "no setting 'uri'; there are: url, forks"),
        ({"url": "u", "forks": "many"}, "forks"),
        ({"url": "u", "forks": "-1"}, "forks"),
        ({"url": "u", "forks": "nan"}, "forks"),
        ({"url": "u", "forks": True}, "forks"),
        ({"url": "u", "verify": "perhaps"}, "yes or no"),
        ({"url": "u", "key": "relative"}, "absolute path"),
        ({"url": "u", "mode": "c"}, "one of a, b"),
        ({"url": 5}, "text"),
        ({"url": "a\0"}, "text"),
        ({"url": "u", "words": [1]}, "words"),
    ],
)
def test_what_is_wrong_is_refused_with_the_names_of_connection_and_setting(
    given: dict[str, object], said: str
) -> None:
    with pytest.raises(ValueError, match="Connection salt-sz: ") as error:
        read_settings("salt-sz", DECLARED, given)
    assert said in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_every_setting_of_every_kind_is_explained_in_both_languages(kind: str) -> None:
    for setting in settings_of(kind):
        assert setting.help.endswith("."), setting
        assert setting.help_zh.endswith("。"), setting


@pytest.mark.parametrize(
    "work",
    [
        State("nginx", {"port": 80}, test=True, timeout=5.0),
        State(["a.b", "c-d"]),
        Playbook("- hosts: all", "/srv", {"a": [1]}, tags=["x"], check=True, diff=True),
    ],
)
def test_work_of_one_engine_survives_the_wire(work: Work) -> None:
    assert work_from_wire(work.to_wire()) == work


@pytest.mark.parametrize("sls", ["", [], "../etc", "a b", "a;b", "-x", "a/b", "a\nb"])
def test_a_name_that_is_no_state_is_refused(sls: str) -> None:
    with pytest.raises(ValueError, match="state is named"):
        State(sls)


def test_a_playbook_needs_text_and_plain_values() -> None:
    with pytest.raises(ValueError, match="empty"):
        Playbook(" \n")
    with pytest.raises(ValueError, match="cannot be sent"):
        Playbook("- hosts: all", extra_vars={"a": object()})
