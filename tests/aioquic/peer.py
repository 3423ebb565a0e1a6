"""aioquic as a client and as a server of HTTP/0.9 over QUIC."""

import asyncio
import datetime
import socket
from contextlib import asynccontextmanager

from aioquic import tls
from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, HandshakeCompleted, StreamDataReceived

from pattern import pattern

ALPN = "hq-interop"
SUITES = {
    "aes128gcm": tls.CipherSuite.AES_128_GCM_SHA256,
    "aes256gcm": tls.CipherSuite.AES_256_GCM_SHA384,
    "chacha20poly1305": tls.CipherSuite.CHACHA20_POLY1305_SHA256,
}


class Server(QuicConnectionProtocol):
    """Answers `GET /N` with N bytes of the pattern, and `PUT /N` and as many bytes with how many there were."""

    updates_keys = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.requests: dict[int, bytearray] = {}

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            request = self.requests.setdefault(event.stream_id, bytearray())
            request += event.data
            if event.end_stream:
                line, _, sent = bytes(request).partition(b"\n")
                method, path = line.split()
                length = int(path.lstrip(b"/"))
                if method == b"PUT":
                    assert sent == pattern(length), f"wrong bytes of {length}"
                self.answer(event.stream_id, pattern(length) if method == b"GET" else b"%d" % length)

    def answer(self, stream: int, body: bytes):
        half = len(body) // 2
        self._quic.send_stream_data(stream, body[:half])
        self.transmit()
        if self.updates_keys:
            self._quic.request_key_update()
        self._quic.send_stream_data(stream, body[half:], end_stream=True)
        self.transmit()


class Client(QuicConnectionProtocol):
    """Downloads and uploads, moves, and remembers how the connection ended."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.bodies: dict[int, bytearray] = {}
        self.ends: dict[int, asyncio.Future] = {}
        self.complete: HandshakeCompleted | None = None
        self.terminated: asyncio.Future = asyncio.get_running_loop().create_future()
        # The connection IDs that came to each socket.
        self.ids: list[set[bytes]] = [set()]

    def datagram_received(self, data, addr, socket=0):
        if not data[0] & 0x80:
            self.ids[socket].add(data[1 : 1 + len(self._quic.host_cid)])
        super().datagram_received(data, addr)

    def quic_event_received(self, event):
        if isinstance(event, HandshakeCompleted):
            self.complete = event
        elif isinstance(event, StreamDataReceived):
            self.bodies[event.stream_id] += event.data
            if event.end_stream:
                self.ends[event.stream_id].set_result(None)
        elif isinstance(event, ConnectionTerminated) and not self.terminated.done():
            self.terminated.set_result(event)
            for end in self.ends.values():
                if not end.done():
                    end.set_exception(ConnectionError(event.reason_phrase))

    async def end(self) -> ConnectionTerminated:
        """Waits for the end of the connection, which may not even have begun."""
        self.transmit()
        return await self.terminated

    async def get(self, length: int):
        """Downloads so many bytes and checks them."""
        stream = self.request(b"GET /%d\r\n" % length)
        await self.ends[stream]
        assert self.bodies[stream] == pattern(length), f"wrong bytes of {length}"

    async def put(self, length: int):
        """Uploads so many bytes, and learns that they have come."""
        stream = self.request(b"PUT /%d\r\n" % length + pattern(length))
        await self.ends[stream]
        assert self.bodies[stream] == b"%d" % length, f"not all of {length}"

    def request(self, bytes: bytes) -> int:
        stream = self._quic.get_next_available_stream_id()
        self.bodies[stream] = bytearray()
        self.ends[stream] = asyncio.get_running_loop().create_future()
        self._quic.send_stream_data(stream, bytes, end_stream=True)
        self.transmit()
        return stream

    async def half_way(self, length: int):
        """Waits until half of so many bytes of the latest request or its answer have come."""
        stream = max(self.bodies)
        while max(len(self.bodies[stream]), self._quic._streams[stream].sender._buffer_start) < length // 2:
            assert not self.ends[stream].done(), "it is over"
            await asyncio.sleep(0.001)

    async def go(self, host: str, new_id: bool):
        """Goes on from another address, with another connection ID or not; returns the transport before."""
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind((f"::ffff:{host}", 0))
        self.ids.append(set())
        way = Way(self, len(self.ids) - 1)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: way, sock=sock)
        # At once, so that nothing bears the new connection ID at the old address.
        if new_id:
            self._quic.change_connection_id()
        before, self._transport = self._transport, transport
        # Who only receives has to show where it is.
        self._quic.send_ping(way.number)
        self.transmit()
        return before


class Way(asyncio.DatagramProtocol):
    """A socket that a client has taken later."""

    def __init__(self, client: Client, number: int):
        self.client, self.number = client, number

    def datagram_received(self, data, addr):
        self.client.datagram_received(data, addr, self.number)


def configuration(is_client: bool, suite: str | None = None, alpn: str = ALPN) -> QuicConfiguration:
    config = QuicConfiguration(is_client=is_client, alpn_protocols=[alpn])
    if suite is not None:
        config.cipher_suites = [SUITES[suite]]
    return config


def connected(port: int, config: QuicConfiguration, wait: bool = True):
    """A connection as a client, for `async with`."""
    return connect("127.0.0.1", port, configuration=config, create_protocol=Client, wait_connected=wait)


@asynccontextmanager
async def serving(config: QuicConfiguration, updates_keys=False, retry=False):
    """A server; yields its port."""
    protocol = type("Server", (Server,), {"updates_keys": updates_keys})
    server = await serve("127.0.0.1", 0, configuration=config, create_protocol=protocol, retry=retry)
    try:
        yield server._transport.get_extra_info("sockname")[1]
    finally:
        server.close()


def external_psk(identity: bytes, key: bytes) -> tls.SessionTicket:
    """A pre-shared key in the shape of a ticket, which is all that aioquic knows: see `external_binders`."""
    now = datetime.datetime.now(datetime.timezone.utc)
    day = datetime.timedelta(days=1)
    return tls.SessionTicket(
        age_add=0,
        cipher_suite=tls.CipherSuite.AES_128_GCM_SHA256,
        not_valid_before=now - day,
        not_valid_after=now + day,
        resumption_secret=key,
        server_name="127.0.0.1",
        ticket=identity,
    )


def external_binders():
    """Lets aioquic derive binders as for external keys: the label is all that differs (RFC 9846 7.1)."""
    derive = tls.KeySchedule.derive_secret

    def derive_secret(self, label):
        return derive(self, b"ext binder" if label == b"res binder" else label)

    tls.KeySchedule.derive_secret = derive_secret
