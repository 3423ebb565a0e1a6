#!/usr/bin/env python3
"""Walks the call graph of a linked firmware: what can panic, and is any of it ours? Is there a heap?

    panics.py ELF...

The graph is made of the relocations that the linker left in the file: who calls or takes the address of whom. A panic
message knows its place in the sources, and a function that panics refers to it: so a panic inlined from a dependency is
told from one of our own. Fails if a function of core or crypto panics at a place of core, crypto or Rust's `core`, or if
there is an allocator. What dependencies drag in is listed with a way to it.
"""

import bisect
import re
import sys
from collections import defaultdict, deque

from elf import FUNCTION, Elf

# Where every panic ends: the handler, and what formats for it.
ENDS = re.compile(r"rust_begin_unwind|core::panicking::|core::(slice|str)::.*_fail|core::.*(unwrap|expect)_failed"
                  r"|len_mismatch_fail|core::cell::panic_|core::intrinsics::abort")
HEAP = re.compile(r"__rust_alloc|__rust_realloc|__rg_alloc|alloc::alloc::|alloc::raw_vec::|handle_alloc_error")
OURS = re.compile(r"peregrine_(core|crypto)")
FOREIGN = re.compile(r"/registry/|/vendor/|/rustc/|^library/")
OUR_FILES = re.compile(r"(^|/)(core|crypto)/src/")


def readable(name):
    """`_ZN4core9panicking5panic17h…E` as `core::panicking::panic`; what is mangled in the newer way as its identifiers."""
    if name.startswith("_ZN"):
        parts, rest = [], name[3:]
        while match := re.match(r"\d+", rest):
            end = match.end() + int(match[0])
            parts.append(rest[match.end():end])
            rest = rest[end:]
        path = "::".join(part for part in parts if not re.fullmatch(r"h[0-9a-f]{16}", part))
        for code, sign in {"$LT$": "<", "$GT$": ">", "$RF$": "&", "$C$": ", ", "$u20$": " ", "$u7b$": "{", "$u7d$": "}",
                           "$u5b$": "[", "$u5d$": "]", "$u27$": "'", "$u3b$": ";", "$BP$": "*", "..": "::"}.items():
            path = path.replace(code, sign)
        return path.lstrip("_")
    if name.startswith("_R"):
        # Identifiers are their length, perhaps `_`, and their letters; `s..._` before it tells crates of a name apart.
        return "::".join(re.sub(r"^s[0-9A-Za-z]*_\d*", "", part) for part in identifiers(name))
    return name


def identifiers(name):
    at = 2
    while at < len(name):
        match = re.match(r"(\d+)_?", name[at:])
        if match and match[1] != "0" and at + match.end() + int(match[1]) <= len(name):
            start = at + match.end()
            at = start + int(match[1])
            yield name[start:at]
        elif name[at] == "s" and (tag := re.match(r"s[0-9A-Za-z]*_", name[at:])):
            at += tag.end()
        else:
            at += 1


class Graph:
    def __init__(self, elf):
        self.elf = elf
        by_address = {}
        for symbol in elf.symbols:
            # Of several names of one function any will do; a readable one is better than an outlined one.
            by_address.setdefault(symbol.address, symbol)
        self.starts = sorted(by_address)
        self.symbols = [by_address[start] for start in self.starts]
        self.edges, self.texts = defaultdict(set), defaultdict(set)
        for place, target in elf.relocations():
            source, to = self.at(place), self.at(target)
            if source is None:
                continue
            if to is not None and to != source:
                self.edges[source].add(to)
            if (location := self.location(target)) and self.symbols[source].kind == FUNCTION:
                self.texts[source].add(location)

    def at(self, address):
        """The symbol that an address lies in."""
        row = bisect.bisect_right(self.starts, address) - 1
        if row < 0 or address >= self.starts[row] + max(self.symbols[row].size, 1):
            return None
        return row

    def location(self, address):
        """The `core::panic::Location` at an address, if it looks like one: file, length, line, column."""
        text, length, line, column = (self.elf.word_at(address + at) for at in (0, 4, 8, 12))
        if None in (text, length, line, column) or not 3 < length < 300 or not 0 < line < 100_000 or column > 1_000:
            return None
        name = (self.elf.bytes_at(text, length) or b"").rstrip(b"\0")
        return (name.decode(), line) if name.endswith(b".rs") else None

    def name(self, row):
        return readable(self.symbols[row].name)

    def ways(self, roots):
        """For all that is reachable: from where."""
        came, queue = {root: None for root in roots}, deque(roots)
        while queue:
            row = queue.popleft()
            for to in sorted(self.edges[row]):
                if to not in came:
                    came[to] = row
                    queue.append(to)
        return came


def short(path):
    """A place in the sources, without where they lie on this machine."""
    for mark in ("/registry/src/", "/vendor/", "/rustc/"):
        if mark in path:
            return path.split(mark)[1].split("/", 1)[1]
    match = OUR_FILES.search(path)
    return path[match.start():].lstrip("/") if match else path


def examine(path):
    elf = Elf(path)
    graph = Graph(elf)
    rows = range(len(graph.symbols))
    roots = [row for row in rows if graph.symbols[row].name in ("Reset", "main", "__RESET_VECTOR", "_start")]
    came = graph.ways(roots)
    heap = sorted(graph.name(row) for row in rows if HEAP.search(graph.name(row)))
    ends = {row for row in came if ENDS.search(graph.name(row))}
    ours, theirs = [], []
    for row in came:
        if row in ends or not graph.edges[row] & ends:
            continue
        way, step = [], row
        while step is not None:
            way.append(graph.name(step))
            step = came[step]
        places = sorted(graph.texts[row])
        foreign = [place for place in places if FOREIGN.search(place[0])]
        blamed = [place for place in places if place not in foreign and OUR_FILES.search(place[0])]
        # One of our functions that panics at no foreign place has it from somewhere in our sources.
        is_ours = blamed or OURS.search(graph.name(row)) and not foreign
        how = sorted({graph.name(end).split("::")[-1] for end in graph.edges[row] & ends})
        (ours if is_ours else theirs).append((graph.name(row), how, blamed if is_ours else foreign, way[::-1]))
    report(path, came, graph, heap, ours, theirs)
    if not ours and not theirs:
        sys.exit(f"{path}: nothing can panic, not even what is known to: the walk sees nothing")
    return not heap and not ours


def report(path, came, graph, heap, ours, theirs):
    functions = sum(graph.symbols[row].kind == FUNCTION for row in came)
    print(f"{path.split('/')[-1]}: {functions} functions reached, {len(ours)} of ours can panic, "
          f"{len(theirs)} of dependencies, {len(heap)} symbols of a heap")
    for name in heap:
        print(f"  HEAP {name}")
    for title, rows in (("PANIC", ours), ("dependency", theirs)):
        for name, how, places, way in sorted(rows):
            print(f"  {title} {name}: {', '.join(how)}")
            for file, line in places[:6]:
                print(f"      at {short(file)}:{line}")
            print(f"      by {' > '.join(way[-5:])}")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if not all([examine(path) for path in sys.argv[1:]]):
        sys.exit("core or crypto can panic, or there is a heap")


if __name__ == "__main__":
    main()
