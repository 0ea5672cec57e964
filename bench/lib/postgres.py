"""A PostgreSQL cluster of its own in a temporary folder, durable as it comes: fsync and synchronous_commit stay on.

    python3 bench/lib/postgres.py COMMAND…      runs the command beside one, with its URL in ENGINE and
                                                the server's process in ENGINE_PID
"""

import glob
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time

# What a careful administrator of a small machine would set; durability is left as it is.
SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_compression": "off",
    "max_connections": "200",
    "autovacuum_naptime": "10s",
    "jit": "off",
}


def program(name):
    """The newest PostgreSQL program of this name on the machine."""
    found = shutil.which(name) or max(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), default=None)
    if not found:
        raise SystemExit("PostgreSQL is needed: apt-get install postgresql")
    return found


def free_port():
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return it.getsockname()[1]


class Cluster:
    """A running server; it ends with the `with` block, and its folder goes."""

    def __init__(self, **settings):
        self.settings = {**SETTINGS, **settings}

    def __enter__(self):
        self.folder, self.port = tempfile.mkdtemp(prefix="tollgate-pg-"), free_port()
        self.data = f"{self.folder}/data"
        # The server refuses to run as root.
        self.user = "postgres" if os.geteuid() == 0 else None
        if self.user:
            shutil.chown(self.folder, self.user)
        who = self.user or pwd.getpwuid(os.geteuid()).pw_name
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]
        subprocess.check_call([program("initdb"), "-D", self.data, *options], user=self.user, cwd="/",
                              stdout=subprocess.DEVNULL)
        flags = [f"--{name}={value}" for name, value in self.settings.items()]
        self.log = open(f"{self.folder}/server.log", "w")
        self.server = subprocess.Popen(
            [program("postgres"), "-D", self.data, "-p", str(self.port), "-k", self.folder,
             "-c", "listen_addresses=127.0.0.1", *flags],
            user=self.user, cwd="/", stdout=self.log, stderr=self.log, start_new_session=True)
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        deadline = time.monotonic() + 30
        while subprocess.run([program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode:
            if self.server.poll() is not None or deadline < time.monotonic():
                text = open(f"{self.folder}/server.log").read()
                self.__exit__()
                raise SystemExit(f"PostgreSQL did not start for {who}:\n{text}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        if self.server.poll() is None:
            self.server.terminate()
            try:
                self.server.wait(20)
            except subprocess.TimeoutExpired:
                self.server.kill()
                self.server.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def sql(self, text):
        """Runs statements; what they gave, one line a row."""
        command = [program("psql"), self.url, "-qAtX", "-v", "ON_ERROR_STOP=1", "-c", text]
        return subprocess.check_output(command, text=True)


if __name__ == "__main__":
    with Cluster() as cluster:
        code = subprocess.call(sys.argv[1:], env={**os.environ, "ENGINE": cluster.url, "ENGINE_PID": str(cluster.server.pid)})
    sys.exit(code)
