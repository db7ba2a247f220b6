"""XML-RPC documents as Func writes and reads them.

Text that XML cannot hold is replaced in results (the host's output may be anything) and refused in arguments.
A carriage return survives. Documents with a DOCTYPE, too deep or too large, are refused.
"""

from __future__ import annotations

import binascii
import gzip
import re
import xmlrpc.client
import zlib
from collections.abc import Sequence
from typing import Any
from xml.parsers import expat

from .errors import MalformedMessage

#: Bytes of the longest document that is read, packed or not.
MOST_BYTES = 64 * 1024 * 1024
#: Replies longer than this are packed for who understands it.
PACK_FROM = 1400
_MOST_DEPTH = 64
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_RUBBISH = (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, binascii.Error)


def _escaped(text: str) -> str:
    """*text* as content of an element; a bare carriage return would be read as the end of a line."""
    return xmlrpc.client.escape(text).replace("\r", "&#13;")


class _Marshaller(xmlrpc.client.Marshaller):
    """Writes text that every XML parser reads; *strict* refuses what would not arrive as it is."""

    dispatch = dict(xmlrpc.client.Marshaller.dispatch)  # noqa: RUF012 -- as its parent has it

    def __init__(self, strict: bool) -> None:
        super().__init__(allow_none=True)
        self._strict = strict

    def _clean(self, text: str) -> str:
        if not _ILLEGAL.search(text):
            return text
        if self._strict:
            raise ValueError("The text holds characters that XML can't carry; send it as Binary.")
        return _ILLEGAL.sub("\ufffd", text)

    def _dump_text(self, value: str, write: Any) -> None:
        write(f"<value><string>{_escaped(self._clean(value))}</string></value>\n")

    def _dump_struct(self, value: dict[Any, Any], write: Any) -> None:
        cleaned = {self._clean(key) if isinstance(key, str) else key: item for key, item in value.items()}
        super().dump_struct(cleaned, write, _escaped)

    dispatch[str] = _dump_text  # type: ignore[assignment]
    dispatch[dict] = _dump_struct  # type: ignore[assignment]


def write_request(method: str, arguments: Sequence[Any]) -> bytes:
    """A call.

    Raises:
        ValueError: text that XML can't carry, or what goes in circles.
        TypeError, OverflowError: a value that XML-RPC has no form for.
    """
    params = _Marshaller(strict=True).dumps(tuple(arguments))
    name = xmlrpc.client.escape(method)
    text = f"<?xml version='1.0'?>\n<methodCall>\n<methodName>{name}</methodName>\n{params}</methodCall>\n"
    return text.encode()


def write_result(value: Any) -> bytes:
    """A result. Raises TypeError or OverflowError for what XML-RPC has no form for."""
    params = _Marshaller(strict=False).dumps((value,))
    return f"<?xml version='1.0'?>\n<methodResponse>\n{params}</methodResponse>\n".encode()


def write_fault(code: int, text: str) -> bytes:
    """A refusal."""
    fault = _Marshaller(strict=False).dumps(xmlrpc.client.Fault(code, text))
    return f"<?xml version='1.0'?>\n<methodResponse>\n{fault}</methodResponse>\n".encode()


def read_request(document: bytes) -> tuple[str, list[Any]]:
    """The method's name and the arguments.

    Raises:
        MalformedMessage: that is no call.
    """
    method, values = _read(document)
    if not method:
        raise MalformedMessage("This is no XML-RPC call.")
    return method, list(values)


def read_reply(document: bytes) -> Any:
    """The result.

    Raises:
        MalformedMessage: that is no reply.
        xmlrpc.client.Fault: the other side refuses.
    """
    method, values = _read(document)
    if method or len(values) != 1:
        raise MalformedMessage("This is no XML-RPC reply.")
    return values[0]


def _read(document: bytes) -> tuple[str | None, tuple[Any, ...]]:
    if len(document) > MOST_BYTES:
        raise MalformedMessage(f"The document is longer than {MOST_BYTES} bytes.")
    target = xmlrpc.client.Unmarshaller()
    try:
        _parse(document, target)
        return target.getmethodname(), target.close()
    except xmlrpc.client.Fault:
        raise
    except (expat.ExpatError, xmlrpc.client.ResponseError, *_RUBBISH) as error:
        raise MalformedMessage(f"{type(error).__name__}: {error}") from error


def _parse(document: bytes, target: xmlrpc.client.Unmarshaller) -> None:
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > 4 * _MOST_DEPTH:  # four elements for one array in another
            raise MalformedMessage("The document is nested too deeply.")
        target.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        target.end(tag)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = target.data
    target.xml(None, None)  # type: ignore[arg-type]  # the parser decodes
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.Parse(document, True)


def _refuse_doctype(*_: Any) -> None:
    raise MalformedMessage("A document with a DOCTYPE is not read.")


def pack(document: bytes) -> bytes:
    """The document in gzip form."""
    return gzip.compress(document, compresslevel=1, mtime=0)


def unpack(packed: bytes) -> bytes:
    """What `pack` packed.

    Raises:
        MalformedMessage: it is no gzip, cut off, or too large when unpacked.
    """
    unzip = zlib.decompressobj(wbits=31)
    try:
        plain = unzip.decompress(packed, MOST_BYTES + 1)
    except zlib.error as error:
        raise MalformedMessage(f"The packed document can't be unpacked: {error}.") from error
    if len(plain) > MOST_BYTES or not unzip.eof:
        raise MalformedMessage("The packed document is cut off or too large.")
    return plain
