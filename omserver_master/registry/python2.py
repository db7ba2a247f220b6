"""What to change in a module that was written for Python 2, said beside Python's own error."""

from __future__ import annotations

import re
from typing import Final

#: A pattern of the line at fault, and what to write there in Python 3.
_LINES: Final = (
    (r"(?:^|[:;])\s*print\b(?!\s*\()", "print is a function: print(...)"),
    (r"^\s*except\b[^:]+,\s*(?:\w+|\(.*\))\s*:", "write: except Exception as e:"),
    (r"(?:^|[:;])\s*exec\b(?!\s*\()", "exec is a function: exec(...)"),
    (r"(?:^|[:;])\s*raise\s+[\w.]+\s*,", 'write: raise ValueError("text")'),
    (r"<>", "write != for <>"),
    (r"`", "write repr(x) for `x`"),
    (r"\b[uU][rR][\"']", "write r'...' for ur'...'"),
    (r"(?<![\w.])0[0-9]+\b", "write 0o777 for 0777"),
    (r"\b(\d+|0[xX][0-9a-fA-F]+)[lL]\b", "write 10 for 10L"),
    (r"\basync\b(?!\s+(?:def|for|with)\b)", "async is a word of Python 3: leave it out, or use another name"),
    (r"^\s*def\b.*\(.*\(|\blambda\s*\(", "take the tuple apart inside the function"),
)
#: A pattern of the error that a line met when it ran, and the same.
_ERRORS: Final = (
    (r"no attribute 'has_key'", "write: name in d"),
    (r"no attribute 'iter(items|keys|values)'", "write d.items(), d.keys(), d.values()"),
    (r"name '(unicode|basestring|unichr)' is not defined", "text is str"),
    (r"name 'xrange' is not defined", "write range"),
    (r"name 'long' is not defined", "write int"),
    (r"name 'raw_input' is not defined", "nobody is there to ask; use parameters"),
    (r"name 'reduce' is not defined", "write: from functools import reduce"),
    (r"name 'file' is not defined", "write open(...)"),
    (r"unsupported operand type\(s\) for >>: 'builtin_function", "write: print(text, file=f)"),
    (
        r"module 'string' has no attribute '(join|split|replace|atoi|upper|lower)'",
        "use the text's own methods",
    ),
    (r"module 'os' has no attribute '(popen[234]|getcwdu)'", "use subprocess"),
    (r"can't concat str to bytes|a bytes-like object is required, not 'str'", "encode the text first"),
    (r"'dict_(keys|values|items)' object is not subscriptable", "write list(d.keys())"),
)


def syntax_hint(error: SyntaxError, source: bytes) -> str:
    """What to change on the line that *error* names; ``""`` where it is nothing of Python 2."""
    if isinstance(error, TabError):
        return "Python 3 wants tabs or spaces, not both"
    lines = source.decode("utf-8", "replace").splitlines()
    line = lines[error.lineno - 1] if error.lineno and error.lineno <= len(lines) else ""
    return next((advice for pattern, advice in _LINES if re.search(pattern, line)), "")


def error_hint(text: str) -> str:
    """What to change where code ran into the error *text*; ``""`` where it is nothing of Python 2."""
    return next((advice for pattern, advice in _ERRORS if re.search(pattern, text)), "")
