"""What the QUIC interop runner demands of the traces of its cases, and what RFC 9000 demands of them besides."""

from wire import Packet


def rebinding(packets: list[Packet], late=False):
    """`rebind-port`: the first packet to a new path asks whether it works, and each such question is answered. Less than that
    is to ask there `late`."""
    server = of(packets, from_client=False)
    client = of(packets, from_client=True)
    assert len({packet.scid for packet in client if packet.is_initial}) == 1, "several handshakes"
    answered = {response for packet in client for response in packet.responses}
    for first in first_on_new_paths(server):
        path = first.sighting.path
        there = [packet for packet in server if packet.sighting.path == path] if late else [first]
        asked = {challenge for packet in there for challenge in packet.challenges}
        assert asked, f"no PATH_CHALLENGE on {path} or not in the first packet"
        assert asked <= answered or late and asked & answered, f"a PATH_CHALLENGE on {path} without a PATH_RESPONSE"
    assert len(paths(server)) > 1, "a single path"


def readdressing(packets: list[Packet], late=False):
    """`rebind-addr`: the same, with several addresses of the client."""
    hosts = {packet.sighting.path[1][0] for packet in of(packets, from_client=False)}
    assert len(hosts) > 1, "a single address of the client"
    rebinding(packets, late)


def migration(packets: list[Packet], late=False):
    """`connectionmigration`: the same as with a rebinding, and a new connection ID on a new path. Besides: none on two."""
    rebinding(packets, late)
    client = of(packets, from_client=True)
    last = client[0].dcid
    for first in first_on_new_paths(client):
        assert first.dcid != last, f"the connection ID before in the first packet on {first.sighting.path}"
        last = first.dcid
    homes = {}
    for packet in client:
        home = homes.setdefault(packet.dcid, packet.sighting.path)
        assert home == packet.sighting.path, f"{packet.dcid.hex()} on {home} and {packet.sighting.path}"


def of(packets: list[Packet], from_client: bool) -> list[Packet]:
    return [packet for packet in packets if packet.sighting.from_client == from_client]


def paths(packets: list[Packet]) -> set:
    return {packet.sighting.path for packet in packets}


def first_on_new_paths(packets: list[Packet]) -> list[Packet]:
    """Of each path but the first, the first packet."""
    seen, firsts = set(), []
    for packet in packets:
        if packet.sighting.path not in seen:
            seen.add(packet.sighting.path)
            firsts.append(packet)
    return firsts[1:]
