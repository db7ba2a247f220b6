"""Say a word, or in a dry run say that it would be said."""

from omserver_master import ShellModule, Text


class Modulehandle(ShellModule):
    repeat = "once"
    risk = "high"
    word = Text(default="hi")
    command = "echo said", word
    check = "echo would say", word
