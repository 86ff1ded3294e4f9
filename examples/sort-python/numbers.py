"""Sorts numbers in parts.

Every sorter sorts its part and publishes it with a sample, every 512th number.
Every splitter finds the same pivots in all samples together, and publishes where
its part is to be cut. Every merger borrows all sorted parts, merges its range of
each, and copies nothing before that.
"""
import array
import bisect
import heapq
import re

import weft

STRIDE = 512
OTHER = re.compile(rb"[^0-9,\s]")
NUMBER = re.compile(rb"[0-9]+")


def numbers(data):
    """The 32-bit numbers of a buffer, where they lie."""
    return data.cast("I") if len(data) else data


def read_part(event, context):
    """Reads one part of the input into a buffer."""
    with open("/data/part-%d" % event["part"], "rb") as f:
        text = f.read()
    weft.put("text", text)
    return {"bytes": len(text)}


def parse(text, name):
    """The numbers of a text, between commas and white space."""
    bad = OTHER.search(text)
    if bad is None:
        found = [int(n) for n in text.replace(b",", b" ").split()]
        if not found or max(found) < 1 << 32:
            return found
        bad = next(m for m in NUMBER.finditer(text) if int(m[0]) >> 32)
    raise ValueError("no number below 4294967296 at byte %d of %s" % (bad.start(), name))


def sort_part(event, context):
    """Sorts one part."""
    slot = "read[%d]/text" % event["part"]
    found = array.array("I", sorted(parse(bytes(weft.take(slot)), slot)))
    weft.put("sorted", found)
    weft.put("sample", array.array("I", [event["sorters"], event["mergers"]]) + found[::STRIDE])
    return {"numbers": len(found)}


def split_part(event, context):
    """Finds where one sorted part is to be cut."""
    part = event["part"]
    sorters, mergers = numbers(weft.borrow("sort[%d]/sample" % part))[:2]
    pool = sorted(n for i in range(sorters) for n in numbers(weft.borrow("sort[%d]/sample" % i))[2:])
    own = numbers(weft.borrow("sort[%d]/sorted" % part))
    cuts = [0] + [bisect.bisect_left(own, pool[len(pool) * j // mergers]) if pool else 0 for j in range(1, mergers)] + [len(own)]
    weft.put("bounds", array.array("I", cuts))
    return {"parts": mergers}


def merge_range(event, context):
    """Merges one range of all sorted parts."""
    part, ranges = event["part"], []
    for i in range(event["sorters"]):
        cuts = numbers(weft.borrow("split[%d]/bounds" % i))
        ranges.append(numbers(weft.borrow("sort[%d]/sorted" % i))[cuts[part] : cuts[part + 1]])
    merged = array.array("I", heapq.merge(*ranges))
    weft.put("merged", merged)
    return {"numbers": len(merged)}


def check(event, context):
    """Checks that the ranges are sorted, each and from one to the next, and that no number is lost."""
    before = sum(len(weft.borrow("sort[%d]/sorted" % i)) // 4 for i in range(event["sorters"]))
    total, least, last, digest = 0, 0, 0, 0xCBF29CE484222325
    for j in range(event["mergers"]):
        merged = weft.take("merge[%d]/merged" % j)
        for n in numbers(merged):
            if n < last:
                raise ValueError("%d follows %d in range %d" % (n, last, j))
            least, last = (least if total else n), n
            total += 1
        for byte in merged:
            digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    if total != before:
        raise ValueError("%d numbers became %d" % (before, total))
    return {"numbers": total, "least": least, "most": last, "digest": "%016x" % digest}
