"""PyPI's healthchecks-io against a monitor: BASE API_KEY PING_KEY. Prints what it exercised."""

import sys

from healthchecks_io import BadAPIRequestError, CheckCreate, CheckTrap, CheckUpdate, Client, HCAPIAuthError

base, key, ping_key = sys.argv[1:]


def same(got, want):
    assert got == want, f"{got!r} instead of {want!r}"


for version in (1, 2, 3):
    client = Client(api_key=key, ping_key=ping_key, api_url=f"{base}/api/", ping_url=f"{base}/ping/", api_version=version)
    name = f"python {version}"
    check = client.create_check(CheckCreate(name=name, tags=f"py v{version}", timeout=600, grace=60, unique=["name"]))
    same((check.name, check.status, check.timeout, check.n_pings), (name, "new", 600, 0))
    same(client.create_check(CheckCreate(name=name, tags=f"py v{version}", unique=["name"])).uuid, check.uuid)
    same([it.uuid for it in client.get_checks(tags=[f"v{version}"])], [check.uuid])
    same(client.success_ping(uuid=check.uuid, data="done"), (True, "OK"))
    same(client.get_check(check.uuid).status, "up")
    same(client.start_ping(uuid=check.uuid), (True, "OK"))
    same(client.exit_code_ping(exit_code=2, uuid=check.uuid, data="it broke"), (True, "OK"))
    same(client.get_check(check.uuid).status, "down")
    same(client.fail_ping(uuid=check.uuid), (True, "OK"))
    with CheckTrap(client, uuid=check.uuid, suppress_exceptions=True) as trap:
        trap.add_log("about to fail")
        raise ValueError("for the trap")
    with CheckTrap(client, uuid=check.uuid):
        pass
    pings = client.get_check_pings(check.uuid)
    same([it.type for it in pings], ["success", "start", "fail", "start", "fail", "fail", "start", "success"])
    same([it.number_of_pings for it in pings], list(range(8, 0, -1)))
    if version >= 2:
        same([it.up for it in client.get_check_flips(check.uuid)][:3], [1, 0, 1])
    same(client.update_check(check.uuid, CheckUpdate(desc="changed", grace=120)).grace, 120)
    same(client.pause_check(check.uuid).status, "paused")
    client.get_integrations()
    badges = client.get_badges()
    assert badges["py"].svg.startswith("http"), badges
    same(client.delete_check(check.uuid).name, name)

client = Client(api_key=key, ping_key=ping_key, api_url=f"{base}/api/", ping_url=f"{base}/ping/")
try:
    client.success_ping(slug="Not A Slug")
    raise AssertionError("a slug with capitals was taken")
except BadAPIRequestError:
    pass
try:
    Client(api_key="wrong", api_url=f"{base}/api/").get_checks()
    raise AssertionError("a wrong key was taken")
except HCAPIAuthError:
    pass
print("API versions 1 to 3: upsert, list by tag, update, pause, pings, flips, integrations, badges, delete; every ping; CheckTrap; wrong key, bad slug")
