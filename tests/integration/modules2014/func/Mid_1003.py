"""查看系统版本"""

from Public_lib import *


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.hosts = target_host(hosts, "HN")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            command = "/usr/bin/head -n 1 /etc/issue"
            client = fc.Overlord(self.hosts)
            self.Runresult = client.command.run(command)
        except Exception as e:
            return str(e)
        return self.Runresult
