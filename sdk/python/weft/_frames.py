"""Frames between an instance of a service and its node: package internal/service/wire, in Python.

A frame is behind its length of 4 bytes, little-endian. Integers are varints, text and bytes
carry their length, lists their count. Places in the state (a field, or an entry of one) are kept
as they are on the wire: one comparison of bytes tells whether two are the same.
"""
import os

START, ANSWER, READ, SCAN, INVOKE, TRANSACTION, RUN, RAN, TIMER, PROMISE, AWAIT, COMPENSATE, CONTINUE, RETURN = range(1, 15)
OK, ABSENT, PENDING, FAILED, REFUSED, ABORTED, PROCEED, PANICKED = range(8)
WAIT, ASYNC, SEND = range(3)
BEGIN, COMMIT, ABORT = range(3)

FRAME_MAX = 4 << 20
OUT_MAX = 1 << 20  # bytes of frames without an answer that wait for one that has
READ_SIZE = 64 << 10
ONE = [bytes((n,)) for n in range(128)]


class Malformed(Exception):
    """The node has sent what it never sends."""


def uvarint(n):
    """The bytes of an unsigned integer."""
    if n < 128:
        return ONE[n]
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def varint(n):
    """The bytes of an integer of 64 bits."""
    return uvarint(n << 1 if n >= 0 else ~(n << 1))


def blob(data):
    """Bytes behind their length."""
    return uvarint(len(data)) + data


def text(s):
    """Text behind its length."""
    return blob(s.encode("utf-8", "surrogateescape"))


def read_uvarint(buf, at):
    """An unsigned integer, and where it ends."""
    b = buf[at]
    at += 1
    if b < 128:
        return b, at
    n, shift = b & 127, 7
    while True:
        b = buf[at]
        at += 1
        n |= (b & 127) << shift
        if b < 128:
            return n, at
        shift += 7
        if shift > 63:
            raise Malformed("an integer of more than 64 bits")


def read_varint(buf, at):
    """An integer, and where it ends."""
    n, at = read_uvarint(buf, at)
    return (n >> 1) ^ -(n & 1), at


def read_blob(buf, at):
    """Bytes, and where they end."""
    n = buf[at]
    at += 1
    if n > 127:
        n, at = read_uvarint(buf, at - 1)
    end = at + n
    if end > len(buf):
        raise Malformed("bytes beyond the frame")
    return buf[at:end], end


def read_text(buf, at):
    """Text, and where it ends."""
    data, at = read_blob(buf, at)
    return str(data, "utf-8", "surrogateescape"), at


def read_value(buf, at):
    """A value as (code, text, data), and where it ends."""
    code = buf[at]
    note, at = read_blob(buf, at + 1)
    data, at = read_blob(buf, at)
    return (code, note, data), at


def start(frame):
    """What a Start says: call (as on the wire), request, attempt, service, object, method, args, now, seed, values."""
    at = 1
    while frame[at] > 127:
        at += 1
    at += 1
    call = frame[1:at]
    request, at = read_text(frame, at)
    attempt, at = read_uvarint(frame, at)
    service, at = read_text(frame, at)
    key, at = read_text(frame, at)
    method, at = read_text(frame, at)
    n, at = read_uvarint(frame, at)
    args = []
    for _ in range(n):
        data, at = read_blob(frame, at)
        args.append(data)
    now, at = read_varint(frame, at)
    seed, at = read_uvarint(frame, at)
    n, at = read_uvarint(frame, at)
    values = []
    for _ in range(n):
        begin = at
        _, at = read_blob(frame, at)
        at += 1
        if frame[at - 1]:
            _, at = read_blob(frame, at)
        place = frame[begin:at]
        value, at = read_value(frame, at)
        values.append((place, None if value[0] == ABSENT else value[2]))
    return call, request, attempt, service, key, method, args, now, seed, values


def answer(frame, at):
    """What an Answer says behind its call: its value, its list of values, the time, and whether what was read is stale."""
    _, at = read_uvarint(frame, at)  # the question's number: there is one at a time
    value, at = read_value(frame, at)
    n, at = read_uvarint(frame, at)
    values = []
    for _ in range(n):
        v, at = read_value(frame, at)
        values.append(v)
    now, at = read_varint(frame, at)
    return value, values, now, frame[at] == 1


class Stream:
    """The instance's end of the stream to the node."""

    def __init__(self, fd):
        self.fd, self.rest, self.out = fd, b"", b""

    def next(self):
        """The next frame, None at the stream's end."""
        buf = self.rest
        while True:
            if len(buf) >= 4:
                n = int.from_bytes(buf[:4], "little") + 4
                if n > FRAME_MAX + 4:
                    raise Malformed("a frame of %d bytes" % n)
                if len(buf) >= n:
                    self.rest = buf[n:]
                    return buf[4:n]
            more = os.read(self.fd, READ_SIZE)
            if not more:
                return None
            buf = buf + more if buf else more

    def say(self, frame):
        """Sends a frame, behind those that wait."""
        self.later(frame)
        out, self.out = self.out, b""
        n = os.write(self.fd, out)
        while n < len(out):
            out = out[n:]
            n = os.write(self.fd, out)

    def later(self, frame):
        """Sends a frame together with the next one, if there is room."""
        self.out += len(frame).to_bytes(4, "little") + frame
        if len(self.out) > OUT_MAX:
            out, self.out = self.out, b""
            while out:
                out = out[os.write(self.fd, out):]
