"""One link of a chain. The first makes size bytes of words 0, 1, 2, ...; every
other one takes the buffer of the one before and either publishes it as it is, or
(touch) reads every word and publishes new ones, each one more."""
import array

import weft


def words(data):
    """The 64-bit words of a buffer, where they lie."""
    return data.cast("Q")


def handler(event, context):
    total = 0
    if "from" not in event:
        size = int(event["size"]) // 8 * 8
        if size < 8:
            raise ValueError("size must be at least 8 bytes")
        made = weft.alloc(size)
        out = words(made.view)
        out[:] = array.array("Q", range(size // 8))
        total = sum(out)
    else:
        came = weft.take(event["from"])
        if not event.get("touch"):
            made, out = came, words(came)
        else:
            made = weft.alloc(len(came))
            out = words(made.view)
            out[:] = array.array("Q", [word + 1 for word in words(came)])
            total = sum(out)
    weft.put("data", made)
    return {"bytes": 8 * len(out), "first": out[0], "last": out[-1], "sum": "%016x" % (total & 0xFFFFFFFFFFFFFFFF)}
