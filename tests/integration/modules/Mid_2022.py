"""Add a line to a file, after a while; doing it again does no harm."""

from omserver_master import Number, Path, ShellModule


class Modulehandle(ShellModule):
    repeat = "idempotent"
    timeout = 20
    seconds = Number(default=0, minimum=0, maximum=60)
    path = Path()
    script = '''
echo "$OM_PATH" | sed 's/.*/line/' >> "$OM_PATH"
sleep "$OM_SECONDS"
'''
