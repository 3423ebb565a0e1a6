"""A linked ELF file of a 32-bit ARM: its sections, its symbols, and the relocations that `--emit-relocs` left in it."""

import struct
from collections import namedtuple

Section = namedtuple("Section", "name type flags address offset size link info")
Symbol = namedtuple("Symbol", "name address size kind")

ALLOCATED, NO_BITS, SYMBOLS, REL = 2, 8, 2, 9
OBJECT, FUNCTION = 1, 2


class Elf:
    def __init__(self, path):
        with open(path, "rb") as file:
            self.data = file.read()
        assert self.data[:5] == b"\x7fELF\x01", f"{path}: not a 32-bit ELF file"
        start, = struct.unpack_from("<I", self.data, 32)
        size, count, names = struct.unpack_from("<HHH", self.data, 46)
        raw = [struct.unpack_from("<10I", self.data, start + size * row) for row in range(count)]
        text = lambda at: self._text(raw[names][4] + at)
        self.sections = [Section(text(r[0]), *r[1:8]) for r in raw]
        self._raw_symbols = []
        for section in self.sections:
            if section.type == SYMBOLS:
                strings = self.sections[section.link]
                for at in range(section.offset, section.offset + section.size, 16):
                    name, value, length, info, _, where = struct.unpack_from("<IIIBBH", self.data, at)
                    self._raw_symbols.append((self._text(strings.offset + name), value, length, info & 15, where))
        # A Thumb function has an odd address.
        self.symbols = [
            Symbol(name, value & ~1 if kind == FUNCTION else value, length, kind)
            for name, value, length, kind, where in self._raw_symbols
            if kind in (OBJECT, FUNCTION) and where not in (0, 0xFFF1) and length
        ]

    def _text(self, at):
        return self.data[at:self.data.index(b"\0", at)].decode()

    def flash(self):
        """Bytes of the image: code, constants, and what initial values of variables take."""
        image = (s for s in self.sections if s.flags & ALLOCATED and s.type != NO_BITS and ".ARM" not in s.name)
        return sum(section.size for section in image)

    def bytes_at(self, address, length):
        for s in self.sections:
            if s.flags & ALLOCATED and s.type != NO_BITS and s.address <= address and address + length <= s.address + s.size:
                return self.data[s.offset + address - s.address:][:length]
        return None

    def word_at(self, address):
        raw = self.bytes_at(address, 4)
        return raw and struct.unpack("<I", raw)[0]

    def relocations(self):
        """Pairs: the address that refers to another, and the address that it refers to."""
        for section in self.sections:
            if section.type != REL or not self.sections[section.info].flags & ALLOCATED:
                continue
            lower = {}
            for at in range(section.offset, section.offset + section.size, 8):
                place, info = struct.unpack_from("<II", self.data, at)
                kind, (_, value, _, sort, _) = info & 0xFF, self._raw_symbols[info >> 8]
                if kind == 2:  # R_ARM_ABS32
                    yield place, self.word_at(place) & ~1 if sort == FUNCTION else self.word_at(place)
                elif kind in (10, 30):  # R_ARM_THM_CALL, R_ARM_THM_JUMP24
                    yield place, value & ~1
                elif kind == 47:  # R_ARM_THM_MOVW_ABS_NC
                    lower[self._register(place)] = self._immediate(place)
                elif kind == 48:  # R_ARM_THM_MOVT_ABS
                    low = lower.get(self._register(place))
                    if low is not None:
                        yield place, (self._immediate(place) << 16 | low) & ~(sort == FUNCTION)

    def _halves(self, place):
        return struct.unpack("<HH", self.bytes_at(place, 4))

    def _register(self, place):
        return self._halves(place)[1] >> 8 & 15

    def _immediate(self, place):
        first, second = self._halves(place)
        return (first & 15) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 7) << 8 | second & 0xFF
