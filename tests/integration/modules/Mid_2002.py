"""Return a code, after a while."""

from omserver_master import Int, Number, ShellModule


class Modulehandle(ShellModule):
    repeat = "read_only"
    timeout = 3
    code = Int(default=0, minimum=0, maximum=255)
    seconds = Number(default=0, minimum=0, maximum=60)
    script = '''
echo out; echo err >&2
sleep "$OM_SECONDS"
exit "$OM_CODE"
'''
