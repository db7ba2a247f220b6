"""A module in Python 2 is told what to change, beside Python's own error."""

from __future__ import annotations

import pytest

from omserver_master.registry.python2 import error_hint, syntax_hint

SYNTAX = [
    ('print "x"', 1, "print(...)"),
    ('if x: print "x"', 1, "print(...)"),
    ('x = {"a": 1}; print x', 1, "print(...)"),
    ("class A:\n    def f(self):\n        print 'x' % 1,", 3, "print(...)"),
    ("try:\n    pass\nexcept Exception,e:\n    pass", 3, "except Exception as e:"),
    ("try:\n    pass\nexcept (A, B), e:\n    pass", 3, "except Exception as e:"),
    ("try:\n    pass\nexcept A, (number, text):\n    pass", 3, "except Exception as e:"),
    ("from x import *; exec code in names", 1, "exec(...)"),
    ('if x: raise ValueError, "x"', 1, 'raise ValueError("text")'),
    ("x <> 1", 1, "!="),
    ("y = `x`", 1, "repr(x)"),
    ('u = ur"abc"', 1, "r'...'"),
    ("os.chmod(path, 0755)", 1, "0o777"),
    ("n = 10L", 1, "10 for 10L"),
    ("def f(a, (b, c)):\n    pass", 1, "inside the function"),
    ("g = lambda (a, b): a", 1, "inside the function"),
    ('fc.Overlord("a", async=True)', 1, "leave it out"),
    ("if x:\n\tpass\n        pass", 3, "tabs or spaces"),
]


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize(("source", "line", "advice"), SYNTAX)
def test_what_python_3_cannot_read_is_told_with_what_to_write(source: str, line: int, advice: str) -> None:
    with pytest.raises(SyntaxError) as raised:
        compile(source, "Mid_1001.py", "exec")
    assert raised.value.lineno == line
    assert advice in syntax_hint(raised.value, source.encode())


def test_a_mistake_of_today_is_not_explained_by_python_2() -> None:
    for source in ("x = (1", "async def f(:", "print('a' 'b'", "def f(a=g(1), b:\n    pass"):
        with pytest.raises(SyntaxError) as raised:
            compile(source, "Mid_1001.py", "exec")
        assert "print(...)" not in syntax_hint(raised.value, source.encode())
        assert "async is" not in syntax_hint(raised.value, source.encode())


RUN = [
    ("{}.has_key(1)", "name in d"),
    ("{}.iteritems()", "d.items()"),
    ("unicode('x')", "text is str"),
    ("xrange(3)", "range"),
    ("import string; string.join(['a'])", "own methods"),
    ("{}.keys()[0]", "list(d.keys())"),
    ("import sys; print >>sys.stderr, 'x'", "file=f"),
]


@pytest.mark.filterwarnings("ignore::SyntaxWarning")
@pytest.mark.parametrize(("source", "advice"), RUN)
def test_what_fails_only_when_it_runs_is_told_too(source: str, advice: str) -> None:
    with pytest.raises((AttributeError, NameError, TypeError)) as raised:
        exec(source, {})
    assert advice in error_hint(str(raised.value))
