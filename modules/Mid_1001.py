"""Show the last lines of the system log.

From the journal, if it has entries; else from /var/log/syslog or /var/log/messages. A host without any log
fails, with the reason.
"""

from omserver_master import Int, ShellModule


class Modulehandle(ShellModule):
    title_zh = "查看系统日志"
    caption_zh = (
        "优先读取 journal；没有条目时读取 /var/log/syslog 或 /var/log/messages。"
        "没有任何日志的主机会失败并说明原因。"
    )
    repeat = "read_only"
    lines = Int(
        default=50,
        maximum=999,
        label="Lines",
        label_zh="行数",
        help="How many lines, counted from the end.",
        help_zh="显示最后多少行。",
    )
    script = r"""#!/bin/sh
# Exit 3: there is no log; 4: there is one that may not be read.
if command -v journalctl >/dev/null 2>&1; then
    # An empty journal answers 0 and says nothing, or "-- No entries --": that is no log.
    text=$(journalctl -q --no-pager -n "$OM_LINES" 2>/dev/null | sed '/^-- No entries --$/d')
    if [ -n "$text" ]; then
        printf '%s\n' "$text"
        exit 0
    fi
fi
for log in /var/log/syslog /var/log/messages; do
    [ -s "$log" ] || continue
    if [ ! -r "$log" ]; then
        echo "$log may not be read by $(id -un)." >&2
        exit 4
    fi
    tail -n "$OM_LINES" "$log"
    exit
done
echo "There is no system log: the journal is empty, absent or closed to $(id -un); none is in /var/log." >&2
exit 3
"""
