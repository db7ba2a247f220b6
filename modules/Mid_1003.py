"""Show the system's version.

The PRETTY_NAME of os-release; on systems without one, the first line of /etc/issue.
"""

from omserver_master import ShellModule


class Modulehandle(ShellModule):
    title_zh = "查看系统版本"
    caption_zh = "显示 os-release 中的 PRETTY_NAME；没有该文件的系统显示 /etc/issue 的第一行。"
    repeat = "read_only"
    script = r"""#!/bin/sh
# Exit 3: the system does not say what it is.
for release in /etc/os-release /usr/lib/os-release; do
    [ -r "$release" ] || continue
    PRETTY_NAME=''
    # shellcheck source=/dev/null
    . "$release"
    if [ -n "$PRETTY_NAME" ]; then
        printf '%s\n' "$PRETTY_NAME"
        exit 0
    fi
done
if [ -r /etc/issue ]; then
    line=$(sed -n '/[^[:space:]]/{p;q;}' /etc/issue)
    if [ -n "$line" ]; then
        printf '%s\n' "$line"
        exit 0
    fi
fi
echo "The system does not say what it is: there is no os-release and no /etc/issue." >&2
exit 3
"""
