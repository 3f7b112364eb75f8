"""The server that holds a fleet's credential is killed, and another takes its place: real Sentinels, and a
real cluster, under two keepers and two holders whose callers go on all the while.

`./test` runs both; `fleet_failover.py --binary …` prints the rows for the table of `docs/fleet.md`.
"""

import secrets
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fleet import Fleet, Redis
from fleet_faults import Row, generations, renew, told, until_newer
from harness import LOOPBACK, Bench, Skipped, expect, free_port, until

# By what the Sentinels call the server.
SERVICE = "crm"
# Whoever becomes a replica of another logs in to it so, and is not kept waiting for more replicas.
FOLLOWS = "masteruser admin\nmasterauth x\nrepl-diskless-sync-delay 0\n"


class Sentinel(Redis):
    """Watches the server on `port`, with two others, and takes it for dead when it was missed for half a
    second; its own password is another than the server's."""

    arguments = ("--sentinel",)

    def __init__(self, bench, name, port, password):
        watches = (
            f"sentinel monitor {SERVICE} {LOOPBACK} {port} 2",
            f"sentinel auth-user {SERVICE} admin",
            f"sentinel auth-pass {SERVICE} x",
            f"sentinel down-after-milliseconds {SERVICE} 500",
            f"sentinel failover-timeout {SERVICE} 2000",
            f"requirepass {password}",
        )
        super().__init__(bench, name, "\n".join(watches) + "\n")

    def rules(self):
        return "user admin on nopass ~* &* +@all\n"


class Layout:
    """Several servers and where headset is told to look for them; the one that has the record is killed."""

    def __init__(self, bench, servers, asked, store):
        self.servers, self.killed = servers, None
        nodes = ", ".join(f'"{LOOPBACK}:{one.port}"' for one in asked[1:])
        self.fleet = Fleet(bench, redis=servers[0], store=f"nodes = [{nodes}]\n{store}")
        for number in range(4):
            role = "keeper" if number < 2 else "holder"
            self.fleet.add(f"{role}{number % 2}", role, asked[0].port)
        self.fleet.until_live()

    def masters(self):
        """Those that run, and say themselves that they can be written."""
        return [one for one in self.servers if one is not self.killed and replication(one)["role"] == "master"]

    def kill(self, server):
        """Ends `server` as a crash does, and counts it out until it is back."""
        self.killed = server
        server.kill()

    def holder_of_record(self):
        """The master that has the record; none while there is none."""
        having = [one for one in self.masters() if "headset:{cms_key}:" in one.ask("KEYS", "headset:*")]
        return having[0] if len(having) == 1 else None


def replication(server):
    """What it tells of its replication."""
    lines = server.ask("INFO", "replication").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def follows(server, master=None):
    """Whether it is a replica that has all of its master's data, now; of `master`, where that is given."""
    sent = replication(master)["master_repl_offset"] if master else 0
    told = replication(server)
    return (
        told.get("master_link_status") == "up"
        and (master is None or told["master_port"] == str(master.port))
        and int(told["slave_repl_offset"]) >= int(sent)
    )


def users(server):
    """How many connections of headset it has."""
    return server.ask("CLIENT", "LIST").count("user=headset")


def agree(world):
    """Whether every replica carries what is published, by what each tells and by the server that can be written."""
    server = world.holder_of_record()
    published = server and server.field(server.record(), "g")
    shared = [replica.status()["shared"] for replica in world.fleet.replicas]
    return bool(published) and all(one["generation"] == one["published"] == published for one in shared)


def failover(world, what):
    """The master with the record is killed under traffic; when another has its place, a renewal is asked for; the
    one that was killed comes back, empty and as the master that it was; and it has its place again when the other
    is killed, during a renewal. Returns a row for each."""
    fleet = world.fleet
    first = until("a master with the record", world.holder_of_record)
    published = first.field(first.record(), "g")
    until("all replicas to carry it", lambda: agree(world))
    second = until("its replica to have it", lambda: next((one for one in world.servers if follows(one, first)), None))

    row = Row(fleet, f"{what}: the master killed", 0)
    world.kill(first)
    until_taken_over(world, second)
    row.recovered()
    expect(second.field(second.record(), "g") == published, "what was published was lost with the master")
    rows = [exactly(row)]

    before = generations(fleet)
    row = Row(fleet, "… a renewal after it", 1)
    renew(fleet.replicas[0])
    until_newer(fleet.replicas, before)
    row.recovered()
    expect(second.field(second.record(), "g") > published, "the new master has no newer credential")
    until("all replicas to carry it", lambda: agree(world))
    rows.append(exactly(row))

    before = generations(fleet)
    row = Row(fleet, "… the old master back, empty", 0)
    first.start()
    until("it to have all of the new one", lambda: follows(first, second))
    row.recovered()
    world.killed = None
    rows.append(exactly(row))
    expect(agree(world) and generations(fleet) == before, "what the replicas carry changed when the old master came back")

    published = second.field(second.record(), "g")
    row = Row(fleet, "… the new one killed, and a renewal asked for at once", 1)
    world.kill(second)
    # The keeper mints for itself, and publishes it as soon as it can: a person asked.
    renew(fleet.replicas[0])
    until_newer(fleet.replicas, before)
    until_taken_over(world, first)
    row.recovered()
    until("it to be published", lambda: first.field(first.record(), "g") > published)
    until("all replicas to carry it", lambda: agree(world))
    rows.append(exactly(row))
    return rows


