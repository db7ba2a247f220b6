"""Synchronise the files of an application.

Copies one known file from modules/files/ to its known place, checks the configuration where the application
can, and lets the application take notice. If the check or that fails, the old file is put back. The file that
was there before stays beside it, as <file>.omserver-old.
"""

from dataclasses import dataclass

from omserver_master import Choice, Failed, Module, Ok, Put, Script

RESIN_HOMES = ("/usr/local/resin", "/opt/resin", "/usr/share/resin")


@dataclass(frozen=True)
class App:
    """One application: the file here, where it may belong on a host, the command that proves it is there."""

    source: str
    targets: tuple[str, ...]
    needs: str = ""
    mode: int = 0o644


APPS = {
    "nginx": App("nginx/nginx.conf", ("/etc/nginx/nginx.conf",), needs="nginx"),
    "nginx_config": App("nginx_config/site.conf", ("/etc/nginx/conf.d/site.conf",), needs="nginx"),
    "haproxy": App("haproxy/haproxy.cfg", ("/etc/haproxy/haproxy.cfg",), needs="haproxy"),
    "syslog": App("syslog/90-site.conf", ("/etc/rsyslog.d/90-site.conf",), needs="rsyslogd"),
    "sysctl": App("sysctl/90-site.conf", ("/etc/sysctl.d/90-site.conf",), needs="sysctl"),
    "resin": App("resin/resin.xml", tuple(f"{home}/conf/resin.xml" for home in RESIN_HOMES)),
    "resinhttpd": App(
        "resinhttpd/httpd.sh", tuple(f"{home}/bin/httpd.sh" for home in RESIN_HOMES), "", 0o755
    ),
    "resinjar": App("resinjar/site.jar", tuple(f"{home}/lib/site.jar" for home in RESIN_HOMES)),
}

LOOK = r"""#!/bin/sh
# Prints where the file belongs. Exit 3: the application is not there.
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
if [ -z "$OM_NEEDS" ] || command -v "$OM_NEEDS" >/dev/null 2>&1; then
    for target in $OM_TARGETS; do
        if [ -d "${target%/*}" ]; then
            printf '%s\n' "$target"
            exit 0
        fi
    done
fi
echo "$OM_APP is not installed on this host." >&2
exit 3
"""

APPLY = r"""#!/bin/sh
# Exit 5: the check refused the file; 6: the file could not be written; 7: the application did not take
# notice. The old file is there in all three cases.
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
new=$OM_TARGET.omserver-new
old=$OM_TARGET.omserver-old
next=$OM_TARGET.omserver-next
target=$OM_TARGET
[ ! -L "$target" ] || target=$(readlink -f "$target")
had_old=no
output=''

put_back() {
    if [ "$had_old" = yes ]; then
        cp -p "$old" "$target"
    else
        rm -f "$target"
    fi
}

fail() { # exit-code reason
    rm -f "$new" "$next"
    echo "$2" >&2
    [ -z "$output" ] || printf '%s\n' "$output" >&2
    exit "$1"
}

check() {
    case $OM_APP in
        nginx | nginx_config) nginx -t ;;
        haproxy) haproxy -c -f "$target" ;;
        syslog) rsyslogd -N1 ;;
        resinhttpd) sh -n "$target" ;;
    esac
}

manage() { # verb service
    if [ -d /run/systemd/system ] && command -v systemctl >/dev/null 2>&1; then
        if systemctl is-active "$2.service" >/dev/null 2>&1; then
            systemctl "$1" "$2.service"
            return
        fi
    elif [ -x "/etc/init.d/$2" ]; then
        if "/etc/init.d/$2" status >/dev/null 2>&1; then
            "/etc/init.d/$2" "$1"
            return
        fi
    else
        echo "Nothing here can $1 $2: systemd does not run and there is no /etc/init.d/$2."
        return 1
    fi
    echo "$2 does not run; the file counts from its next start."
}

restart_resin() {
    home=${target%/*/*}
    for tool in "$home/bin/resinctl" "$home/bin/resin.sh" "$home/bin/httpd.sh"; do
        if [ -x "$tool" ]; then
            "$tool" restart
            return
        fi
    done
    manage restart resin
}

take_notice() {
    case $OM_APP in
        nginx | nginx_config) manage reload nginx ;;
        haproxy) manage reload haproxy ;;
        syslog) manage restart rsyslog ;;
        sysctl) [ ! -e "$target" ] || sysctl -p "$target" ;;
        resin*) restart_resin ;;
    esac
}

if cmp -s "$new" "$target"; then
    rm -f "$new"
    echo "$target is up to date; nothing was done."
    exit 0
fi
if [ -e "$target" ]; then
    output=$(cp -p "$target" "$old" 2>&1) || fail 6 "The old $target could not be kept; nothing was done."
    had_old=yes
    # Written over a copy of the old file, so that owner and permissions stay, and moved in one step.
    output=$(cp -p "$target" "$next" 2>&1 && cat "$new" 2>&1 >"$next" && mv -f "$next" "$target" 2>&1) ||
        fail 6 "$target could not be written; the old one is untouched."
    rm -f "$new"
else
    output=$(mv "$new" "$target" 2>&1) || fail 6 "$target could not be written."
fi
output=$(check 2>&1) || { put_back; fail 5 "The check refused the new $target; the old one is back."; }
if output=$(take_notice 2>&1 </dev/null); then
    echo "$target was replaced."
    [ -z "$output" ] || printf '%s\n' "$output"
    exit 0
fi
put_back
take_notice >/dev/null 2>&1 </dev/null
fail 7 "$OM_APP did not take notice of the new $target; the old one is back."
"""


class Modulehandle(Module):
    title_zh = "同步应用文件"
    caption_zh = (
        "把 modules/files/ 中的一个文件复制到固定位置，检查配置并通知应用。检查或通知失败时恢复旧文件；"
        "原来的文件保留为 <文件>.omserver-old。"
    )
    repeat = "idempotent"
    risk = "medium"
    timeout = 120
    app = Choice(
        ("nginx", "nginx: main configuration", "nginx 主配置"),
        ("nginx_config", "nginx: sites", "nginx 站点配置"),
        ("haproxy", "HAProxy"),
        ("syslog", "System log", "系统日志"),
        ("sysctl", "Kernel settings", "内核参数"),
        ("resin", "Resin: configuration", "Resin 配置"),
        ("resinhttpd", "Resin: start script", "Resin 启动脚本"),
        ("resinjar", "Resin: application library", "Resin 应用库"),
        label="Application",
        label_zh="应用",
        help="Whose file to copy.",
        help_zh="同步哪个应用的文件。",
    )

    def steps(self, host):
        app = APPS[self.app]
        where = {"OM_APP": self.app, "OM_NEEDS": app.needs, "OM_TARGETS": " ".join(app.targets)}
        found = yield Script(LOOK, env=where)
        if not found.ok:
            return None
        target = found.text.strip()
        if target not in app.targets:
            return Failed("The host named a place that the file does not belong to.")
        written = yield Put(f"{target}.omserver-new", self.file(app.source), app.mode)
        if not written.ok:
            return None
        applied = yield Script(APPLY, env={"OM_APP": self.app, "OM_TARGET": target})
        return Ok() if applied.ok else None
