"""Counts words with mappers and reducers.

A word is a run of letters, digits and bytes above 127, with A-Z as a-z. A table
is published as lines of a count and a word, which are read where they lie.
"""
import collections
import heapq
import re
import zlib

import weft

WORD = re.compile(rb"[0-9a-z\x80-\xff]+")


def map_part(event, context):
    """Counts the words of one part, into a table for each reducer."""
    reducers = event["reducers"]
    with open("/data/part-%d" % event["part"], "rb") as f:
        counts = collections.Counter(WORD.findall(f.read().lower()))
    tables = [[] for _ in range(reducers)]
    for word, count in counts.items():
        tables[zlib.crc32(word) % reducers].append(b"%d %s\n" % (count, word))
    for r, lines in enumerate(tables):
        weft.put("table-%d" % r, b"".join(lines))
    return {"distinct": len(counts)}


def read_table(slot, counts):
    """Adds a published table to counts."""
    for line in bytes(weft.take(slot)).splitlines():
        count, word = line.split(b" ", 1)
        counts[word] += int(count)


def reduce_part(event, context):
    """Adds up one reducer's tables of all mappers."""
    counts = collections.Counter()
    for m in range(event["mappers"]):
        read_table("map[%d]/table-%d" % (m, event["part"]), counts)
    weft.put("counts", b"".join(b"%d %s\n" % (count, word) for word, count in counts.items()))
    return {"distinct": len(counts)}


def fnv(data):
    """The FNV-1a hash of bytes."""
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return h


def total(event, context):
    """Says how many words there are and which are the most frequent."""
    counts = collections.Counter()
    for r in range(event["reducers"]):
        read_table("reduce[%d]/counts" % r, counts)
    top = heapq.nsmallest(20, counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "words": sum(counts.values()),
        "distinct": len(counts),
        "top": [{"word": word.decode("utf-8", "replace"), "count": count} for word, count in top],
        "digest": "%016x" % (sum(fnv(b"%s %d\n" % item) for item in counts.items()) & 0xFFFFFFFFFFFFFFFF),
    }
