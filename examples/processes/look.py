"""Takes a block and looks at both of its ends."""
import time

import weft


def handler(event, context):
    weft.take("first")  # after which the ways are known
    start = time.monotonic_ns()
    block = weft.take("block")
    ends = block[0] + block[-1]
    took = time.monotonic_ns() - start
    return {"take_ns": took, "bytes": len(block), "sum": ends}
