#!/usr/bin/env python3
"""Prints the table of budgets of the firmwares that `run.sh` has built, and what was measured.

    budgets.py DIRECTORY [--exchange FILE] [--multipath FILE] [--bounds]
    budgets.py --symbols PROGRAM

Flash is the image of a program without that of `empty`. RAM is what `sizes` was linked with. Stack and instructions are
read from FILE, what `exchange` said. Items with an `m` are those of a client that may use several paths, which lie in the
directory `multipath`. A budget has a goal, what it may be at most, and a bound: what it was when that was
last decided, at opt-level s and with some room for another compiler. With `--bounds` what grows beyond its bound fails, so that
it grows by decision. `--symbols` lists what is largest in a program instead.
"""

import re
import sys

from elf import Elf
from panics import readable

KIB = 1024
# Another compiler may do this much worse.
ROOM = 1.04

# Item, what, goal, at most, bound.
BUDGETS = [
    ("F2", "flash: core as a client with migration", 32 * KIB, 54 * KIB, 79_330),
    ("F2m", "flash: the same that may use several paths", 38 * KIB, 64 * KIB, 108_440),
    ("F4", "flash: whole client, PSK and X25519", 60 * KIB, 88 * KIB, 114_630),
    ("F5e", "flash: whole client, pinned Ed25519 key", 72 * KIB, 100 * KIB, 133_200),
    ("F5p", "flash: whole client, pinned P-256 key", 88 * KIB, 116 * KIB, 141_980),
    ("R1", "RAM: established, 1 path, 4 streams, 16 sent rows", 3 * KIB, 4608, 4392),
    ("R2", "RAM: a further path, one route, 2+2 CIDs", 600, 900, 848),
    ("R1m", "RAM: as R1, where several paths are possible", 3 * KIB, 4608, 4648),
    ("R2m", "RAM: as R2, where several paths are possible", 600, 900, 896),
    ("R4", "RAM: lent for the handshake", 6 * KIB, 8 * KIB, 5632),
    ("R5", "RAM: whole connection in use, 1 stream of 1 KiB", 8 * KIB, 12 * KIB, 10_952),
    ("S1", "stack: core without crypto", 2 * KIB, 4 * KIB, 3_172),
    ("S1m", "stack: as S1, over two paths", 2 * KIB, 4 * KIB, 3_420),
    ("S2", "stack: handshake with PSK and X25519", 5 * KIB, 8 * KIB, 4_996),
    ("I1 out", "instructions: a packet of 1,200 bytes out", 12_000, 20_000, 18_180),
    ("I1 in", "instructions: a packet of 1,200 bytes in", 12_000, 20_000, 15_660),
    ("I1m out", "instructions: the same, multipath spoken, one path", 12_000, 20_000, 22_210),
    ("I1m in", "instructions: the same, multipath spoken, one path", 12_000, 20_000, 18_800),
    ("I1m two out", "instructions: the same, over two paths", 12_000, 20_000, 29_270),
    ("I1m two in", "instructions: the same, over two paths", 12_000, 20_000, 22_590),
    ("I2", "instructions: handshake with PSK and X25519", 8_000_000, 14_000_000, 5_180_000),
]
# With several paths.
MULTIPATH = {
    "R1": "R1m", "R2": "R2m", "S1": "S1m", "I1 out": "I1m out", "I1 in": "I1m in",
    "two paths out": "I1m two out", "two paths in": "I1m two in",
}
PROGRAMS = {"F2": "null", "F4": "psk", "F5e": "ed25519", "F5p": "p256"}


def flash(directory):
    empty = Elf(f"{directory}/empty").flash()
    programs = PROGRAMS | {"F2m": "multipath/null"}
    return {item: Elf(f"{directory}/{program}").flash() - empty for item, program in programs.items()}


def named(measured):
    """Those of several paths, by their own names."""
    return {MULTIPATH[item]: value for item, value in measured.items() if item in MULTIPATH}


def sizes(directory):
    """Bytes of the types, by name."""
    return {s.name.removeprefix("size_"): s.size for s in Elf(f"{directory}/sizes").symbols
            if s.name.startswith(("size_", "storage__"))}


def ram(directory):
    size = sizes(directory)
    # Two connection IDs of each side, and retirements for twice as many (RFC 9000 5.1.2).
    ids = 2 * (size["local_cid"] + size["peer_cid"] + 2 * size["retirement"])
    path = size["path"] + size["route"] + ids
    return {
        "R1": size["state"] + size["keys"] + path + 4 * size["stream"] + 16 * size["sent"],
        "R2": path - size["ack_ranges"],
        "R4": size["crypto"] + size["scratch"],
        "R5": size["state"] + size["session"] + size["in_use"] + 2 * 1280,
        "keys expanded per packet, bytes": size["keys"],
        "keys cached, bytes": size["cached_keys"],
    }


def exchange(file):
    with open(file, encoding="utf-8") as said:
        lines = (re.fullmatch(r"(.+) (\d+)", line.strip()) for line in said)
        return {line[1]: int(line[2]) for line in lines if line}


def table(measured):
    print(f"| {'item':11} | {'what':50} | {'goal':>10} | {'at most':>10} | {'measured':>10} | verdict")
    print(f"|{'-' * 13}|{'-' * 52}|{'-' * 11}:|{'-' * 11}:|{'-' * 11}:|---")
    grown = []
    for item, what, goal, at_most, bound in BUDGETS:
        value = measured.get(item)
        if value is None:
            verdict, shown = "not measured", "-"
        else:
            shown = f"{value:,}"
            verdict = ("goal" if value <= goal else "within" if value <= at_most
                       else f"missed by {value - at_most:,}, {value / at_most - 1:.0%}")
            if value > bound * ROOM:
                grown.append(f"{item}: {value:,}, it was {bound:,}")
        print(f"| {item:11} | {what:50} | {goal:>10,} | {at_most:>10,} | {shown:>10} | {verdict}")
    if "I3" in measured:
        at_once = measured["I3"] == 1
        print(f"| {'I3':11} | {'a move: PATH_CHALLENGE in the very next datagram':50} | {'yes':>10} | {'yes':>10} | "
              f"{'yes' if at_once else 'no':>10} | {'goal' if at_once else 'missed'}")
        if not at_once:
            grown.append("I3: a move is not told at once")
    for name, value in measured.items():
        if name.startswith(("with crypto", "with AES", "S2 ", "I2 ", "keys")):
            print(f"{name}: {value:,}")
    return grown


def symbols(program):
    elf = Elf(program)
    for section in elf.sections:
        if section.flags & 2 and section.size:
            print(f"{section.size:8} {section.name}")
    for symbol in sorted(elf.symbols, key=lambda symbol: -symbol.size)[:40]:
        print(f"{symbol.size:8} {readable(symbol.name)}")


def main(arguments):
    if arguments[:1] == ["--symbols"]:
        return symbols(arguments[1])
    if not arguments:
        sys.exit(__doc__)
    directory, rest = arguments[0], arguments[1:]
    measured = flash(directory) | ram(directory) | named(ram(f"{directory}/multipath"))
    if "--exchange" in rest:
        measured |= exchange(rest[rest.index("--exchange") + 1])
    if "--multipath" in rest:
        measured |= named(exchange(rest[rest.index("--multipath") + 1]))
    grown = table(measured)
    if grown and "--bounds" in rest:
        sys.exit("grown: " + "; ".join(grown))
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
