"""Parameters: what they accept, what they refuse, and that a description is enough to rebuild them."""

from __future__ import annotations

import contextlib
import datetime
import json
import shlex
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omserver_client.errors import InvalidParam
from omserver_master import Bool, Choice, Choices, Int, Lines, Number, Path, Text, Time
from omserver_master.contract.forms import param_from_wire, read_form, write_form
from omserver_master.contract.mistakes import ModuleMistake
from omserver_master.contract.params import Param
from omserver_master.contract.quoting import render


def named(param: Param, name: str = "p") -> Param:
    param.__set_name__(object, name)
    param.check()
    return param


def refused(param: Param, raw: object) -> str:
    with pytest.raises(InvalidParam) as caught:
        named(param).read(raw)
    assert caught.value.details["param"] == "p"
    assert caught.value.details["reason"] in str(caught.value)
    return caught.value.details["reason"]


ACCEPTED = [
    (Int(maximum=1000), "20", 20, ("20",)),
    (Int(maximum=1000), 20, 20, ("20",)),
    (Int(maximum=1000), "0050", 50, ("50",)),
    (Int(minimum=-5, maximum=5), "-5", -5, ("-5",)),
    (Number(maximum=1), "0.10", Decimal("0.10"), ("0.10",)),
    (Number(maximum=1), 0.5, Decimal("0.5"), ("0.5",)),
    (Choice("a", "b"), "b", "b", ("b",)),
    (Choices("a", "b", "c"), ["c", "a"], ("a", "c"), ("a", "c")),
    (Choices("a", "b", "c"), "c, a", ("a", "c"), ("a", "c")),
    (Text(), "web 01", "web 01", ("web 01",)),
    (
        Text(pattern=".*"),
        'it\'s $(id) `id` "x"; rm',
        'it\'s $(id) `id` "x"; rm',
        ('it\'s $(id) `id` "x"; rm',),
    ),
    (Text(pattern=".*", dash=True), "-rf", "-rf", ("-rf",)),
    (Text(default=""), "", "", ("",)),
    (Lines(), "a\r\nb\n\n", ("a", "b"), ("a", "b")),
    (Lines(), ["a b", "c"], ("a b", "c"), ("a b", "c")),
    (Bool(), "on", True, ("true",)),
    (Bool(yes="--force", no=""), True, True, ("--force",)),
    (Bool(yes="--force", no=""), False, False, ()),
    (Time(), "03:30", datetime.time(3, 30), ("03:30",)),
    (Time(), "03:30:15", datetime.time(3, 30, 15), ("03:30:15",)),
    (Path(), "/var/log/a b", "/var/log/a b", ("/var/log/a b",)),
    (Path(under="/var/log"), "/var/log/syslog", "/var/log/syslog", ("/var/log/syslog",)),
]


@pytest.mark.parametrize(("param", "raw", "value", "words"), ACCEPTED)
def test_a_good_value_is_read_and_becomes_words(
    param: Param, raw: object, value: object, words: tuple[str, ...]
) -> None:
    named(param)
    assert param.read(raw) == value
    assert param.words(value) == words


@pytest.mark.parametrize(("param", "raw", "value", "words"), ACCEPTED)
def test_a_value_survives_the_wire(param: Param, raw: object, value: object, words: Any) -> None:
    named(param)
    wire = json.loads(json.dumps(param.to_wire(value)))
    assert param.read(wire) == value


@pytest.mark.parametrize(("param", "raw", "value", "words"), ACCEPTED)
def test_a_description_rebuilds_the_parameter(param: Param, raw: object, value: object, words: Any) -> None:
    described = json.loads(json.dumps(named(param).describe()))
    rebuilt = param_from_wire(described)
    assert rebuilt.describe() == described
    assert rebuilt.read(raw) == value


