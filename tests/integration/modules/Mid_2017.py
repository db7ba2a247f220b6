"""A module of 2014, that does everything by itself."""

from Public_lib import *


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.hosts = target_host(hosts, "HN")
        self.row = sys_param_row

    def run(self):
        return dict.fromkeys(self.hosts.split(";"), f"hello {self.row[0] if self.row else ''}")
