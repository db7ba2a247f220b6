"""查看应用配置"""

from Public_lib import *

COMMANDS = {
    "resin": "cat /usr/local/resin/conf/resin.conf",
    "nginx": "cat /etc/nginx/nginx.conf",
    "haproxy": "cat /etc/haproxy/haproxy.cfg",
    "apache": "cat /etc/httpd/conf/httpd.conf",
    "mysql": "cat /etc/my.cnf",
    "snmp": "cat /etc/snmp/snmpd.conf",
    "lighttpd": "cat /etc/lighttpd/lighttpd.conf",
    "squid": "cat /etc/squid/squid.conf",
    "firewall": "cat /etc/sysconfig/iptables",
    "limits": "ulimit -n",
}


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.hosts = target_host(hosts, "HN")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            command = COMMANDS[self.sys_param_array[0]]
            client = fc.Overlord(self.hosts)
            self.Runresult = client.command.run(command)
        except Exception as e:
            return str(e)
        return self.Runresult