def until_taken_over(world, server):
    """Waits until `server` is a master with the record, and every replica is connected to it."""
    until("another master with the record", lambda: world.holder_of_record() is server)
    until("all replicas to be there", lambda: users(server) >= len(world.fleet.replicas))
    for replica in world.fleet.replicas:
        until(f"{replica.name} to have the store again", lambda: replica.metric("headset_fleet_store_up") == 1)


def exactly(row):
    """Ends `row` after ten more calls through each replica, and holds it to what it takes."""
    enough = row.traffic.sent + 10 * len(row.fleet.replicas)
    until("calls after it", lambda: row.traffic.sent >= enough)
    row.end()
    expect(row.seen == row.ideal, f"{row.what}: {row.seen} registrations, and it takes {row.ideal}")
    return row


def by_sentinel(bench):
    """A master and its replica, and three Sentinels; headset knows nothing but these."""
    master = Redis(bench, "master", FOLLOWS)
    replica = Redis(bench, "replica", f"{FOLLOWS}replicaof {LOOPBACK} {master.port}\n")
    until("the replica to have all of the master", lambda: follows(replica))
    password, path = bench.secret("sentinel-password", secrets.token_hex(16))
    sentinels = [Sentinel(bench, f"sentinel{number}", master.port, password) for number in range(3)]
    for sentinel in sentinels:
        until(
            "the Sentinels to know of each other",
            lambda: sentinel.ask("SENTINEL", "CKQUORUM", SERVICE).startswith("+OK 3")
            and "slaves=1" in sentinel.ask("INFO", "sentinel"),
        )
    store = f'sentinel = "{SERVICE}"\nsentinel_password = {{ file = "{path}" }}\n'
    return failover(Layout(bench, [master, replica], sentinels, store), "failed over by Sentinel")


def in_cluster(bench):
    """Three nodes and a replica of each, as `redis-cli --cluster create` makes them."""
    program = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if not program:
        raise Skipped("there is no redis-cli; Debian has it in redis-tools")
    nodes, addresses = [], []
    for number in range(6):
        bus = free_port()
        settings = f"cluster-enabled yes\ncluster-port {bus}\ncluster-node-timeout 1000\n{FOLLOWS}"
        nodes.append(Redis(bench, f"node{number}", settings))
        addresses.append(f"{LOOPBACK}:{nodes[-1].port}@{bus}")
    made = bench.run(
        "create",
        [program, "--user", "admin", "--pass", "x", "--no-auth-warning", "--cluster", "create", *addresses]
        + ["--cluster-replicas", "1", "--cluster-yes"],
    )
    expect(made.ended() == "exit code 0", f"redis-cli made no cluster: {made.ended()}\n{made.tail()}")
    for node in nodes:
        until("the cluster", lambda: "cluster_state:ok" in node.ask("CLUSTER", "INFO"))
        until("its replicas", lambda: replication(node)["role"] == "master" or follows(node))
    return failover(Layout(bench, nodes, nodes[:3], "cluster = true\n"), "a node of a cluster")


# --- what `./test` runs -------------------------------------------------------------------------


def fleet_sentinel(bench):
    """Failed over by Sentinel."""
    return told(by_sentinel(bench))


def fleet_cluster(bench):
    """Failed over in a cluster."""
    return told(in_cluster(bench))


def main():
    import argparse
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="headset, built with the demo")
    told = parser.parse_args()
    print("| Scenario | Registrations: ideal, seen | Calls not answered 200 | Until all had it |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="headset-fleet-") as folder:
        for scenario in (by_sentinel, in_cluster):
            name = scenario.__name__
            with Bench(name, Path(told.binary).resolve(), Path(folder) / name) as bench:
                for row in scenario(bench):
                    print(row, flush=True)


if __name__ == "__main__":
    main()
