"""同步应用文件"""

from Public_lib import *

FILES = {
    "nginx": ("nginx/nginx.conf", "/etc/nginx/nginx.conf", "service nginx reload"),
    "nginx_config": ("nginx_config/site.conf", "/etc/nginx/conf.d/site.conf", "service nginx reload"),
    "haproxy": ("haproxy/haproxy.cfg", "/etc/haproxy/haproxy.cfg", "service haproxy reload"),
    "syslog": ("syslog/rsyslog.conf", "/etc/rsyslog.conf", "service rsyslog restart"),
    "sysctl": ("sysctl/sysctl.conf", "/etc/sysctl.conf", "cat /etc/sysctl.conf"),
    "resin": ("resin/resin.conf", "/usr/local/resin/conf/resin.conf", "service resin restart"),
    "resinhttpd": ("resin/httpd.sh", "/usr/local/resin/bin/httpd.sh", "service resin restart"),
    "resinjar": ("resin/site.jar", "/usr/local/resin/lib/site.jar", "service resin restart"),
}


class Modulehandle:
    def __init__(self, moduleid, hosts, sys_param_row):
        self.hosts = target_host(hosts, "HN").upper().split(";")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            source, target, command = FILES[self.sys_param_array[0]]
            client = salt.client.LocalClient()
            client.cmd(self.hosts, "cp.get_file", ["salt://" + source, target], expr_form="list")
            self.Runresult = client.cmd(self.hosts, "cmd.run", [command], expr_form="list")
        except Exception as e:
            return str(e)
        return self.Runresult
