"""Show the loaded kernel modules.

By lsmod; where there is no lsmod, /proc/modules.
"""

from omserver_master import ShellModule


class Modulehandle(ShellModule):
    title_zh = "查看内核模块"
    caption_zh = "使用 lsmod；没有 lsmod 的主机读取 /proc/modules。"
    repeat = "read_only"
    script = r"""#!/bin/sh
# Exit 3: the kernel shows no list of modules.
PATH=$PATH:/usr/sbin:/sbin
if command -v lsmod >/dev/null 2>&1 && text=$(lsmod 2>/dev/null); then
    printf '%s\n' "$text"
    exit 0
fi
if [ -r /proc/modules ]; then
    cat /proc/modules
    exit
fi
echo "This kernel shows no list of modules: there is no lsmod and no /proc/modules." >&2
exit 3
"""
