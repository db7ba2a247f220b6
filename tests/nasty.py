"""Words that shells, YAML, option parsers, templates and terminals like to misread."""

from __future__ import annotations

import random

_CORE = [
    "", " ", "  two  spaces  ", "\t", "\n", "\n\n", "line\nbreak", "ends with newline\n", "\r\n",
    "a\rb", "'", '"', "''", '""', "'\"'\"'", "\\", "\\\\", "\\n", "a\\", "`id`", "$(id)", "${HOME}",
    "$HOME", "$$", "$?", "$((1+1))", "!!", "!", "~", "~root", "*", "?", "[a-z]*", "{a,b}", "/*",
    "../../etc/passwd", ";", "; id", "a;b", "&", "&&", "a & b", "|", "||", "| id", ">", "> /tmp/x",
    ">>", "<", "<(id)", "2>&1", "#", "# comment", "a#b", "-", "--", "-n", "-e", "-rf", "--help",
    "--version", "-x=1", "=", "a=b", "x=1; id", "PATH=/tmp", "==", ":", ": ", "key: value",
    "- item", "[]", "{}", "[1, 2]", "{a: b}", "null", "Null", "~null", "true", "True", "yes", "no",
    "on", "off", "0", "00", "007", "0x1f", "1e3", "1_000", "-1", "+1", "1.0", ".5", "NaN", "inf",
    "!!python", "!!python/object/apply:os.system ['id']", "&anchor", "*alias", "%TAG", "@", "@@",
    "@@1003@@", "`", "|-", ">-", "? a", "2026-11-21", "12:30:45", "0o17", "<<", "<<EOF", "EOF",
    "{{ 1 + 1 }}", "{% if 1 %}", "{{ grains.id }}", "%s", "%n%n", "%(x)s", "{0}", "{}", "$1", "$@",
    "\\1", "<b>", "<script>alert(1)</script>", "&lt;", "--\n--", "\x01", "\x07", "\x08", "\x0b",
    "\x0c", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x7f", "\x80", "\x81\x88", "é", "中文",
    "中文\n换行", "日本語", "😀", "👩‍👩‍👧", "\u202eevil", "\u200b", "\ufeff", "\u2028", "\u00a0", "e\u0301",
    "ﷺ", "ª", "K", "ß", "İ", "ı", "Ａ", "\U0010ffff", "\ud7ff", "\ue000", "\ufffd", "\ufffe",
    "__kwarg__", "__kwarg__=True", "cmd=id", "kwarg={}", "python_shell=True", "VALUE_TRIMMED",
    "om1", "om1 0 0 1 1", "end", "om_env=x", "set --", "exit 1", "eval", "exec", "x" * 5000,
    "'" * 300, "\\" * 301, "$(" * 100,
]  # fmt: skip


def _mixed(count: int, seed: int) -> list[str]:
    dice = random.Random(seed)
    alphabet = "'\"\\`$(){}[];&|<>*?!#~=:-%@, \t\n\r\x01\x1bab1é中😀"
    return ["".join(dice.choices(alphabet, k=dice.randrange(1, 40))) for _ in range(count)]


#: At least 200, always the same.
NASTY_WORDS = _CORE + _mixed(80, seed=1003)

_FRAMES = [
    "{}", "; {}", ";{};", "| {}", "|| {} ||", "&& {} &&", "& {} &", "\n{}\n", "\r\n{}\r\n", "$({})",
    "`{}`", "$(({}))", "'; {}; '", '"; {}; "', "'$({})'", '"`{}`"', "\\'; {}; \\'", "\\$({})",
    "'\"'\"'; {}; '\"'\"'", "<({})", "${{x:-$({})}}", "x=1; {}", "-c {}", "--eval={}", "; {} #",
    "'\n{}\n'", "EOF\n{}\nEOF\n", "\x01'; {}; '", "\udc80'; {}; '", "中'; {}; '文", "!{}", "%0a{}",
    "-oProxyCommand={}", "!unsafe {}", "executable={}", "chdir=/ {}", "cmd={}", "python_shell=True; {}",
    "{{{{ lookup('pipe', '{}') }}}}", "{{{{ salt['cmd.run']('{}') }}}}", "__import__('os').system('{}')",
    "{{% set x = lookup('pipe', '{}') %}}", '!!python/object/apply:os.system ["{}"]',
    "{{{{ cycler.__init__.__globals__.os.system('{}') }}}}", "_raw_params={} _uses_shell=True",
]  # fmt: skip


def nasty_words(count: int) -> list[str]:
    """*count* different words, always the same; bytes that are no UTF-8 stand as lone surrogates."""
    bytes_alone = [bytes([number]).decode("utf-8", "surrogateescape") for number in range(0x80, 0x100)]
    words = dict.fromkeys([*NASTY_WORDS, *bytes_alone, "\udcff\udcfe", "a\udc80b"])
    return list(words | dict.fromkeys(_mixed(2 * count, seed=2026)))[:count]


def canary_words(path: str) -> list[str]:
    """Words that make the file *path* wherever anything on their way runs what it should only carry."""
    commands = (f"touch {path}", f"> {path}", f"cp /etc/passwd {path}")
    return [frame.format(command) for frame in _FRAMES for command in commands]
