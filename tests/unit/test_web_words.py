"""The console's words: each state has its own, and Chinese has all of them."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

import omserver_client.errors as client_errors
from omserver_master.jobs.states import HOST_STATES, JOB_STATES
from omserver_web import icons, words
from omserver_web.frontend import TRANSLATIONS

WEB = Path(icons.__file__).parent
KEYWORDS = {"_": None, "_l": None, "gettext": None, "lazy_gettext": None, "ngettext": (1, 2)}
PLACE = re.compile(r"%\((\w+)\)[sd]")


def used() -> Catalog:
    """Every message that the code and the templates use."""
    catalog = Catalog()
    methods = [("**.py", "python"), ("templates/**.html", "jinja2")]
    found = extract_from_dir(
        WEB, methods, keywords=KEYWORDS, directory_filter=lambda path: Path(path).name != "node_modules"
    )
    for _file, _line, message, _comments, _context in found:
        catalog.add(message)
    return catalog


def chinese() -> Catalog:
    return read_po(BytesIO((TRANSLATIONS / "zh" / "LC_MESSAGES" / "messages.po").read_bytes()))


def first(texts: str | tuple[str, ...]) -> str:
    """A message, or its singular."""
    return texts if isinstance(texts, str) else texts[0]


def test_everything_the_console_says_can_be_said_in_chinese() -> None:
    known = {first(message.id) for message in chinese() if message.id and message.string}
    assert (
        sorted(first(message.id) for message in used() if message.id and first(message.id) not in known) == []
    )


def test_no_translation_is_left_over() -> None:
    wanted = {first(message.id) for message in used() if message.id}
    assert (
        sorted(first(message.id) for message in chinese() if message.id and first(message.id) not in wanted)
        == []
    )


def test_a_translation_fills_in_what_the_original_does() -> None:
    pairs = [(first(message.id), first(message.string)) for message in chinese() if message.id]
    places = [(original, said, sorted(PLACE.findall(original))) for original, said in pairs]
    assert [(original, said) for original, said, held in places if sorted(PLACE.findall(said)) != held] == []


def test_every_state_of_the_master_has_a_word_an_icon_and_a_tone() -> None:
    assert set(words.JOB_STATES) == set(JOB_STATES)
    assert set(HOST_STATES) <= set(words.HOST_STATES)
    for state in (*words.JOB_STATES.values(), *words.HOST_STATES.values()):
        assert state.icon in icons.ICONS


def test_states_of_hosts_are_never_told_apart_by_colour_alone() -> None:
    faces = [(str(state.word), state.icon) for state in words.HOST_STATES.values()]
    assert len({word for word, _ in faces}) == len({icon for _, icon in faces}) == len(faces)


def test_every_error_code_of_the_master_has_a_sentence() -> None:
    codes = {refusal.code for refusal in client_errors.Refused.__subclasses__()}
    assert codes == set(words.ERRORS)


def test_every_icon_is_drawn_somewhere_and_every_drawn_one_is_there() -> None:
    sources = [*WEB.glob("*.py"), *(WEB / "templates").rglob("*.html")]
    text = "\n".join(path.read_text() for path in sources if path.name != "icons.py")
    drawn = {name for name in icons.ICONS if f'"{name}"' in text}
    assert drawn == set(icons.ICONS)
    named = set(re.findall(r'icon\("([a-z0-9-]+)"', text))
    assert named <= set(icons.ICONS)


def test_chinese_is_set_in_its_own_punctuation() -> None:
    mixed = re.compile(r"[\u4e00-\u9fff”][,;:?!()]|[,;:?!()][\u4e00-\u9fff“]|\)s[,;?!]")
    said = [first(message.string) for message in chinese() if message.id]
    assert [text for text in said if mixed.search(text)] == []
