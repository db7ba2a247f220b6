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
        self.hosts = target_host(hosts, "HN").upper().split(";")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            command = COMMANDS[self.sys_param_array[0]]
            client = salt.client.LocalClient()
            self.Runresult = client.cmd(self.hosts, "cmd.run", [command], expr_form="list")
            if len(self.Runresult) == 0:
                return "No hosts found, is Salt set up on them?"
        except Exception as e:
            return str(e)
        return self.Runresult
