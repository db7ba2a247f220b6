"""查看系统版本"""

from Public_lib import *


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.hosts = target_host(hosts, "HN").upper().split(";")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            command = "/usr/bin/head -n 1 /etc/issue"
            client = salt.client.LocalClient()
            self.Runresult = client.cmd(self.hosts, "cmd.run", [command], expr_form="list")
            if len(self.Runresult) == 0:
                return "No hosts found, is Salt set up on them?"
        except Exception as e:
            return str(e)
        return self.Runresult
