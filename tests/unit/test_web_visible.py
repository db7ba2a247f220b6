"""What hosts print is shown as text in which nothing hides."""

from __future__ import annotations

import re
import unicodedata
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omserver_web.times import amount, lasted
from omserver_web.visible import plain, shown, visible, whole_letters

MARKS = re.compile(r"</?span[^>]*>")


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"plain text\twith tab\n", "plain text\twith tab\n"),
        (b"<b>&\"'", "&lt;b&gt;&amp;&#34;&#39;"),
        (b"\x00\x07\x08\x7f", '<span class="ctl">␀</span>'),
        (b"\x1b[1;31m", '<span class="ctl">␛[1;31m</span>'),
        (b"\x1b]0;title\x07", '<span class="ctl">␛]0;title␇</span>'),
        (b"\xff", '<span class="ctl">\\xff</span>'),
        (b"\xc2\x9b31m", '<span class="ctl">\\x9b</span>31m'),
        ("\u202e".encode(), '<span class="ctl">U+202E</span>'),
        ("\u2066x".encode(), '<span class="ctl">U+2066</span>x'),
        ("\u200b".encode(), '<span class="ctl">U+200B</span>'),
        ("\U000e0041".encode(), '<span class="ctl">U+E0041</span>'),
        (b"a\r\nb", "a\nb"),
        (b"50%\r100%", '50%<span class="ctl">␍</span>100%'),
        ("中文 ✓ é".encode(), "中文 ✓ é"),
    ],
)
def test_each_kind_of_hidden_thing_is_shown(printed: bytes, shown: str) -> None:
    assert visible(printed).startswith(shown)


@given(st.text(st.characters(), max_size=200))
def test_text_without_markup_is_shown_in_the_same_way(text: str) -> None:
    shown(text).encode()  # no half of a letter is left
    if text.isascii() and "\r" not in text:
        assert shown(text) == unescape(MARKS.sub("", visible(text.encode())))


def test_a_half_letter_is_shown_by_its_number() -> None:
    assert shown("a\ud800b") == "aU+D800b"


@given(st.binary(max_size=400))
def test_no_byte_can_become_markup_or_stay_hidden(printed: bytes) -> None:
    text = MARKS.sub("", str(visible(printed)))
    assert "<" not in text
    assert ">" not in text
    hidden = [letter for letter in text if unicodedata.category(letter) in ("Cc", "Cf", "Cs")]
    assert set(hidden) <= {"\t", "\n"}


def test_no_character_that_unicode_calls_control_or_format_stays_hidden() -> None:
    hiding = [
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cc", "Cf", "Zl", "Zp")
    ]
    shown = [letter for letter in hiding if "ctl" in visible(letter.encode())]
    assert set(hiding) - set(shown) == {"\t", "\n"}


@given(st.text(max_size=200))
def test_a_line_of_text_is_treated_the_same(text: str) -> None:
    assert plain(text) == visible(text.encode())


def test_half_a_character_that_json_brought_is_shown() -> None:
    assert "\\xed" in plain("\ud800")


@given(st.text(alphabet=st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), max_size=80))
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    shown = unescape(str(visible(text.encode())))
    assert MARKS.sub("", shown) == text or "ctl" in shown


@given(st.text(min_size=1, max_size=40), st.integers(1, 160))
def test_a_cut_never_goes_through_a_letter(text: str, at: int) -> None:
    content = text.encode("utf-8", "replace")
    at = min(at, len(content))
    whole = whole_letters(content[:at])
    whole.decode()
    assert at - len(whole) < 4
    if at == len(content):
        assert whole == content


@given(st.binary(min_size=1, max_size=40))
def test_at_most_three_bytes_are_kept_for_the_next_part(content: bytes) -> None:
    whole = whole_letters(content)
    assert content.startswith(whole)
    assert len(content) - len(whole) < 4


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.04, "0.0 s"),
        (0.84, "0.8 s"),
        (12.4, "12 s"),
        (59.7, "1 min"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float | None, words: str) -> None:
    assert lasted(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"), [(None, "0 B"), (812, "812 B"), (4300, "4.2 KiB"), (5_000_000, "4.8 MiB")]
)
def test_amounts_are_said_in_a_unit_that_fits(count: int | None, words: str) -> None:
    assert amount(count) == words
