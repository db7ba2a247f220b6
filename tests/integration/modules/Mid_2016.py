"""Prints what hosts should never be trusted with."""

from omserver_master import Choice, ShellModule


class Modulehandle(ShellModule):
    repeat = "read_only"
    output = 8 << 20
    what = Choice("html", "ansi", "invalid", "large", "endless")
    script = r"""
case $OM_WHAT in
html) printf '<script>alert(1)</script>' ;;
ansi) printf '\033[31mred\033[0m\007' ;;
invalid) printf '\377\376\000ok' ;;
large) head -c 5242880 /dev/zero | tr '\0' 'x' ;;
endless) yes | head -c 100000000 ;;
esac
"""
