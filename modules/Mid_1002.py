"""Show the latest logins.

From /var/log/auth.log or /var/log/secure; else what sshd, login, su and sudo wrote to the journal; else from
`last`. A host without any of them fails, with the reason.
"""

from omserver_master import Int, ShellModule


class Modulehandle(ShellModule):
    title_zh = "查看最新登录"
    caption_zh = (
        "读取 /var/log/auth.log 或 /var/log/secure；否则读取 journal 中的登录记录，再否则使用 last 命令。"
        "没有任何记录的主机会失败并说明原因。"
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
# Exit 3: logins are not recorded; 4: they are, and may not be read.
for log in /var/log/auth.log /var/log/secure; do
    [ -s "$log" ] || continue
    if [ ! -r "$log" ]; then
        echo "$log may not be read by $(id -un)." >&2
        exit 4
    fi
    tail -n "$OM_LINES" "$log"
    exit
done
if command -v journalctl >/dev/null 2>&1; then
    text=$(journalctl -q --no-pager -n "$OM_LINES" -t sshd -t sshd-session -t login -t su -t sudo \
        2>/dev/null | sed '/^-- No entries --$/d')
    if [ -n "$text" ]; then
        printf '%s\n' "$text"
        exit 0
    fi
fi
if command -v last >/dev/null 2>&1; then
    text=$(last 2>/dev/null | sed -e '/^wtmp begins/d' -e '/^[[:space:]]*$/d' | head -n "$OM_LINES")
    if [ -n "$text" ]; then
        printf '%s\n' "$text"
        exit 0
    fi
fi
echo "No login is recorded: neither in auth.log or secure, nor in the journal, nor by last." >&2
exit 3
"""
