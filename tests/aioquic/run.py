"""The cases. Usage: run.py PEREGRINE HQ [PATTERN]

Not here: a shared key with aioquic as the server. It wants signature algorithms of every client, and one that will
take no certificate names none (RFC 9846 9.2).
"""

import asyncio
import json
import sys
import tempfile
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import peer
from pattern import pattern
from pki import Authority

PEREGRINE, HQ = sys.argv[1:3]
WANTED = sys.argv[3] if len(sys.argv) > 3 else ""
LIMIT = 60
PSK = (b"sensor-7", bytes(range(32)))
PSK_TEXT = f"{PSK[0].decode()}:{PSK[1].hex()}"
SIZES = [0, 1, 10_000, 1 << 20]
LONG = 4 << 20
ELSEWHERE = "127.0.0.2"


class Setup:
    """Certificates of a run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.authority = Authority(folder, "authority")
        self.server = self.authority.issue("server.test")
        self.client = self.authority.issue("client.test")
        self.stranger = Authority(folder, "stranger")


@asynccontextmanager
async def peregrine_serves(setup: Setup, *args: str, certificate=True):
    """`peregrine serve`; yields its port."""
    shown = ["--cert", setup.server[0], "--key", setup.server[1]] if certificate else []
    command = [PEREGRINE, "serve", "--json", "--listen", "127.0.0.1:0", *map(str, shown), *args]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        said = json.loads(await process.stdout.readline())
        yield int(said["listening"][0].rsplit(":", 1)[1])
    finally:
        process.kill()
        await process.wait()


async def peregrine_gets(port: int, sizes: list[int], *args) -> tuple[int, str]:
    """`peregrine get`; checks what it got, and returns its exit code and what it complained of."""
    urls = [f"hq://127.0.0.1:{port}/{size}" for size in sizes]
    command = [PEREGRINE, "get", "--json", "--out", "-", *map(str, args), *urls]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    out, complaints = await process.communicate()
    text = out.decode() + complaints.decode()
    if process.returncode == 0:
        for size in sizes:
            assert sha256(pattern(size)).hexdigest() in text, f"wrong bytes of {size}: {text}"
    return process.returncode, text


@asynccontextmanager
async def hq_serves(setup: Setup):
    """The `hq` example, which takes uploads; yields its port."""
    command = [HQ, "serve", "ours", *map(str, setup.server), "127.0.0.1:0"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        yield int((await process.stdout.readline()).rsplit(b":", 1)[1])
    finally:
        process.kill()
        await process.wait()


async def hq_moves(setup: Setup, way: str, port: int, how: str):
    """The `hq` example as a client that moves in the middle."""
    where = [str(setup.authority.pem), f"127.0.0.1:{port}", str(LONG), how, f"{ELSEWHERE}:0", str(LONG // 3)]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(HQ, way, "ours", *where, stdout=pipe, stderr=pipe)
    out, complaints = await process.communicate()
    assert process.returncode == 0 and int(out) == LONG, (out, complaints)


def trusting(setup: Setup, **how):
    config = peer.configuration(is_client=True, **how)
    config.load_verify_locations(str(setup.authority.pem))
    return config


def showing(setup: Setup, **how):
    config = peer.configuration(is_client=False, **how)
    config.load_cert_chain(*setup.server)
    return config


async def client_sizes(setup):
    async with peregrine_serves(setup) as port, peer.connected(port, trusting(setup)) as client:
        for size in SIZES:
            await client.get(size)


async def client_streams(setup):
    async with peregrine_serves(setup) as port, peer.connected(port, trusting(setup)) as client:
        await asyncio.gather(*(client.get(size) for size in range(0, 10_000, 200)))


async def client_ciphers(setup):
    async with peregrine_serves(setup) as port:
        for suite in peer.SUITES:
            async with peer.connected(port, trusting(setup, suite=suite)) as client:
                await client.get(10_000)


async def client_retry(setup):
    async with peregrine_serves(setup, "--retry") as port, peer.connected(port, trusting(setup)) as client:
        await client.get(10_000)


async def client_key_updates(setup):
    async with peregrine_serves(setup) as port, peer.connected(port, trusting(setup)) as client:
        for _ in range(3):
            await client.get(100_000)
            client.request_key_update()
            await client.get(100_000)


async def client_psk(setup):
    config = peer.configuration(is_client=True, suite="aes128gcm")
    config.session_ticket = peer.external_psk(*PSK)
    async with peregrine_serves(setup, "--psk", PSK_TEXT, certificate=False) as port:
        async with peer.connected(port, config) as client:
            await client.get(10_000)
            assert client.complete.session_resumed, "the shared key was not taken"


async def client_wrong_psk(setup):
    config = peer.configuration(is_client=True, suite="aes128gcm")
    config.session_ticket = peer.external_psk(PSK[0], bytes(32))
    async with peregrine_serves(setup, "--psk", PSK_TEXT, certificate=False) as port:
        async with peer.connected(port, config, wait=False) as client:
            ended = await client.end()
            assert ended.error_code == 0x133, ended


async def client_certificate(setup):
    async with peregrine_serves(setup, "--client-ca", str(setup.authority.pem)) as port:
        config = trusting(setup)
        config.load_cert_chain(*setup.client)
        async with peer.connected(port, config) as client:
            await client.get(10_000)
        async with peer.connected(port, trusting(setup)) as client:
            ended = await client.end()
            assert ended.error_code == 0x174, ended


async def client_wrong_alpn(setup):
    async with peregrine_serves(setup) as port:
        async with peer.connected(port, trusting(setup, alpn="other"), wait=False) as client:
            ended = await client.end()
            assert ended.error_code == 0x178, ended


async def client_moves(setup):
    await client_goes_elsewhere(setup, moves=True)


async def client_is_rebound(setup):
    await client_goes_elsewhere(setup, moves=False)


async def client_goes_elsewhere(setup, moves):
    for host in [ELSEWHERE, "127.0.0.1"]:
        async with hq_serves(setup) as port, peer.connected(port, trusting(setup)) as client:
            for transfer in [client.get, client.put]:
                running = asyncio.create_task(transfer(LONG))
                await asyncio.sleep(0)
                await client.half_way(LONG)
                before = await client.go(host, new_id=moves)
                if not moves:
                    # What is under way is lost.
                    before.close()
                await running
            if moves:
                assert all(client.ids), client.ids
                assert len(set.union(*client.ids)) == sum(map(len, client.ids)), f"the same at two: {client.ids}"
            client._transport.close()


async def server_sizes(setup):
    async with peer.serving(showing(setup)) as port:
        done = await peregrine_gets(port, SIZES, "--ca", setup.authority.pem)
        assert done[0] == 0, done


async def server_streams(setup):
    async with peer.serving(showing(setup)) as port:
        sizes = list(range(0, 10_000, 200))
        done = await peregrine_gets(port, sizes, "--ca", setup.authority.pem, "--parallel", 50)
        assert done[0] == 0, done


async def server_ciphers(setup):
    async with peer.serving(showing(setup)) as port:
        for suite in peer.SUITES:
            done = await peregrine_gets(port, [10_000], "--ca", setup.authority.pem, "--cipher", suite)
            assert done[0] == 0, done
    for suite in peer.SUITES:
        async with peer.serving(showing(setup, suite=suite)) as port:
            done = await peregrine_gets(port, [10_000], "--ca", setup.authority.pem)
            assert done[0] == 0, done


async def server_retry(setup):
    async with peer.serving(showing(setup), retry=True) as port:
        done = await peregrine_gets(port, [10_000], "--ca", setup.authority.pem)
        assert done[0] == 0, done


async def server_key_updates(setup):
    async with peer.serving(showing(setup), updates_keys=True) as port:
        done = await peregrine_gets(port, [200_000], "--ca", setup.authority.pem)
        assert done[0] == 0, done


async def server_of_a_client_that_tries(setup):
    async with peer.serving(showing(setup)) as port:
        args = ["--ca", setup.authority.pem, "--migrate-to", f"{ELSEWHERE}:0", "--after", "1MiB"]
        code, said = await peregrine_gets(port, [LONG], *args)
        moves = json.loads(said)["moves"]
        assert code == 0 and [move["cause"] for move in moves] == ["chosen"], said
        await hq_moves(setup, "put", port, "probe")


async def server_of_a_client_that_moves_at_once(setup):
    async with peer.serving(showing(setup)) as port:
        await hq_moves(setup, "get", port, "at-once")
        await hq_moves(setup, "put", port, "at-once")


async def server_of_a_client_that_is_rebound(setup):
    async with peer.serving(showing(setup)) as port:
        args = ["--ca", setup.authority.pem, "--rebind-after", "1MiB"]
        code, said = await peregrine_gets(port, [LONG], *args)
        assert code == 0 and len(json.loads(said)["rebindings"]) == 1, said
        await hq_moves(setup, "get", port, "rebind")
        await hq_moves(setup, "put", port, "rebind")


async def server_certificate_of_a_stranger(setup):
    async with peer.serving(showing(setup)) as port:
        code, said = await peregrine_gets(port, [1], "--ca", setup.stranger.pem)
        assert code == 5 and "unknown CA" in said, (code, said)


CASES = [
    client_sizes,
    client_streams,
    client_ciphers,
    client_retry,
    client_key_updates,
    client_psk,
    client_wrong_psk,
    client_certificate,
    client_wrong_alpn,
    client_moves,
    client_is_rebound,
    server_sizes,
    server_streams,
    server_ciphers,
    server_retry,
    server_key_updates,
    server_of_a_client_that_tries,
    server_of_a_client_that_moves_at_once,
    server_of_a_client_that_is_rebound,
    server_certificate_of_a_stranger,
]


async def main() -> int:
    peer.external_binders()
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup(Path(folder))
        for case in CASES:
            if WANTED not in case.__name__:
                continue
            try:
                await asyncio.wait_for(case(setup), LIMIT)
                print(f"ok      {case.__name__}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAILED  {case.__name__}: {type(error).__name__}: {error}", flush=True)
    print("all passed" if failed == 0 else f"{failed} failed")
    return min(failed, 1)


sys.exit(asyncio.run(main()))
