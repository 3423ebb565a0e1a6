"""The cases. Usage: run.py PEREGRINE HQ [PATTERN]

Not here: a server of aioquic with a preferred address, which it cannot offer, and a client of quinn that follows one, which it
does not; these clients move by themselves. Servers of others are judged less strictly than by the runner, which demands that
a server's first packet on a new path asks whether it works: quinn asks a client that tries a route only when it takes it,
aioquic acknowledges first when its window is full.
"""

import asyncio
import json
import os
import sys
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "aioquic"))

import judge
import peer
import wire
from network import Network
from pattern import pattern
from pki import Authority

PEREGRINE, HQ = sys.argv[1:3]
WANTED = sys.argv[3] if len(sys.argv) > 3 else ""
LIMIT = 60
MIB = 1 << 20
ELSEWHERE = "127.0.0.2"
PIPE = asyncio.subprocess.PIPE


class Setup:
    """Certificates of a run, and the secrets of its latest connection."""

    def __init__(self, folder: Path):
        self.authority = Authority(folder, "authority")
        self.server = [str(path) for path in self.authority.issue("server.test")]
        self.ca = str(self.authority.pem)
        self.keylog = folder / "keys"


# Servers: what they take is the setup and the preferred address to offer, or none; what they yield is where they listen, and
# where they do for who goes to the preferred address.


@asynccontextmanager
async def running(*command: str):
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield (await process.stdout.readline()).decode()
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def peregrine_serves(setup: Setup, preferred: str | None):
    chain, key = setup.server
    listen = ["--listen", "127.0.0.1:0", "127.0.0.1:0"]
    offer = ["--preferred", preferred] if preferred else []
    async with running(PEREGRINE, "serve", "--json", "--cert", chain, "--key", key, *listen, *offer) as said:
        yield [address(text) for text in json.loads(said)["listening"]]


@asynccontextmanager
async def quinn_serves(setup: Setup, preferred: str | None):
    offer = [preferred] if preferred else []
    async with running(HQ, "serve", "quinn", *setup.server, "127.0.0.1:0", *offer) as said:
        yield [address(said.strip())] * 2


@asynccontextmanager
async def aioquic_serves(setup: Setup, preferred: str | None):
    assert preferred is None
    config = peer.configuration(is_client=False)
    config.load_cert_chain(*setup.server)
    async with peer.serving(config) as port:
        yield [("127.0.0.1", port)] * 2


# Clients: what they take is the setup, where the server is, how many bytes to download, and how to move in the middle, if at
# all: "tried" first or "at once".


async def done(*command: str, **environment: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=PIPE, stderr=PIPE, env=os.environ | environment
    )
    try:
        out, complaints = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, (out + complaints).decode()
    return out.decode()


async def peregrine_gets(setup: Setup, server, length: int, moves: str | None):
    if moves == "at once":
        # The command always tries first.
        return await hq_gets("ours", setup, server, length, "at-once")
    how = ["--migrate-to", f"{ELSEWHERE}:0", "--after", str(length // 2)] if moves else []
    url = f"hq://{text(server)}/{length}"
    out = await done(
        PEREGRINE, "get", "--json", "--out", "-", "--ca", setup.ca, "--keylog", str(setup.keylog), *how, url
    )
    assert sha256(pattern(length)).hexdigest() in out, out


async def quinn_gets(setup: Setup, server, length: int, moves: str | None):
    await hq_gets("quinn", setup, server, length, "rebind" if moves else None)


async def hq_gets(stack: str, setup: Setup, server, length: int, how: str | None):
    move = [how, f"{ELSEWHERE}:0", str(length // 2)] if how else []
    await done(HQ, "get", stack, setup.ca, text(server), str(length), *move, SSLKEYLOGFILE=str(setup.keylog))


async def aioquic_gets(setup: Setup, server, length: int, moves: str | None):
    with open(setup.keylog, "a") as keylog:
        config = peer.configuration(is_client=True)
        config.load_verify_locations(setup.ca)
        config.secrets_log_file = keylog
        async with peer.connected(server[1], config) as client:
            getting = asyncio.create_task(client.get(length))
            if moves:
                await asyncio.sleep(0)
                await client.half_way(length)
                await client.go(ELSEWHERE, new_id=True)
            await getting


def address(text: str) -> tuple[str, int]:
    host, port = text.rsplit(":", 1)
    return host, int(port)


def text(address: tuple[str, int]) -> str:
    return "{}:{}".format(*address)


@dataclass
class Case:
    """One of the runner's, between two stacks."""

    name: str
    serves: callable
    gets: callable
    length: int
    judge: callable
    rebinds: bool = False
    changes_address: bool = False
    prefers: bool = False
    moves: str | None = None

    async def run(self, setup: Setup):
        setup.keylog.write_text("")
        network = Network(self.changes_address)
        try:
            front, preferred = network.front(), network.front()
            async with self.serves(setup, text(preferred) if self.prefers else None) as servers:
                network.lead(front, servers[0])
                network.lead(preferred, servers[1])
                if self.rebinds:
                    network.rebind_every(1, then=5)
                await self.gets(setup, front, self.length, self.moves)
                # What is under way arrives.
                await asyncio.sleep(0.1)
        finally:
            network.close()
        self.judge(wire.read(network.sightings, setup.keylog.read_text()))


SERVERS = {"peregrine": peregrine_serves, "quinn": quinn_serves, "aioquic": aioquic_serves}
CLIENTS = {"peregrine": peregrine_gets, "quinn": quinn_gets, "aioquic": aioquic_gets}
PAIRS = [(client, server) for client in CLIENTS for server in SERVERS if "peregrine" in (client, server)]


def cases():
    for client, server in PAIRS:
        ends = f"{client} from {server}"
        case = partial(Case, serves=SERVERS[server], gets=CLIENTS[client])
        late = server != "peregrine"
        rebinds = partial(case, length=10 * MIB, rebinds=True)
        yield rebinds(f"rebind-port: {ends}", judge=partial(judge.rebinding, late=late))
        readdressing = partial(judge.readdressing, late=late)
        yield rebinds(f"rebind-addr: {ends}", judge=readdressing, changes_address=True)
        migrates = partial(case, length=2 * MIB, judge=partial(judge.migration, late=late))
        yield migrates(f"connectionmigration at once: {ends}", moves="at once")
        if client == "peregrine":
            yield migrates(f"connectionmigration when tried: {ends}", moves="tried")
        if client != "quinn" and server != "aioquic":
            yield migrates(f"connectionmigration to a preferred address: {ends}", prefers=True)


async def main() -> int:
    failed = 0
    for length in [2 * MIB, 10 * MIB]:
        # Not while packets wait.
        pattern(length)
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(Path(folder))
        for case in cases():
            if WANTED not in case.name:
                continue
            try:
                await asyncio.wait_for(case.run(setup), LIMIT)
                print(f"ok      {case.name}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAILED  {case.name}: {type(error).__name__}: {error}", flush=True)
    print("all passed" if failed == 0 else f"{failed} failed")
    return min(failed, 1)


sys.exit(asyncio.run(main()))
