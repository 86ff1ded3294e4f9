"""Takes what send published and reads every word of it, in one or several rounds."""
import statistics
import time

import weft


def handler(event, context):
    rounds = int(event.get("rounds", 1))
    if not 1 <= rounds <= 64:
        raise ValueError("rounds must be 1 to 64")
    result, following = {}, []
    for i in range(rounds):
        start = time.monotonic_ns()
        data = weft.take("send/data-%d" % i)
        taken = time.monotonic_ns()
        words = data[: len(data) // 8 * 8].cast("Q")
        first = sum(words)
        read = time.monotonic_ns()
        if sum(words) != first or i > 0 and "%016x" % first != result["sum"]:
            raise ValueError("the buffer changed")
        again = time.monotonic_ns()
        size = len(data)
        words.release()
        del words, data
        released = time.monotonic_ns()
        if i == 0:  # the first one touches code and memory anew
            result = {"bytes": size, "sum": "%016x" % first, "take_ns": taken - start, "read_ns": read - taken,
                      "again_ns": again - read, "release_ns": released - again}
        else:
            following.append(read - start)
    return dict(result, next_ns=int(statistics.median(following)) if following else 0)
