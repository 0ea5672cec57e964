"""Processes of one candidate of a comparison, and the peers' parts, each started the same way everywhere."""

import os
import shutil
import signal
import subprocess
import time

TICK = 1e6 / os.sysconf("SC_CLK_TCK")
# What a peer's last tier answers where there is nothing behind it.
BODY = '{"account":"alice","currency":"EUR","posted":3000,"held":0,"available":3000,"version":2}'


class Stack:
    """Processes of one candidate, by tier; they end with `stop`."""

    def __init__(self, folder):
        self.folder, self.tiers, self.started = folder, {}, []

    def start(self, tier, command, **options):
        log = open(f"{self.folder}/{tier}.log", "a")
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, **options)
        self.started.append(process)
        self.tiers.setdefault(tier, []).append(process.pid)
        return process

    def write(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w") as file:
            file.write(text)
        return path

    def stop(self):
        """Ends the last started first."""
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.started):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def needs(*programs):
    """Ends the run where one of these is missing."""
    packages = {"nginx": "nginx-light", "h2load": "nghttp2-client"}
    for program in programs:
        if not shutil.which(program):
            raise SystemExit(f"{program} is needed: apt-get install {packages.get(program, program)}")


def nginx(stack, tier, port, upstream=None):
    """One nginx process with one worker; without an upstream it answers [`BODY`]."""
    location = f"return 200 '{BODY}'; default_type application/json;"
    up = ""
    if upstream:
        up = f"upstream u {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000; }}"
        location = "proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection '';"
    name = f"{tier}-{port}"
    path = stack.write(f"{name}.conf", f"""
        worker_processes 1; daemon off; master_process off; pid {stack.folder}/{name}.pid;
        error_log {stack.folder}/{name}.err; events {{ worker_connections 4096; }}
        http {{ access_log off; keepalive_requests 100000000; {up}
            client_body_temp_path {stack.folder}; proxy_temp_path {stack.folder};
            fastcgi_temp_path {stack.folder}; uwsgi_temp_path {stack.folder}; scgi_temp_path {stack.folder};
            server {{ listen 127.0.0.1:{port}; location / {{ {location} }} }} }}""")
    stack.start(tier, ["nginx", "-c", path, "-p", stack.folder])


def haproxy(stack, tier, port, upstreams):
    """One HAProxy process with one thread."""
    servers = "\n".join(f"  server s{at} 127.0.0.1:{it}" for at, it in enumerate(upstreams))
    path = stack.write(f"{tier}-{port}.cfg", f"""global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  http-reuse always
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  balance leastconn
{servers}
""")
    stack.start(tier, ["haproxy", "-f", path])


def wait(ready):
    """Until it holds; a candidate that is not there in 15 seconds never will be."""
    for _ in range(300):
        try:
            if ready():
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("a candidate did not start")


def ticks(pids):
    """Clock ticks of processor time that these processes have had."""
    total = 0
    for pid in pids:
        try:
            fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total


def with_children(pid):
    """The process and its children, as a PostgreSQL server is one."""
    found = [pid]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if int(open(f"/proc/{entry}/stat").read().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(entry))
            except OSError:
                continue
    return found