REFUSED = [
    (Int(maximum=1000), "0", "from 1 to 1000"),
    (Int(maximum=1000), "1001", "from 1 to 1000"),
    (Int(maximum=1000), "ten", "whole number"),
    (Int(maximum=1000), "1.5", "whole number"),
    (Int(maximum=1000), " 5", "whole number"),
    (Int(maximum=1000), "٥", "whole number"),
    (Int(maximum=1000), "9" * 5000, "whole number"),
    (Int(maximum=1000), True, "whole number"),
    (Int(maximum=1000), "5; reboot", "whole number"),
    (Int(maximum=1000), "-5", "from 1 to 1000"),
    (Number(maximum=1), "nan", "number"),
    (Number(maximum=1), "1e9", "number"),
    (Number(maximum=1), float("inf"), "number"),
    (Choice("a", "b"), "c", "one of: a, b"),
    (Choice("a", "b"), ["a"], "one of"),
    (Choice("a", "b"), "a\n", "one of"),
    (Choices("a", "b"), "a,c", "some of"),
    (Choices("a", "b"), [["a"]], "some of"),
    (Text(), "it's", "pattern"),
    (Text(), 'say "x"', "pattern"),
    (Text(), "a;b", "pattern"),
    (Text(), "$(id)", "pattern"),
    (Text(), "a|b", "pattern"),
    (Text(), "-rf", "begin with"),
    (Text(pattern=".*"), "-rf", "begin with"),
    (Text(pattern="(?s).*"), "a\nb", "control"),
    (Text(pattern="(?s).*"), "a\0b", "control"),
    (Text(pattern=".*"), "\x1b[31m", "control"),
    (Text(pattern=".*"), "\ud800", "control"),
    (Text(pattern="a+"), "aab", "pattern"),
    (Text(max_length=3), "abcd", "at most 3"),
    (Text(), 5, "must be text"),
    (Lines(), "a\n-rf", "begin with"),
    (Lines(), ["a\nb"], "control"),
    (Lines(), ["a", 5], "must be text"),
    (Lines(max_lines=2), "a\nb\nc", "at most 2 lines"),
    (Lines(pattern=".*", max_length=4096), ["x" * 4000] * 8, "in all"),
    (Lines(), "\n\n", "required"),
    (Bool(), "perhaps", "true or false"),
    (Bool(), 1, "true or false"),
    (Time(), "24:00", "time of day"),
    (Time(), "3:30", "time of day"),
    (Path(), "etc/passwd", "absolute"),
    (Path(), "-rf", "absolute"),
    (Path(), "/etc/../shadow", ".."),
    (Path(), "/etc/\0", "one line"),
    (Path(), "/etc/a\nb", "one line"),
    (Path(under="/var/log"), "/var/logs/x", "below /var/log"),
    (Path(under="/var/log"), "/etc/shadow", "below /var/log"),
]


@pytest.mark.parametrize(("param", "raw", "reason"), REFUSED)
def test_a_bad_value_is_refused_with_the_reason(param: Param, raw: object, reason: str) -> None:
    assert reason in refused(param, raw)


@pytest.mark.parametrize("raw", ["", None])
def test_empty_means_the_default_and_without_one_the_value_is_required(raw: object) -> None:
    assert named(Int(default=50, maximum=1000)).read(raw) == 50
    assert refused(Int(maximum=1000), raw) == "is required"


@pytest.mark.parametrize(
    ("param", "reason"),
    [
        (Int(default=5, maximum=3), "its default must be a whole number from 1 to 3"),
        (Text(pattern="("), "no regular expression"),
        (Text(max_length=0), "max_length"),
        (Text(default="$"), "its default must match"),
        (Choice(), "needs words"),
        (Choice("a", "a"), "each once"),
        (Choice("-a"), "no choice"),
        (Choices("a,b"), "no choice"),
        (Path(under="log"), "absolute"),
        (Int(maximum=3, label=5), "labels"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_declaration_names_the_parameter(param: Param, reason: str) -> None:
    with pytest.raises(ModuleMistake, match=reason) as caught:
        named(param)
    assert caught.value.attribute == "p"


def test_labels_fall_back_from_chinese_to_english_to_the_name() -> None:
    plain = named(Int(maximum=3), "how_many").describe()
    assert (plain["label"], plain["label_zh"]) == ("How many", "How many")
    both = named(Int(maximum=3, label="Lines", label_zh="行数", help="h", help_zh="帮助")).describe()
    assert [both[name] for name in ("label", "label_zh", "help", "help_zh")] == ["Lines", "行数", "h", "帮助"]


def test_choices_keep_their_labels() -> None:
    described = named(Choice("a", ("b", "B"), ("c", "C", "丙"))).describe()
    assert described["choices"] == [["a", "a", "a"], ["b", "B", "B"], ["c", "C", "丙"]]


FORM = [named(Int(default=5, maximum=9), "first"), named(Text(default="x"), "second")]


def test_a_form_is_read_by_name_or_by_position() -> None:
    assert read_form(FORM, {"second": "y"}) == {"first": 5, "second": "y"}
    assert read_form(FORM, ["7"]) == {"first": 7, "second": "x"}
    assert write_form(FORM, read_form(FORM, [])) == {"first": "5", "second": "x"}


def test_empty_fields_behind_the_last_parameter_do_not_matter() -> None:
    assert read_form(FORM, ["7", "y", "", ""]) == {"first": 7, "second": "y"}


@pytest.mark.parametrize(("raw", "param"), [({"third": "x"}, "third"), (["1", "2", "3"], "3")])
def test_a_value_that_no_parameter_takes_is_refused(raw: Any, param: str) -> None:
    with pytest.raises(InvalidParam) as caught:
        read_form(FORM, raw)
    assert caught.value.details["param"] == param
    assert "it takes first, second" in caught.value.details["reason"]


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.lists(st.text()), st.binary()))
def test_whatever_comes_in_is_a_value_or_a_refusal(raw: object) -> None:
    for param, _, _, _ in ACCEPTED:
        named(param)
        with contextlib.suppress(InvalidParam):
            assert isinstance(param.words(param.read(raw)), tuple)


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_quoted_words_are_words_again(words: list[str]) -> None:
    assert shlex.split(render("echo", words)) == ["echo", *words]
