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
        self.hosts = target_host(hosts, "HN")
        self.Runresult = ""
        self.moduleid = moduleid
        self.sys_param_array = sys_param_row

    def run(self):
        try:
            source, target, command = FILES[self.sys_param_array[0]]
            folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "files")
            client = fc.Overlord(self.hosts)
            with open(os.path.join(folder, source), "rb") as file:
                client.copyfile.copyfile(target, xmlrpclib.Binary(file.read()))
            self.Runresult = client.command.run(command)
        except Exception as e:
            return str(e)
        return self.Runresult
