"""查看最新登录"""

from Public_lib import *


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.hosts = target_host(hosts, "HN").upper().split(";")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            lines = self.sys_param_array[0] if self.sys_param_array else "50"
            if not re.match("^[0-9]{1,3}$", lines):
                return "The number of lines has at most 3 digits."
            command = "/usr/bin/tail -n " + lines + " /var/log/secure"
            client = salt.client.LocalClient()
            self.Runresult = client.cmd(self.hosts, "cmd.run", [command], expr_form="list")
            if len(self.Runresult) == 0:
                return "No hosts found, is Salt set up on them?"
        except Exception as e:
            return str(e)
        return self.Runresult
