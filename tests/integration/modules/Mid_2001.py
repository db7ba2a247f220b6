"""Say a word.

It is printed as it came.
"""

from omserver_master import ShellModule, Text


class Modulehandle(ShellModule):
    repeat = "read_only"
    title_zh = "说一个词"
    word = Text(pattern=r"(?s).*", max_length=2000, dash=True)
    command = "printf '%s'", word
