"""A tree of its own in a temporary folder, for the measurements: start, act, look, stop."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.abspath(__file__)) + "/../.."


def binary():
    """The release binary, built unless TOLLGATE names another one."""
    if "TOLLGATE" in os.environ:
        return os.environ["TOLLGATE"]
    subprocess.check_call(["cargo", "build", "--release", "--quiet", "-p", "cli"], cwd=ROOT)
    return f"{ROOT}/target/release/tollgate"


def engine_flags():
    """For `up`: where ENGINE says that the books are to be kept."""
    return ["--engine", os.environ["ENGINE"]] if os.environ.get("ENGINE") else []


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Tree:
    """`tollgate up` on free ports, or of a file of that text; ends with the `with` block, and its folder goes."""

    def __init__(self, flags=(), config=None):
        self.flags, self.config = list(flags), config

    def __enter__(self):
        self.binary, self.folder = binary(), tempfile.mkdtemp(prefix="tollgate-bench-")
        self.data, log = f"{self.folder}/tree", open(f"{self.folder}/up.log", "w")
        how = ["--edge", "127.0.0.1:0", "--monitor", "127.0.0.1:0"]
        if self.config is not None:
            how = ["--config", f"{self.folder}/tree.toml"]
            with open(how[1], "w") as file:
                file.write(self.config)
        self.up = subprocess.Popen([self.binary, "up", "--data", self.data, *how, *self.flags], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while "curl" not in open(f"{self.folder}/up.log").read():
            if self.up.poll() is not None or deadline < time.monotonic():
                text = open(f"{self.folder}/up.log").read()
                self.__exit__()
                raise SystemExit(f"the tree did not start:\n{text}")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        if self.up.poll() is None:
            self.up.send_signal(signal.SIGTERM)
            try:
                self.up.wait(60)
            except subprocess.TimeoutExpired:
                self.up.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *arguments):
        """A verb that must succeed; what it printed."""
        ran = subprocess.run([self.binary, *arguments, "--data", self.data], capture_output=True, text=True)
        if ran.returncode != 0:
            raise SystemExit(f"tollgate {' '.join(arguments)}: {ran.stderr}")
        return ran.stdout

    def nodes(self):
        """The nodes by name, as `up` wrote them down."""
        with open(f"{self.data}/tree.json") as file:
            return {node["name"]: node for node in json.load(file)["nodes"]}

    def pid(self, name):
        return self.nodes()[name]["pid"]

    def ask(self, name):
        """What a node says of itself; nothing when it does not answer within a second."""
        try:
            with urllib.request.urlopen(f"http://{self.nodes()[name]['admin']}/admin/status", timeout=1) as answer:
                return json.load(answer)
        except (OSError, ValueError):
            return {}

    def memory(self):
        """Resident megabytes of every node that lives."""
        return {name: size for name, node in self.nodes().items() if (size := rss(node["pid"])) is not None}

    def files(self):
        """Open files of every node that lives."""
        return {name: count for name, node in self.nodes().items() if (count := fds(node["pid"])) is not None}

    def bench(self, *arguments):
        """A run of `tollgate bench`, beside whatever the caller does meanwhile."""
        return Bench([self.binary, "bench", "--data", self.data, "--lines", *map(str, arguments)])


class Bench:
    """The windows of a run as they come, and its report when it has ended."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.points, self.report = [], None
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        for line in self.process.stdout:
            value = json.loads(line)
            if "format" in value:
                self.report = value
            else:
                self.points.append(value)

    def until(self, at_ms):
        """Waits until the load has come so far."""
        while self.now() < at_ms:
            if self.process.poll() is not None:
                raise SystemExit("the bench ended before its time")
            time.sleep(0.02)

    def now(self):
        """Milliseconds of load so far."""
        return self.points[-1]["at_ms"] if self.points else -1

    def rest(self, seconds):
        self.until(self.now() + seconds * 1000)

    def between(self, start, end):
        return [point for point in self.points if start <= point["at_ms"] < end]

    def end(self):
        """The report; its audit must have found nothing."""
        code = self.process.wait()
        self.thread.join()
        if self.report is None:
            raise SystemExit(f"the bench failed: exit code {code}")
        audit = self.report["audit"]
        if audit and audit["faults_count"]:
            raise SystemExit("the books are wrong:\n" + "\n".join(audit["faults"]))
        return self.report


def rss(pid):
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except (OSError, IndexError):
        return None


def fds(pid):
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


def errors(points):
    return sum(point["shed"] + point["failed"] + point["unknown"] for point in points)


def answered(points):
    return sum(point["ok"] + point["refused"] for point in points)


def table(rows):
    widths = [max(len(str(row[at])) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{str(cell):<{width}}" for cell, width in zip(row, widths)).rstrip())


def keep(name, value):
    """Writes it down for `bench/plots/run`, where FIGURES names a folder for that."""
    if folder := os.environ.get("FIGURES"):
        os.makedirs(folder, exist_ok=True)
        with open(f"{folder}/{name}.json", "w") as file:
            json.dump(value, file, indent=1, ensure_ascii=False)
            file.write("\n")


def judge(complaints):
    """Prints what was missed; exits 1 if anything was."""
    for complaint in complaints:
        print(f"MISSED: {complaint}")
    print("all as it should be" if not complaints else "")
    sys.exit(1 if complaints else 0)
