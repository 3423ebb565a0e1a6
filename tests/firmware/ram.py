#!/usr/bin/env python3
"""How much memory a connection takes on a microcontroller, and the type that says so in Rust.

    ram.py [--paths 1] [--streams 4] [--in-flight 16] [--receive 1024] [--send 1024] [--datagrams 0]
           [--routes 3] [--mtu 1280] [--check] PROGRAM

`--routes` are those of each path: the one in use, the one before and one to move to. `--receive` and `--send` are bytes for
each stream and way, `--datagrams` bytes for DATAGRAM frames each way, `--mtu` the longest UDP payload. `--check` compares what
is computed for some storages with what the compiler made of them.

PROGRAM is the linked `sizes`, from which the sizes of all rows are read. It is built here, for one path or several, by

    cargo build --release --bin sizes
    cargo build --release --bin sizes --features multipath --target-dir target/multipath

as target/thumbv7em-none-eabihf/release/sizes and target/multipath/thumbv7em-none-eabihf/release/sizes.
"""

import argparse
import sys

from budgets import sizes
from elf import Elf

# As in core/src/connection/storage.rs.
ROUTES_PER_PATH, CIDS_PER_PATH, RETIREMENTS_PER_PATH, CRYPTO_LEN = 3, 4, 8, 4608


# Option, default, least and most: what `Storage::new` asserts, and what the types can count.
OPTIONS = [
    ("paths", 1, 1, 8), ("streams", 4, 0, 0xff00 - 1), ("in-flight", 16, 8, 0xffff - 1), ("receive", 1024, 0, 1 << 30),
    ("send", 1024, 0, 1 << 30), ("datagrams", 0, 0, 1 << 30), ("routes", ROUTES_PER_PATH, 1, 32), ("mtu", 1280, 1200, 65527),
]
# Of all paths together.
MOST_ROUTES = 32


def up(length, alignment=8):
    return -(-length // alignment) * alignment


def storage(size, paths, streams, sent, rx, tx, datagrams=0, crypto=CRYPTO_LEN, routes=ROUTES_PER_PATH):
    """The parts of a `Storage` and their bytes."""
    return {
        "paths": paths * size["path"],
        f"routes, {routes} for each path": paths * routes * size["route"],
        f"connection IDs, {CIDS_PER_PATH} of each side": paths * CIDS_PER_PATH * (size["local_cid"] + size["peer_cid"]),
        "retirements of connection IDs": paths * RETIREMENTS_PER_PATH * size["retirement"],
        "packets in flight": sent * size["sent"],
        "streams": streams * size["stream"],
        "stream bytes in": streams * rx,
        "stream bytes out": streams * tx,
        "datagrams": 2 * datagrams,
        "CRYPTO bytes out of order": crypto,
        "token": size["token"],
    }


def total(parts):
    return up(sum(parts.values()))


def check(size, program):
    wrong = []
    elf = Elf(program)
    blank = next(symbol for symbol in elf.symbols if symbol.name == "blank")
    if elf.bytes_at(blank.address, blank.size):
        wrong.append("a static Storage takes flash: its rows are to be zero until a connection uses them")
    for name, real in size.items():
        if name.startswith("storage__"):
            numbers = [int(number) for number in name.removeprefix("storage__").split("_")]
            computed = total(storage(size, *numbers))
            if computed != real:
                wrong.append(f"Storage<{', '.join(map(str, numbers))}>: computed {computed}, really {real}")
    if wrong:
        sys.exit("\n".join(wrong))
    print("ram.py: what it computes is what the compiler makes, and a static Storage takes no flash")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, least, most in OPTIONS:
        parser.add_argument(f"--{name}", type=number(least, most), default=default)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("program", help="the linked `sizes`")
    args = parser.parse_args()
    try:
        size = sizes_of(args.program)
    except OSError as error:
        parser.error(f"{args.program}: {error.strerror}; --help tells how it is built")
    if args.check:
        return check(size, args.program)
    if args.paths * args.routes > MOST_ROUTES:
        parser.error(f"{args.paths} paths of {args.routes} routes: all paths together have {MOST_ROUTES} routes at most")
    if args.paths > size["most_paths"]:
        parser.error(f"{args.program} is built for one path, and rows of several are larger: name the one with the feature "
                     "`multipath`; --help tells how it is built")
    # A ninth of the memory marks what came out of order.
    rx = up(-(-args.receive * 9 // 8))
    numbers = [args.paths, args.streams, args.in_flight, rx, args.send, args.datagrams]
    parts = storage(size, *numbers, crypto=0, routes=args.routes)
    shown = numbers + [args.routes]
    for default in (ROUTES_PER_PATH, 0):
        if shown[-1] == default:
            shown.pop()
        else:
            break
    whole = {
        "Storage": total(parts),
        "state of the connection": size["state"],
        "TLS session": size["session"],
        "one datagram each way": 2 * args.mtu,
        "lent for the handshake: CRYPTO bytes": size["crypto"],
        "lent for the handshake: TLS": size["scratch"],
    }
    for name, length in parts.items():
        print(f"{length:10,}  {name}")
    print()
    for name, length in whole.items():
        print(f"{length:10,}  {name}")
    print(f"{sum(whole.values()):10,}  in all\n")
    print(f"type Memory = peregrine_embassy::Storage<{', '.join(map(str, shown))}>;")
    return None


def number(least, most):
    """Reads a number in this range."""
    def read(text):
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} to {most}")
        return value
    return read


def sizes_of(program):
    directory, _, name = program.rpartition("/")
    if name != "sizes":
        sys.exit("the program is to be `sizes`")
    return sizes(directory or ".")


if __name__ == "__main__":
    main()
