"""The network between a client and a server: a slow link, and a NAT that forgets.

What the network simulator of the QUIC interop runner does with packets, done with datagrams over loopback sockets. The
client sends to a front of ours, one for each address of the server; the NAT sends on from an address of its own, which
changes when it is rebound. What comes to the address before finds nobody from then on.
"""

import asyncio
import random
import socket
from dataclasses import dataclass

DELAY = 0.015
BITS_PER_SECOND = 10e6
QUEUE = 25
# Further than any wait for more than the simulator's buffers.
BUFFER = 1 << 20


@dataclass(frozen=True)
class Sighting:
    """A datagram, where its sender has sent it."""

    from_client: bool
    path: tuple
    datagram: bytes


class Pipe:
    """One direction of the link: a rate, a queue, a delay."""

    def __init__(self):
        self.free_at = 0.0
        self.waiting = 0

    def carry(self, size: int, arrive, *args):
        loop = asyncio.get_running_loop()
        if self.waiting >= QUEUE:
            return
        self.waiting += 1
        self.free_at = max(loop.time(), self.free_at) + 8 * size / BITS_PER_SECOND
        loop.call_at(self.free_at, self.leave)
        loop.call_at(self.free_at + DELAY, arrive, *args)

    def leave(self):
        self.waiting -= 1


class Flow:
    """What the NAT knows of one address of the client and one of the server."""

    def __init__(self, front: socket.socket, client, server):
        self.front, self.client, self.server = front, client, server
        self.back: socket.socket | None = None


class Network:
    """To be closed in the end."""

    def __init__(self, changes_address=False):
        self.changes_address = changes_address
        self.sightings: list[Sighting] = []
        self.rebindings = 0
        self.flows: dict[tuple, Flow] = {}
        self.sockets: list[socket.socket] = []
        self.up, self.down = Pipe(), Pipe()
        self.timer = None

    def front(self) -> tuple[str, int]:
        """An address for the client to send to; see `lead`."""
        front = self.bind("127.0.0.1")
        return front.getsockname()

    def lead(self, front: tuple[str, int], server: tuple[str, int]):
        """What is sent to that front goes to the server at this address."""
        sock = next(sock for sock in self.sockets if sock.getsockname() == front)
        self.listen(sock, lambda datagram, client: self.on_client(sock, client, server, datagram))

    def rebind_every(self, first: float, then: float):
        """Rebinds all flows after so many seconds, and then again and again."""
        loop = asyncio.get_running_loop()

        def rebind():
            for flow in self.flows.values():
                self.rebind(flow)
            self.timer = loop.call_later(then, rebind)

        self.timer = loop.call_later(first, rebind)

    def rebind(self, flow: Flow):
        host = flow.back.getsockname()[0]
        while self.changes_address and host in (flow.back.getsockname()[0], flow.client[0]):
            host = f"127.0.0.{random.randint(2, 254)}"
        flow.back = self.back(host, flow)
        self.rebindings += 1

    def close(self):
        if self.timer is not None:
            self.timer.cancel()
        for sock in self.sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()

    def bind(self, host: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.setblocking(False)
        sock.bind((host, 0))
        self.sockets.append(sock)
        return sock

    def listen(self, sock: socket.socket, take):
        def ready():
            try:
                while True:
                    take(*sock.recvfrom(65_536))
            except BlockingIOError:
                pass

        asyncio.get_running_loop().add_reader(sock, ready)

    def back(self, host: str, flow: Flow) -> socket.socket:
        sock = self.bind(host)
        self.listen(sock, lambda datagram, server: self.on_server(flow, sock, server, datagram))
        return sock

    def on_client(self, front: socket.socket, client, server, datagram: bytes):
        self.sightings.append(Sighting(True, (client, front.getsockname()), datagram))
        flow = self.flows.get((client, front))
        if flow is None:
            flow = self.flows[client, front] = Flow(front, client, server)
            flow.back = self.back(client[0], flow)
        self.up.carry(len(datagram), lambda: self.send(flow.back, datagram, server))

    def on_server(self, flow: Flow, back: socket.socket, server, datagram: bytes):
        self.sightings.append(Sighting(False, (server, back.getsockname()), datagram))

        def arrive():
            if flow.back is back:
                self.send(flow.front, datagram, flow.client)

        self.down.carry(len(datagram), arrive)

    def send(self, sock: socket.socket, datagram: bytes, to):
        # The end of a transfer is not the end of what is under way.
        if sock.fileno() >= 0:
            try:
                sock.sendto(datagram, to)
            except OSError:
                pass
