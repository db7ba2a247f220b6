"""Restart a service.

Where the service can check its configuration, that comes first: one whose configuration is wrong is left
running. After the restart the service has to prove that it runs.
"""

from omserver_master import Choice, ShellModule


class Modulehandle(ShellModule):
    title_zh = "重启进程服务"
    caption_zh = "能检查配置的服务先检查配置，配置有错则不重启。重启之后确认服务确实在运行。"
    repeat = "once"
    risk = "medium"
    timeout = 120
    service = Choice(
        ("resin", "Resin"),
        ("nginx", "nginx"),
        ("haproxy", "HAProxy"),
        ("apache", "Apache"),
        ("mysql", "MySQL or MariaDB", "MySQL 或 MariaDB"),
        ("snmp", "SNMP agent", "SNMP 代理"),
        ("lighttpd", "lighttpd"),
        ("squid", "Squid"),
        label="Service",
        label_zh="服务",
        help="It goes by its name on each system: apache is apache2 on Debian and httpd on Red Hat.",
        help_zh="按各系统的名称重启：apache 在 Debian 上是 apache2，在 Red Hat 上是 httpd。",
    )
    script = r"""#!/bin/sh
# Exit 3: there is no such service; 4: nothing manages services; 5: the configuration is wrong, nothing was
# done; 6: the restart failed; 7: the service does not run after it.
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin

fail() { # exit-code reason output
    echo "$2" >&2
    [ -z "$3" ] || printf '%s\n' "$3" >&2
    exit "$1"
}

has() { command -v "$1" >/dev/null 2>&1; }

configuration_is_good() {
    case $OM_SERVICE in
        nginx) ! has nginx || nginx -t ;;
        haproxy) ! has haproxy || haproxy -c -f /etc/haproxy/haproxy.cfg ;;
        apache)
            if has apache2ctl; then
                apache2ctl configtest
            elif has apachectl; then
                apachectl configtest
            fi
            ;;
        lighttpd) ! has lighttpd || lighttpd -tt -f /etc/lighttpd/lighttpd.conf ;;
        squid) ! has squid || squid -k parse ;;
    esac
}

case $OM_SERVICE in
    apache) names='apache2 httpd' ;;
    mysql) names='mysql mariadb mysqld' ;;
    snmp) names='snmpd' ;;
    squid) names='squid squid3' ;;
    *) names=$OM_SERVICE ;;
esac

name=''
if [ -d /run/systemd/system ] && has systemctl; then
    manager=systemd
    for candidate in $names; do
        if systemctl cat "$candidate.service" >/dev/null 2>&1; then
            name=$candidate
            break
        fi
    done
elif [ -d /etc/init.d ]; then
    manager=init
    for candidate in $names; do
        if [ -x "/etc/init.d/$candidate" ]; then
            name=$candidate
            break
        fi
    done
else
    fail 4 "Nothing manages services on this host: systemd does not run and there is no /etc/init.d." ''
fi
[ -n "$name" ] || fail 3 "There is no service $OM_SERVICE on this host; looked for: $names" ''

manage() { # verb
    if [ "$manager" = systemd ]; then
        systemctl "$1" "$name.service"
    elif has service; then
        service "$name" "$1"
    else
        "/etc/init.d/$name" "$1"
    fi
}

runs() {
    if [ "$manager" = systemd ]; then
        systemctl is-active "$name.service" >/dev/null 2>&1
    else
        manage status >/dev/null 2>&1
    fi
}

output=$(configuration_is_good 2>&1) ||
    fail 5 "The configuration of $name is wrong; it was not restarted." "$output"
output=$(manage restart 2>&1 </dev/null) || fail 6 "The restart of $name failed." "$output"

# What dies at once has a second to do so; what starts slowly has ten.
sleep 1
tries=0
until runs; do
    tries=$((tries + 1))
    [ "$tries" -lt 10 ] || fail 7 "$name was restarted and does not run." "$output"
    sleep 1
done
[ -z "$output" ] || printf '%s\n' "$output"
echo "$name was restarted and runs."
"""
