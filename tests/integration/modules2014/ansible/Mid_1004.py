"""查看内核模块"""

from Public_lib import *


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.hosts = target_host(hosts, "IP")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            command = "lsmod"
            self.Runresult = ansible.runner.Runner(
                pattern=self.hosts, forks=10, module_name="shell", module_args=command
            ).run()
            if not self.Runresult["contacted"] and not self.Runresult["dark"]:
                return "No hosts found, is Ansible set up on them?"
        except Exception as e:
            return str(e)
        return self.Runresult
