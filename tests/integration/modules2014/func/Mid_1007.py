"""重启进程服务"""

from Public_lib import *

SERVICES = {
    "resin": "resin",
    "nginx": "nginx",
    "haproxy": "haproxy",
    "apache": "httpd",
    "mysql": "mysqld",
    "snmp": "snmpd",
    "lighttpd": "lighttpd",
    "squid": "squid",
}


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.hosts = target_host(hosts, "HN")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            service = SERVICES[self.sys_param_array[0]]
            client = fc.Overlord(self.hosts)
            self.Runresult = client.service.restart(service)
        except Exception as e:
            return str(e)
        return self.Runresult
