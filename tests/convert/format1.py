#!/usr/bin/env python3
"""A second implementation of format 1, written from docs/format-1.md.

It prints the address of the images in a Docker archive on standard input. It shares
no code with the converter and uses nothing but Python's standard library, so it shows
that the page is enough. Left out: OCI layouts, referrers, sharded directories. It is
slow: about 100 KB/s with compression.

    docker save IMAGE | format1.py [--compression none] [--level N] [--cid-profile NAME]
"""

import argparse
import base64
import hashlib
import io
import json
import re
import sys
import tarfile
import zlib

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar"


# Section 3: files and directories as blocks.


def varint(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    return bytes(out + bytes([n]))


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def sha256(data):
    return hashlib.sha256(data).digest()


class Node:
    """A block: its CID, the size that links give, and the bytes of the file below."""

    def __init__(self, cid, size, file_bytes=0):
        self.cid, self.size, self.file_bytes = cid, size, file_bytes


class Profile:
    def __init__(self, version, leaf_size, width):
        self.version, self.leaf_size, self.width = version, leaf_size, width

    def node(self, links, data, file_bytes=0):
        block = b"".join(
            field(2, field(1, child.cid) + field(2, name) + b"\x18" + varint(child.size)) for name, child in links
        ) + field(1, data)
        multihash = b"\x12\x20" + sha256(block)
        cid = multihash if self.version == 0 else b"\x01\x70" + multihash
        return Node(cid, len(block) + sum(child.size for _, child in links), file_bytes)

    def leaf(self, data):
        if self.version == 1:
            return Node(b"\x01\x55\x12\x20" + sha256(data), len(data), len(data))
        message = b"\x08\x02" + (field(2, data) if data else b"") + b"\x18" + varint(len(data))
        return self.node([], message, len(data))

    def file(self, data, cuts=None):
        """The root of a file whose leaves are cuts, where the profile takes them."""
        if cuts is None or self.version == 0:
            cuts = [data[i : i + self.leaf_size] for i in range(0, len(data), self.leaf_size)]
        level = [self.leaf(cut) for cut in cuts or [b""]]
        while len(level) > 1:
            level = [self.parent(level[i : i + self.width]) for i in range(0, len(level), self.width)]
        return level[0]

    def parent(self, children):
        file_bytes = sum(child.file_bytes for child in children)
        data = b"\x08\x02\x18" + varint(file_bytes)
        data += b"".join(b"\x20" + varint(child.file_bytes) for child in children)
        return self.node([(b"", child) for child in children], data, file_bytes)

    def directory(self, entries):
        """The root of nested dicts, whose values at the bottom are nodes."""
        links = []
        for name, entry in sorted((name.encode(), entry) for name, entry in entries.items()):
            links.append((name, self.directory(entry) if isinstance(entry, dict) else entry))
        return self.node(links, b"\x08\x01")


PROFILES = {
    "unixfs-v1-2025": Profile(1, 1 << 20, 1024),
    "unixfs-v0-2015": Profile(0, 256 << 10, 174),
}


# Section 5: cutting a tar.


def number(f):
    if f[0] & 0x80:
        return int.from_bytes(f[1:], "big") if f[0] == 0x80 else None
    digits = re.match(rb" *([0-7]*)(?:[ \0]|$)", f)
    return int(digits.group(1) or b"0", 8) if digits else None


class Header:
    def __init__(self, block):
        self.extends = block[156:157] in (b"x", b"g", b"L", b"K")
        self.size = 0 if block[156:157] in (b"1", b"2", b"3", b"4", b"5", b"6") else number(block[124:136])
        self.padded = None if self.size is None else (self.size + 511) & ~511
        h = 0x811C9DC5
        for b in block[:100] + block[345:500]:
            h = (h ^ b) * 0x01000193 & 0xFFFFFFFF
        self.name_hash = ((h ^ h >> 15) * 0x2C1B3C6D & 0xFFFFFFFF) >> 16


def header(block):
    if len(block) < 512 or block[0] == 0:
        return None
    if number(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 32:
        return None
    h = Header(block)
    return h if h.size is not None and h.size <= 1 << 60 else None


GEAR = [int.from_bytes(sha256(bytes([b]))[:8], "big") for b in range(256)]


class Cutter:
    def __init__(self):
        self.pieces, self.piece, self.h = [], bytearray(), 0

    def end(self):
        if self.piece:
            self.pieces.append(bytes(self.piece))
        self.piece, self.h = bytearray(), 0

    def measure(self, data):
        for b in data:
            self.piece.append(b)
            m = len(self.piece)
            if m > 262080:
                self.h = (self.h << 1) + GEAR[b] & 0xFFFFFFFFFFFFFFFF
            if (
                262144 <= m <= 524288 and not self.h >> 40 & 0x1FFFFF
                or m > 524288 and not self.h >> 40 & 0x1FFFF
                or m == 1024000
            ):
                self.end()

    def ends_before(self, h):
        n = len(self.piece)
        return (
            64 << 10 <= n < 128 << 10 and h.name_hash % 8 == 0
            or 128 << 10 <= n < 256 << 10 and h.name_hash % 4 == 0
            or n >= 256 << 10
        )


def cut(tar):
    c, pending, at = Cutter(), b"", 0
    while at < len(tar):
        block = tar[at : at + 512]
        at += len(block)
        h = header(block)
        if h is None:
            c.measure(pending + block)
            pending = b""
            continue
        content = tar[at : at + h.padded]
        at += len(content)
        if h.extends and len(pending) + 512 + h.padded <= 64 << 10:
            pending += block + content
            continue
        if c.ends_before(h):
            c.end()
        c.piece += pending + block
        pending = b""
        if h.size <= 64 << 10:
            c.piece += content
        else:
            c.end()
            c.measure(content)
            c.end()
    c.measure(pending)
    c.end()
    return c.pieces


# Section 6: compressing a piece.

LEVELS = {  # depth, nice, lazy, skip
    1: (1, 8, 0, 5),
    2: (2, 12, 0, 5),
    3: (3, 12, 6, 6),
    4: (4, 16, 8, 6),
    5: (6, 24, 12, 6),
    6: (8, 32, 16, 6),
    7: (16, 64, 32, 7),
    8: (64, 128, 64, 9),
    9: (256, 258, 258, 16),
}


class Bits:
    def __init__(self):
        self.out, self.value, self.n = bytearray(), 0, 0

    def put(self, value, n):
        self.value |= value << self.n
        self.n += n
        while self.n >= 8:
            self.out.append(self.value & 0xFF)
            self.value >>= 8
            self.n -= 8

    def align(self):
        self.put(0, -self.n % 8)


class Matches:
    def __init__(self, piece):
        self.p, self.last, self.before = piece, [0] * 65536, [0] * 32768

    def note(self, i):
        k = int.from_bytes(self.p[i : i + 4], "little")
        h = (k * 0x9E3779B1 & 0xFFFFFFFF) >> 16
        self.before[i % 32768] = self.last[h]
        self.last[h] = i

    def find(self, i, longer, depth, nice):
        self.note(i)
        p, distance, at, most = self.p, 0, self.before[i % 32768], min(258, len(self.p) - i)
        for _ in range(max(depth, 1)):
            if at <= max(0, i - 32768):
                break
            if p[at : at + 4] == p[i : i + 4]:
                n = 4
                while n < most and p[at + n] == p[i + n]:
                    n += 1
                if n > longer:
                    longer, distance = n, i - at
                    if n >= nice:
                        break
            at = self.before[at % 32768]
        return longer, distance


class Splitter:
    def __init__(self):
        self.old, self.recent = [0] * 10, [0] * 10

    def add(self, literals, length):
        for b in literals:
            self.recent[b >> 5 & 6 | b & 1] += 1
        if length:
            self.recent[8 if length < 9 else 9] += 1

    def splits(self, size):
        r, o = sum(self.recent), sum(self.old)
        if r < 512 or size < 5120:
            return False
        if o > 0:
            d = sum(abs(old * r - recent * o) for old, recent in zip(self.old, self.recent))
            limit = r * o * 25 // 64
            if size < 10000 and o + r < 8192:
                limit += limit * (8192 - (o + r)) // 8192
            if d + size // 4096 * o >= limit:
                return True
        self.old = [old + recent for old, recent in zip(self.old, self.recent)]
        self.recent = [0] * 10
        return False


def tokens(p, start, matches, level):
    """The tokens of the block from start on, and where it ends."""
    depth, nice, lazy, skip = LEVELS[level]
    block, splitter = [], Splitter()
    end = min(len(p), start + 307200)
    search_end = max(0, min(end, len(p) - 8))
    i = literals = start
    while i < search_end:
        if i == literals and len(p) - i >= 5120 and splitter.splits(i - start):
            end = i
            break
        length, distance = matches.find(i, 3, depth, nice)
        if length < 4:
            i += 1 + (i - literals >> skip)
            continue
        following = i + 1
        while length < lazy and following < search_end:
            later, later_distance = matches.find(following, length, depth // 2, nice)
            following += 1
            if later <= length:
                break
            length, distance = later, later_distance
            i += 1
        block.append((p[literals:i], length, distance))
        splitter.add(p[literals:i], length)
        i += length
        literals = i
        for place in range(following, min(i, search_end)):
            matches.note(place)
    end = max(end, literals)
    block.append((p[literals:end], 0, 0))
    return block, end


def lengths_of(frequencies, most):
    lengths = [0] * len(frequencies)
    leaves = sorted((n, symbol) for symbol, n in enumerate(frequencies) if n)
    if len(leaves) < 2:
        lengths[0] = lengths[max(1, leaves[0][1] if leaves else 0)] = 1
        return lengths
    weights, parents, leaf, node = [], [0] * (len(leaves) - 1), 0, 0
    for made in range(len(leaves) - 1):
        weight = 0
        for _ in range(2):
            if leaf < len(leaves) and (node == made or leaves[leaf][0] <= weights[node]):
                weight += leaves[leaf][0]
                leaf += 1
            else:
                weight += weights[node]
                parents[node] = made
                node += 1
        weights.append(weight)
    counts = [0] * (most + 1)
    counts[1] = 2
    depths = [0] * len(parents)
    for n in range(len(parents) - 2, -1, -1):
        depths[n] = depths[parents[n]] + 1
        d = min(depths[n], most - 1)
        while not counts[d]:
            d -= 1
        counts[d] -= 1
        counts[d + 1] += 2
    in_order = iter(leaves)
    for length in range(most, 0, -1):
        for _ in range(counts[length]):
            lengths[next(in_order)[1]] = length
    return lengths


def words_of(lengths):
    words, word = [0] * len(lengths), 0
    for length in range(1, 16):
        word <<= 1
        for symbol, n in enumerate(lengths):
            if n == length:
                words[symbol] = int(format(word, f"0{n}b")[::-1], 2)
                word += 1
    return words


def used(lengths):
    return max(symbol for symbol, n in enumerate(lengths) if n) + 1


def symbols(base, extras):
    """For each value its symbol, its number of extra bits, and these."""
    table, value = {}, base
    for symbol, extra in enumerate(extras):
        for low in range(1 << extra):
            table[value] = (symbol, extra, low)
            value += 1
    return table


LENGTHS = symbols(3, [max(0, s // 4 - 1) for s in range(28)])
LENGTHS[258] = (28, 0, 0)
DISTANCES = symbols(1, [max(0, s // 2 - 1) for s in range(30)])
ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]


def runs_of(lengths):
    """Symbols of the third code, each with a number of extra bits and these."""
    runs, i = [], 0
    while i < len(lengths):
        length, n = lengths[i], 1
        while i + n < len(lengths) and lengths[i + n] == length:
            n += 1
        i += n
        if length:
            runs.append((length, 0, 0))
            n -= 1
        for symbol, low, high, extra in [(16, 3, 6, 2)] if length else [(18, 11, 138, 7), (17, 3, 10, 3)]:
            while n >= low:
                m = min(n, high)
                runs.append((symbol, extra, m - low))
                n -= m
        runs += [(length, 0, 0)] * n
    return runs


def write_block(out, block, data, final):
    literals, distances = [0] * 286, [0] * 30
    literals[256] = 1
    for run, length, distance in block:
        for b in run:
            literals[b] += 1
        if length:
            literals[257 + LENGTHS[length][0]] += 1
            distances[DISTANCES[distance][0]] += 1
    literals, distances = lengths_of(literals, 14), lengths_of(distances, 15)
    runs = runs_of(literals[: used(literals)] + distances[: used(distances)])
    frequencies = [0] * 19
    for symbol, _, _ in runs:
        frequencies[symbol] += 1
    third = lengths_of(frequencies, 7)
    in_order = [third[symbol] for symbol in ORDER]
    in_order = in_order[: used(in_order)]

    made = [(final | 2 << 1, 3), (used(literals) - 257, 5), (used(distances) - 1, 5), (len(in_order) - 4, 4)]
    made += [(length, 3) for length in in_order]
    words = words_of(third)
    for symbol, extra, low in runs:
        made += [(words[symbol], third[symbol]), (low, extra)]
    words, distance_words = words_of(literals), words_of(distances)
    for run, length, distance in block:
        made += [(words[b], literals[b]) for b in run]
        if length:
            symbol, extra, low = LENGTHS[length]
            made += [(words[257 + symbol], literals[257 + symbol]), (low, extra)]
            symbol, extra, low = DISTANCES[distance]
            made += [(distance_words[symbol], distances[symbol]), (low, extra)]
    made.append((words[256], literals[256]))

    if sum(n for _, n in made) < 8 * len(data) + 48 * (len(data) // 65535 + 1):
        for value, n in made:
            out.put(value, n)
        return
    while True:
        run, data = data[:65535], data[65535:]
        out.put(0 if data else final, 3)
        out.align()
        out.put(len(run) | (len(run) ^ 0xFFFF) << 16, 32)
        out.out += run
        if not data:
            return


def member(piece, level):
    out, matches, start = Bits(), Matches(piece), 0
    while True:
        block, end = tokens(piece, start, matches, level)
        write_block(out, block, piece[start:end], int(end == len(piece)))
        if end == len(piece):
            break
        start = end
    out.align()
    trailer = zlib.crc32(piece).to_bytes(4, "little") + len(piece).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + bytes(out.out) + trailer


# Section 4: gzip and zstd.


def gzip_members(data):
    """The leaves of gzip, or None where the profile cuts."""
    leaves, at = [], 0
    while at < len(data):
        z, part = zlib.decompressobj(31), data[at : at + (1 << 20)]
        try:
            z.decompress(part)
        except zlib.error:
            return None
        size = len(part) - len(z.unused_data)
        if not z.eof:
            return None
        leaves.append(part[:size])
        at += size
    return leaves if len(leaves) <= 262144 else None


def is_skippable(magic):
    return len(magic) == 4 and magic[0] >> 4 == 5 and magic[1:] == b"\x2a\x4d\x18"


def frame_end(data, at):
    """Where the frame at a place ends."""
    if is_skippable(data[at : at + 4]):
        return min(len(data), at + 8 + int.from_bytes(data[at + 4 : at + 8], "little"))
    if data[at : at + 4] != b"\x28\xb5\x2f\xfd" or len(data) < at + 5 or data[at + 4] & 8:
        return len(data)
    descriptor = data[at + 4]
    single = descriptor >> 5 & 1
    at += 5 + 1 - single + [0, 1, 2, 4][descriptor & 3] + [single, 2, 4, 8][descriptor >> 6]
    last = 0
    while not last:
        block = int.from_bytes(data[at : at + 3], "little")
        last, kind, size = block & 1, block >> 1 & 3, block >> 3
        if len(data) < at + 3 or kind == 3 or size > 131072:
            return len(data)
        at += 3 + (1 if kind == 1 else size)
    return min(len(data), at + 4 * (descriptor >> 2 & 1))


def runs(data):
    """The leaves of zstd."""
    leaves, run, at = [], b"", 0
    while at < len(data):
        end = frame_end(data, at)
        frame, at = data[at:end], end
        if len(frame) > 64 << 10:
            leaves += [run] if run else []
            leaves += [frame[i : i + (1 << 20)] for i in range(0, len(frame), 1 << 20)]
            run = b""
            continue
        run += frame
        n, h = len(run), zlib.crc32(frame)
        if n >= 256 << 10 or n >= 128 << 10 and h % 4 == 0 or n >= 64 << 10 and h % 8 == 0:
            leaves.append(run)
            run = b""
    return leaves + ([run] if run else [])


# Sections 4 and 7: blobs and manifests.


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def layer(tar, o):
    """A layer as it is stored, the leaves that it is cut into, and its media type."""
    if tar[:2] == b"\x1f\x8b":
        return tar, gzip_members(tar), LAYER + ".gzip"
    if tar[:4] == b"\x28\xb5\x2f\xfd" or is_skippable(tar[:4]):
        return tar, runs(tar), LAYER + ".zstd"
    if o.compression == "none":
        return tar, cut(tar) if header(tar[:512]) else None, LAYER
    members = [member(piece, o.level) for piece in cut(tar) or [b""]]
    return b"".join(members), members, LAYER + ".gzip"


def describe(media_type, data):
    return {"mediaType": media_type, "size": len(data), "digest": digest(data)}


def read_archive(stream):
    """The files of an archive by path, with links followed."""
    files, archive = {}, tarfile.open(fileobj=io.BytesIO(stream.read()))
    for entry in archive:
        if entry.isfile() or entry.issym() or entry.islnk():
            files[entry.name] = archive.extractfile(entry).read()
    return files


# Section 8: names.


def name_and_tag(reference):
    name, _, tag = reference.partition("/")[2].partition(":") if "/" in reference else reference.partition(":")
    host = reference.split("/")[0] if "/" in reference else ""
    if host and not ("." in host or ":" in host or host == "localhost"):
        name, _, tag = reference.partition(":")
    if host == "docker.io":
        name = name.removeprefix("library/")
    return name, tag or "latest"


# Sections 2 and 9: the directory and its aliases.


def address(archive, o):
    profile, root, images = PROFILES[o.cid_profile], {}, {}

    def put(path, node):
        at = root
        *above, last = [part for part in path if part]
        for part in above:
            at = at.setdefault(part, {})
        at.setdefault(last, node)

    for entry in json.loads(archive["manifest.json"]):
        config = archive[entry["Config"]]
        layers = [layer(archive[path], o) for path in entry["Layers"]]
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": describe(CONFIG, config),
                "layers": [describe(media_type, data) for data, _, media_type in layers],
            },
            separators=(",", ":"),
        ).encode()
        for reference in entry["RepoTags"] or [None]:
            name, tag = name_and_tag(reference) if reference else ("", "")
            parts = name.split("/")
            for called in [digest(manifest), tag]:
                put([*parts, "manifests", called] if called else [*parts], profile.file(manifest)) if called else None
            put([*parts, "blobs", digest(config)], profile.file(config))
            for data, cuts, _ in layers:
                put([*parts, "blobs", digest(data)], profile.file(data, cuts))
            images.setdefault(name, []).append((tag, manifest))
    for name, of in images.items():
        tagged = [manifest for tag, manifest in of if tag == "latest"]
        if not tagged and len({manifest for _, manifest in of}) > 1:
            continue
        latest = (tagged or [of[0][1]])[0]
        for alias in ["latest", "latest-v2"]:
            put([*name.split("/"), "manifests", alias], profile.file(latest))

    # Section 1: addresses.
    multihash = profile.directory(root).cid[-34:]
    return base64.b32encode(multihash).decode().lower().rstrip("=")


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--compression", choices=["gzip", "none"], default="gzip")
    options.add_argument("--level", type=int, choices=LEVELS, default=4)
    options.add_argument("--cid-profile", choices=PROFILES, default="unixfs-v1-2025")
    print(address(read_archive(sys.stdin.buffer), options.parse_args()))


if __name__ == "__main__":
    main()
