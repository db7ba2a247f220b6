"""Write down the process's id and a heartbeat in a folder, again and again; doing it again: once."""

from omserver_master import Int, Path, ShellModule, Text


class Modulehandle(ShellModule):
    repeat = "once"
    timeout = 900
    folder = Path()
    token = Text()
    beats = Int(minimum=1, maximum=10_000)
    script = """#!/bin/sh
umask 022
mkdir -p "$OM_FOLDER" && cd "$OM_FOLDER" || exit 9
echo $$ >"$OM_TOKEN.new" && mv "$OM_TOKEN.new" "$OM_TOKEN.pid"
left=$OM_BEATS
while [ "$left" -gt 0 ]; do
    echo >"$OM_TOKEN.beat"
    sleep 0.1
    left=$((left - 1))
done
echo >"$OM_TOKEN.done"
"""
