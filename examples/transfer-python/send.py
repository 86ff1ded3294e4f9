"""Publishes size bytes of words 0, 1, 2, ... in one or several rounds."""
import array
import time

import weft


def handler(event, context):
    size, rounds = int(event["size"]), int(event.get("rounds", 1))
    if size < 8:
        raise ValueError("size must be at least 8 bytes")
    words = array.array("Q", range(size // 8))
    fill_ns = publish_ns = 0
    for i in range(rounds):
        start = time.monotonic_ns()
        made = weft.alloc(size)
        made.view[: 8 * len(words)] = memoryview(words).cast("B")
        filled = time.monotonic_ns()
        weft.put("data-%d" % i, made)
        published = time.monotonic_ns()
        if i == 0:
            fill_ns, publish_ns = filled - start, published - filled
    return {"bytes": size, "fill_ns": fill_ns, "publish_ns": publish_ns}
