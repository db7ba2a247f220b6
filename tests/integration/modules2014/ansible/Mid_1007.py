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
        self.hosts = target_host(hosts, "IP")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            service = SERVICES[self.sys_param_array[0]]
            self.Runresult = ansible.runner.Runner(
                pattern=self.hosts,
                forks=10,
                module_name="service",
                module_args="name=" + service + " state=restarted",
            ).run()
        except Exception as e:
            return str(e)
        return self.Runresult
