"""A job's results as the HTML fragment of 2014, with everything that hosts printed escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from typing import Any

#: The states of a host that programs of 2014 are told as 成功; they know no third word.
_GOOD = ("ok", "skipped")
_CUT = "<br>[...]"
#: Characters that move the cursor, ring the bell or turn the text around; line ends and tabs stay.
_HOSTILE = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if code not in (9, 10)}
_HOSTILE |= dict.fromkeys((*range(0x202A, 0x202F), *range(0x2066, 0x206A)), "\ufffd")


def fragment(answer: Mapping[str, Any], most: int) -> str:
    """What ``runcommands`` answered, host by host, in at most about *most* bytes.

    A module that answered one text for the whole run is answered with that text.
    """
    results: Sequence[Mapping[str, Any]] = answer["results"]
    share = most // max(1, len(results))
    message = _message(results)
    if message:
        return escaped(message, most)
    return "".join(_host(result, answer, share) for result in results)


def escaped(text: str, most: int) -> str:
    """*text* as HTML: nothing in it is markup, line ends are ``<br>``. Cut, with a mark, to *most* bytes."""
    text = text.replace("\r\n", "\n").translate(_HOSTILE)
    shown = _markup(text)
    while (size := len(shown.encode())) > most and text:
        text = text[: min(len(text) - 1, len(text) * most // size)]
        shown = _markup(text) + _CUT
    return shown


def _markup(text: str) -> str:
    return html.escape(text.rstrip("\n")).replace("\n", "<br>")


def _message(results: Sequence[Mapping[str, Any]]) -> str:
    """The one text of a module that answered no dict, else ``""``; see `registry.oldstyle`."""
    texts = {
        _text(result, "stdout")
        for result in results
        if result["reason"].startswith("The module answered one")
    }
    whole = len(texts) == 1 and all(result["state"] == "unknown" for result in results)
    return texts.pop() if whole else ""


def _host(result: Mapping[str, Any], answer: Mapping[str, Any], share: int) -> str:
    good = result["state"] in _GOOD
    head = f"<b>{html.escape(result['ip'] or result['host'])}</b> 运行状态 {'成功' if good else '失败'}<br>"
    lines = [_text(result, "stdout"), _text(result, "stderr")]
    if not good or not any(lines):
        lines.insert(0, _why(result, answer))
    text = "\n".join(line.rstrip("\r\n") for line in lines if line)
    body = escaped(text, max(0, share - len(head.encode())))
    return f"{head}{body}<br>"


def _why(result: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    if not answer["done"]:
        return f"Job {answer['job']} is not done: this host is {result['state']}. The job goes on."
    return "" if result["state"] == "ok" else f"{result['state']}: {result['reason']}".removesuffix(": ")


def _text(result: Mapping[str, Any], stream: str) -> str:
    return base64.b64decode(result[stream]).decode("utf-8", "replace")
