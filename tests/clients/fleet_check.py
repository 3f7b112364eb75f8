"""`headset check --online` of a fleet: a holder says what it would carry, and both roles say
what is wrong with the store."""

import secrets
import subprocess

import fleet
from harness import expect, free_port


def check(bench, config):
    argv = [bench.binary, "check", "--online", "--config", config]
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=120)
    told = done.stdout + done.stderr
    bench.heard += told.encode()
    return done.returncode, told


def fleet_check(bench):
    """A keeper and a holder that are right, and each with one thing that is wrong."""
    world = fleet.Fleet(bench, mint="2s")
    keeper, holder = world.add("keeper", "keeper"), world.add("holder", "holder")
    world.until_live()
    before = world.registrations()
    code, told = check(bench, holder.config)
    expect(code == 0 and "obtained" in told, f"a good holder ended with {code}: {told}")
    expect(world.registrations() == before, "a holder registered something")
    code, told = check(bench, keeper.config)
    expect(code == 0, f"a good keeper ended with {code}: {told}")

    _, wrong = bench.secret("wrong", secrets.token_hex(32))
    wrongs = {
        "password": (str(world.redis.password_path), str(wrong), ("WRONGPASS", "store.password"), (keeper, holder)),
        "port": (f":{world.redis.port}", f":{free_port()}", ("not reached",), (keeper, holder)),
        "key": (str(world.key_path), str(wrong), ("sealed with the key", "store.other_key"), (keeper, holder)),
    }
    for what, (good, bad, parts, replicas) in wrongs.items():
        for replica in replicas:
            text = replica.config.read_text()
            config = bench.folder / f"{replica.name}-{what}.toml"
            config.write_text(text.replace(good, bad))
            code, told = check(bench, config)
            expect(code != 0, f"a wrong {what} of the {replica.name} was not noticed: {told}")
            for part in parts:
                expect(part in told, f"a wrong {what} of the {replica.name} was told as {told}")
    return f"a wrong {', '.join(wrongs)} is told"
