"""What is in the packets of a run: connection IDs, and the frames of 1-RTT packets, opened with the client's TLS secrets."""

from dataclasses import dataclass, field

from aioquic._crypto import CryptoError
from aioquic.buffer import Buffer, BufferReadError
from aioquic.quic.crypto import CryptoContext, next_key_phase
from aioquic.tls import CipherSuite

from network import Sighting

V1 = 1
# By the length of their secrets.
SUITES = {
    32: [CipherSuite.AES_128_GCM_SHA256, CipherSuite.CHACHA20_POLY1305_SHA256],
    48: [CipherSuite.AES_256_GCM_SHA384],
}
# The fields of frames that are integers alone.
INTEGERS = {0x04: 3, 0x05: 2, 0x10: 1, 0x11: 2, 0x12: 1, 0x13: 1, 0x14: 1, 0x15: 2, 0x16: 1, 0x17: 1, 0x19: 1}


@dataclass
class Packet:
    """The first packet of a datagram."""

    sighting: Sighting
    dcid: bytes
    scid: bytes | None = None
    is_initial: bool = False
    challenges: list[bytes] = field(default_factory=list)
    responses: list[bytes] = field(default_factory=list)


def read(sightings: list[Sighting], keylog: str) -> list[Packet]:
    """The packets of a run, in order. All 1-RTT packets must be of the connection whose secrets are in the key log."""
    secrets = dict(line.split()[::2] for line in keylog.splitlines())
    openers = {
        True: Opener(bytes.fromhex(secrets["CLIENT_TRAFFIC_SECRET_0"])),
        False: Opener(bytes.fromhex(secrets["SERVER_TRAFFIC_SECRET_0"])),
    }
    # The length of the connection IDs that go each way: their receiver has said it in its first long header.
    lengths: dict[bool, int] = {}
    packets = []
    for sighting in sightings:
        datagram = sighting.datagram
        if datagram[0] & 0x80:
            packet = long_header(sighting)
            lengths[not sighting.from_client] = len(packet.scid)
        else:
            end = 1 + lengths[sighting.from_client]
            packet = Packet(sighting, datagram[1:end])
            payload = openers[sighting.from_client].open(datagram, end)
            if payload is not None:
                read_frames(payload, packet)
        packets.append(packet)
    unopened = sum(opener.unopened for opener in openers.values())
    assert unopened < len(packets) / 100, f"{unopened} of {len(packets)} packets cannot be opened"
    return packets


def long_header(sighting: Sighting) -> Packet:
    buffer = Buffer(data=sighting.datagram)
    first = buffer.pull_uint8()
    assert buffer.pull_uint32() == V1, "another version"
    dcid = buffer.pull_bytes(buffer.pull_uint8())
    scid = buffer.pull_bytes(buffer.pull_uint8())
    return Packet(sighting, dcid, scid, is_initial=first & 0x30 == 0)


class Opener:
    """Opens 1-RTT packets of one direction, over key updates."""

    def __init__(self, secret: bytes):
        self.candidates = []
        for suite in SUITES[len(secret)]:
            context = CryptoContext()
            context.setup(cipher_suite=suite, secret=secret, version=V1)
            self.candidates.append(context)
        self.expected = 0
        self.unopened = 0

    def open(self, datagram: bytes, offset: int) -> bytes | None:
        """The payload; none of what is damaged, or no packet of the connection: a stateless reset."""
        for context in self.candidates:
            try:
                _, payload, number, updated = context.decrypt_packet(datagram, offset, self.expected)
            except (CryptoError, ValueError):
                continue
            self.expected = max(self.expected, number + 1)
            # Packets before an update may come after it.
            self.candidates = [next_key_phase(context), context] if updated else [context, *self.others(context)]
            return payload
        self.unopened += 1
        return None

    def others(self, context: CryptoContext) -> list[CryptoContext]:
        suite = context.cipher_suite
        return [other for other in self.candidates if other is not context and other.cipher_suite == suite]


def read_frames(payload: bytes, packet: Packet):
    buffer = Buffer(data=payload)
    try:
        while not buffer.eof():
            kind = buffer.pull_uint_var()
            if kind == 0x1A:
                packet.challenges.append(buffer.pull_bytes(8))
            elif kind == 0x1B:
                packet.responses.append(buffer.pull_bytes(8))
            else:
                skip(buffer, kind)
    except BufferReadError as error:
        raise ValueError(f"a frame that does not parse: {payload.hex()}") from error


def skip(buffer: Buffer, kind: int):
    def integers(count: int) -> list[int]:
        return [buffer.pull_uint_var() for _ in range(count)]

    if kind in (0x00, 0x01, 0x1E):
        return
    if kind in INTEGERS:
        integers(INTEGERS[kind])
    elif kind in (0x02, 0x03):
        _, _, ranges, _ = integers(4)
        integers(2 * ranges + (3 if kind == 0x03 else 0))
    elif kind == 0x06:
        buffer.pull_bytes(integers(2)[1])
    elif kind == 0x07:
        buffer.pull_bytes(integers(1)[0])
    elif 0x08 <= kind <= 0x0F:
        integers(2 if kind & 0x04 else 1)
        has_length = kind & 0x02
        buffer.pull_bytes(integers(1)[0] if has_length else buffer.capacity - buffer.tell())
    elif kind == 0x18:
        integers(2)
        buffer.pull_bytes(buffer.pull_uint8() + 16)
    elif kind in (0x1C, 0x1D):
        integers(2 if kind == 0x1C else 1)
        buffer.pull_bytes(integers(1)[0])
    elif kind in (0x30, 0x31):
        buffer.pull_bytes(integers(1)[0] if kind & 1 else buffer.capacity - buffer.tell())
    else:
        raise ValueError(f"frame type {kind:#x}")
