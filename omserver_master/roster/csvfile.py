"""Hosts from a CSV file, whoever wrote it: names of columns, separators and encodings as they come."""

from __future__ import annotations

import codecs
import csv
import re

from omserver_client.errors import BadRequest

from ..store.hosts import STATES
from .incoming import MOST_ROWS, Incoming, checked

#: Our name of a column -> how others call it, in small letters and without blanks, dashes and underscores.
COLUMNS = {
    "name": "name host hostname servername server fqdn 主机名 主机 名称 服务器",
    "address": "address ip ipaddress hostip ansiblehost 地址 ip地址",
    "lip": "lip serverlip innerip internalip privateip lanip 内网ip 内网地址",
    "wip": "wip serverwip outerip externalip publicip wanip 外网ip 外网地址",
    "os": "os serverop system operatingsystem 操作系统 系统",
    "os_family": "osfamily family",
    "categ": "category categ servercateg servercategname function 功能 功能分类 类别 分类",
    "app": "application app appcategname appname 应用 应用分类",
    "connection": "connection way 连接",
    "remote_id": "remoteid id minionid minion certname 远程id",
    "state": "state status 状态",
}
_OURS = {word: ours for ours, words in COLUMNS.items() for word in words.split()}
_SEPARATORS = ",;\t"
_LONGEST_CELL = 1024


def read_csv(body: bytes, connection: str = "") -> list[Incoming]:
    """The hosts of a CSV file, one of each line; a line that cannot be used says why and harms no other.

    *connection* is the way of those lines that have an id but no connection.

    Raises:
        BadRequest: it is no text, has no column for names, or too many lines.
    """
    lines = re.split("\r\n|\r|\n", _text(body))
    head = next((number for number, line in enumerate(lines) if line.strip()), None)
    if head is None:
        raise BadRequest("The file is empty.", field="csv")
    separator = max(_SEPARATORS, key=lines[head].count)
    columns = _columns(_cells(lines[head], separator))
    filled = [(number, line) for number, line in enumerate(lines[head + 1 :], head + 2) if line.strip()]
    if len(filled) > MOST_ROWS:
        raise BadRequest(f"The file has {len(filled)} lines; {MOST_ROWS} are taken at once.", field="csv")
    rows = [_row(number, line, separator, columns, connection) for number, line in filled]
    return [row for row in rows if row is not None]


def _text(body: bytes) -> str:
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        candidates = ["utf-16"]
    else:
        candidates = ["utf-8-sig", "gb18030"]  # the second holds all of GBK
    for encoding in candidates:
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadRequest("The file is neither UTF-8 nor GBK text.", field="csv")


def _cells(line: str, separator: str) -> list[str]:
    """The cells of one line.

    Raises:
        csv.Error: a cell is too long, or a quotation mark is missing.
    """
    (cells,) = csv.reader([line], delimiter=separator, strict=True)
    return [cell.strip() for cell in cells]


def _columns(heads: list[str]) -> list[str]:
    found = [_OURS.get(re.sub(r"[\s_-]", "", head.lower()), "") for head in heads]
    if "name" not in found:
        names = ", ".join(heads)[:200]
        text = f"No column is called name (or host, hostname, server_name); the first line has: {names!r}."
        raise BadRequest(text, field="csv")
    twice = sorted({name for name in found if name and found.count(name) > 1})
    if twice:
        raise BadRequest(f"Two columns mean the same: {', '.join(twice)}.", field="csv")
    return found


def _row(number: int, line: str, separator: str, columns: list[str], connection: str) -> Incoming | None:
    try:
        cells = _cells(line, separator)
    except csv.Error as error:
        return Incoming(number, line[:64], wrong=f"The line cannot be read: {error}.")
    if not any(cells):
        return None
    named = {name: cell for name, cell in zip(columns, cells, strict=False) if name}
    named = {name: cell[:_LONGEST_CELL] for name, cell in named.items()}
    name = named.pop("name", "")
    if any(cells[len(columns) :]):
        return Incoming(number, name, wrong="The line has more cells than the first line has names.")
    remote_id, way = named.pop("remote_id", ""), named.pop("connection", "")
    if remote_id and not way:
        way = connection
    row = Incoming(number, name, ((way, remote_id or name),) if way else (), **named)
    if row.state and row.state not in STATES:
        states = ", ".join(STATES)
        return Incoming(number, name, wrong=f"There is no state {row.state[:64]!r}; there are: {states}.")
    return checked(row)
