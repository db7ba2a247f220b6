"""查看系统日志"""

from Public_lib import *


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.hosts = target_host(hosts, "HN")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            lines = self.sys_param_array[0] if self.sys_param_array else "50"
            if not re.match("^[0-9]{1,3}$", lines):
                return "The number of lines has at most 3 digits."
            command = "/usr/bin/tail -n " + lines + " /var/log/messages"
            client = fc.Overlord(self.hosts)
            self.Runresult = client.command.run(command)
        except Exception as e:
            return str(e)
        return self.Runresult
