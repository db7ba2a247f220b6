"""The master's sentences in Chinese: each that the console knows is one that the master says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from flask_babel import Babel

import omserver_client
import omserver_master
from omserver_client import NotFound, UnknownHost
from omserver_web import retold

SOURCES = [Path(package.__file__).parent for package in (omserver_client, omserver_master)]


@pytest.fixture
def chinese():
    """A request of somebody who reads Chinese."""
    app = Flask("omserver_web")
    Babel(app, locale_selector=lambda: "zh")
    with app.test_request_context():
        yield


@pytest.fixture
def english():
    """A request of somebody who reads English."""
    app = Flask("omserver_web")
    Babel(app, locale_selector=lambda: "en")
    with app.test_request_context():
        yield


def test_every_sentence_that_is_known_is_one_that_the_master_says() -> None:
    said = "\n".join(path.read_text() for folder in SOURCES for path in folder.rglob("*.py"))
    pieces = {sentence: re.split(r"%\(\w+\)s|[\"'0-9:;,.]", sentence) for sentence in retold.SENTENCES}
    absent = [s for s, parts in pieces.items() if any(part.strip() not in said for part in parts)]
    assert absent == []


def test_what_the_master_says_is_told_again_in_chinese(chinese: None) -> None:
    assert retold.retold("There is no job 9999, or it may not be seen.") == "没有任务 9999，或您无权查看。"
    assert retold.retold("module 1003 on 1 host: me; {}") == "模块 1003，1 台主机：me；{}"
    assert retold.retold("There is no job 1.\nx, or it may not be seen.").startswith("没有任务 1.\nx，")


def test_what_is_not_known_stays_as_it_was_said(chinese: None) -> None:
    assert retold.retold("The moon is full.") == "The moon is full."
    assert retold.audit_detail("note: The moon is full.") == "note: The moon is full."


def test_a_refusal_in_the_audit_is_told_by_its_sentence_or_else_by_its_code(chinese: None) -> None:
    assert retold.audit_detail("unknown_host: Not a host here: zzz.") == "未登记的主机：zzz。"
    assert retold.audit_detail("forbidden: The moon is full.") == "您无权执行此操作。The moon is full."


def test_a_refusal_is_told_by_its_words_with_what_is_filled_in(chinese: None) -> None:
    assert retold.own_words(UnknownHost("Not a host here: zzz.", hosts=["zzz"])) == "未登记的主机：zzz。"
    assert retold.own_words(NotFound("The moon is full.")) == "The moon is full."


def test_english_is_left_as_it_is(english: None) -> None:
    for text in ("unknown_host: Not a host here: zzz.", "module 1003 on 1 host: me; {}", "this machine"):
        assert retold.audit_detail(text) == text
