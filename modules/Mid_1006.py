"""Show the configuration of an application.

Prints the first of its known configuration files that is there, with its path as the first line. "limits"
prints the limit of open files. A host that has none of the files fails, with the reason.
"""

from omserver_master import Choice, ShellModule


class Modulehandle(ShellModule):
    title_zh = "查看应用配置"
    caption_zh = (
        "显示该应用第一个存在的配置文件，第一行是路径。limits 显示打开文件数限制。"
        "没有配置文件的主机会失败并说明原因。"
    )
    repeat = "read_only"
    app = Choice(
        ("resin", "Resin"),
        ("nginx", "nginx"),
        ("haproxy", "HAProxy"),
        ("apache", "Apache"),
        ("mysql", "MySQL or MariaDB", "MySQL 或 MariaDB"),
        ("snmp", "SNMP agent", "SNMP 代理"),
        ("lighttpd", "lighttpd"),
        ("squid", "Squid"),
        ("firewall", "Firewall", "防火墙"),
        ("limits", "Limit of open files", "打开文件数限制"),
        label="Application",
        label_zh="应用",
        help="Whose configuration to show.",
        help_zh="显示哪个应用的配置。",
    )
    script = r"""#!/bin/sh
# Exit 3: there is no such file; 4: there is one that may not be read.
if [ "$OM_APP" = limits ]; then
    # shellcheck disable=SC3045  # every sh that we know has -n
    ulimit -n
    exit
fi
case $OM_APP in
    resin) files='/etc/resin/resin.xml /usr/local/resin/conf/resin.xml /usr/local/resin/conf/resin.conf
            /opt/resin/conf/resin.xml' ;;
    nginx) files='/etc/nginx/nginx.conf /usr/local/nginx/conf/nginx.conf' ;;
    haproxy) files='/etc/haproxy/haproxy.cfg' ;;
    apache) files='/etc/apache2/apache2.conf /etc/httpd/conf/httpd.conf /usr/local/apache2/conf/httpd.conf' ;;
    mysql) files='/etc/mysql/my.cnf /etc/my.cnf' ;;
    snmp) files='/etc/snmp/snmpd.conf' ;;
    lighttpd) files='/etc/lighttpd/lighttpd.conf' ;;
    squid) files='/etc/squid/squid.conf /etc/squid3/squid.conf' ;;
    firewall) files='/etc/nftables.conf /etc/sysconfig/nftables.conf /etc/iptables/rules.v4
            /etc/sysconfig/iptables /etc/firewalld/zones/public.xml /etc/ufw/user.rules' ;;
    *) files='' ;;
esac
for file in $files; do
    [ -e "$file" ] || continue
    if [ ! -r "$file" ]; then
        echo "$file may not be read by $(id -un)." >&2
        exit 4
    fi
    printf '# %s\n' "$file"
    cat "$file"
    exit
done
# shellcheck disable=SC2086  # the words are the file names of the list above
echo "There is no configuration of $OM_APP on this host; looked for:" $files >&2
exit 3
"""
