"""Clients of one account each, in every partition of service a, while owners die, stop and give.

Each client sends one keyed request after the other, about 60 a second, and repeats under its key
what is not decided. The time without service is that from the fault to the end of the slowest
client's first request that ended after it: whoever's partition has no owner waits for one.
"""

import http.client, json, os, signal, subprocess, sys, threading, time

tollgate, data, edge, runs, engine = sys.argv[1:4] + [int(sys.argv[4]), sys.argv[5]]
# On one machine a death is known at once; elsewhere a lease has to be late first, and nobody answer at the door.
KILL_GOAL = "1,000 ms" if engine == "sqlite" else "5,000 ms"
key = open(f"{data}/admin.key").read().strip()
headers = {"Authorization": "Bearer " + key, "Content-Type": "application/json"}
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
CLIENTS, PACE = 32, 0.016
# What takes longer than this never comes.
SECONDS_MAX = 90
faults = os.environ.get("FAULTS", "kill stop move").split()


def ask(*words):
    out = subprocess.run([tollgate, *words, "--data", data, "--json"], capture_output=True, check=True)
    return json.loads(out.stdout)


def owners():
    return [it["owner"] for it in ask("partitions")["partitions"] if it["service"] == "a"]


def until(what, is_so, pause=0.2):
    deadline = time.monotonic() + SECONDS_MAX
    while not (value := is_so()):
        dead = [client.why for client in clients if client.why]
        if dead or deadline < time.monotonic():
            raise SystemExit(f"never: {what}; {dead or 'clients go on'}")
        time.sleep(pause)
    return value


def settle():
    """Until everything is at home, and has been for a moment."""
    homes = [f"a-{1 + number % 2}" for number in range(16)]
    until("every partition is at home", lambda: owners() == homes)
    time.sleep(0.5)


def pid(name):
    return next(it["pid"] for it in ask("status")["nodes"] if it["name"] == name)


class Client(threading.Thread):
    def __init__(self, number):
        super().__init__(daemon=True)
        self.account = f"acc-{number}"
        self.connection = http.client.HTTPConnection(edge, timeout=60)
        assert self.send("/v1/a/accounts", {"id": self.account, "currency": "EUR"}, None)[0] == 201
        status, it = self.send(f"/v1/a/accounts/{self.account}/credit", {"amount": 10**9, "currency": "EUR"}, None)
        digits = it["id"].removeprefix("tx_").lower()
        self.partition = (sum(DIGITS.index(c) << 5 * i for i, c in enumerate(reversed(digits))) >> 56) & 0xFFF
        self.lock, self.ends, self.booked, self.over, self.paced = threading.Lock(), [], 0, False, True
        self.statuses, self.why = {}, None

    def send(self, path, body, idempotency_key):
        more = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        self.connection.request("POST", path, json.dumps(body), headers | more)
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())

    def run(self):
        try:
            self.ask_on()
        except Exception as error:
            self.why = f"{self.account}: {error!r}"

    def ask_on(self):
        number = 0
        while not self.over:
            number += 1
            begun = time.monotonic()
            verb = "credit" if number % 2 else "debit"
            while True:
                status, _ = self.send(
                    f"/v1/a/accounts/{self.account}/{verb}", {"amount": 1, "currency": "EUR"}, f"{self.account}-{number}")
                self.statuses[status] = self.statuses.get(status, 0) + 1
                if status == 201:
                    break
                assert status in (503, 504), status
                time.sleep(0.005)
            now = time.monotonic()
            self.booked += 1
            with self.lock:
                self.ends.append((begun, now))
            if self.paced:
                time.sleep(max(0, PACE - (now - begun)))

    def first_after(self, moment):
        with self.lock:
            return next((end for _, end in self.ends if moment < end), None)


def gap(clients, moment):
    def first():
        firsts = [client.first_after(moment) for client in clients]
        return None if None in firsts else max(firsts) - moment
    return until("every client is answered", first, 0.01)


def tell(name, times, goal):
    times = sorted(1000 * it for it in times)
    at = lambda share: times[min(len(times) - 1, int(share * len(times)))]
    print(f"{name:34} n {len(times):3}   min {times[0]:7.1f}   median {at(0.5):7.1f}   max {times[-1]:7.1f} ms   goal {goal}", flush=True)


clients = [Client(number) for number in range(CLIENTS)]
for client in clients:
    client.start()
time.sleep(2)
settle()
print(f"{len({client.partition for client in clients})} of 16 partitions have clients", flush=True)

for fault, name, sent, goal in [("kill", "owner killed (kill -9)", signal.SIGKILL, KILL_GOAL),
                                ("stop", "owner stopped (SIGSTOP)", signal.SIGSTOP, "5,500 ms")]:
    if fault not in faults:
        continue
    times = []
    for run in range(runs):
        settle()
        victim = pid(f"a-{1 + run % 2}")
        time.sleep(0.05 * (run % 7))
        moment = time.monotonic()
        os.kill(victim, sent)
        times.append(gap(clients, moment))
        try:
            os.kill(victim, signal.SIGCONT)  # Where nobody could end it, it finds out that it was deposed.
        except ProcessLookupError:
            pass
    tell(name, times, goal)



def moves():
    """One client without a pause, so that the longest request in which a move falls is the time
    without service; beside it the longest of as long a time without a move."""
    prober = clients[0]
    prober.paced = False
    admin = next(it["admin"] for it in ask("status")["nodes"] if it["name"] == "a-1")

    def order(path):
        connection = http.client.HTTPConnection(admin)
        connection.request("POST", path, headers={"Content-Type": "application/json"})
        assert connection.getresponse().status == 200

    def longest():
        with prober.lock:
            times = [end - begun for begun, end in prober.ends]
            prober.ends.clear()
        return max(times)

    times, quiet = [], []
    for run in range(runs):
        time.sleep(0.3)
        target = owners()[prober.partition] == "a-1" and "a-2" or "a-1"
        longest()
        begun = time.monotonic()
        order(f"/admin/partitions/{prober.partition}/{target}")
        until("it has moved", lambda: owners()[prober.partition] == target, 0.02)
        time.sleep(0.2)
        times.append(longest())
        # The same looks at the tree, and no move.
        took = time.monotonic() - begun
        while time.monotonic() - begun < 2 * took:
            owners()
            time.sleep(0.02)
        quiet.append(longest())
    tell("partition given (planned move)", times, "50 ms")
    tell("longest request without a move", quiet, "-")
    order(f"/admin/partitions/{prober.partition}")
    prober.paced = True


settle()
if "move" in faults:
    moves()

for client in clients:
    client.over = True
for client in clients:
    client.join()
asked = http.client.HTTPConnection(edge)
for client in clients:
    asked.request("GET", f"/v1/a/accounts/{client.account}/balance", headers=headers)
    balance = json.loads(asked.getresponse().read())
    assert balance["version"] == client.booked + 1, (client.account, balance, client.booked)
statuses = {}
for client in clients:
    for status, count in client.statuses.items():
        statuses[status] = statuses.get(status, 0) + count
print(f"answers by status: {statuses}; every acknowledged request is booked once", flush=True)
