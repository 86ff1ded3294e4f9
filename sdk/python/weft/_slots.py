"""Buffers: memory that passes between functions without a copy.

The descriptor in WEFT_FD is a socket to the node. A request or an answer is one
packet: a header, then a name or a text, then bytes; the memory file of a buffer
comes beside it. docs/processes.md describes the frames.
"""
from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import socket
import struct
import threading

_HEAD = struct.Struct("<IIQQQII")  # operation or status, request, size, type, segment, length of the name, of the bytes
_NEED, _PUT, _TAKE, _BORROW, _WAIT = 1, 2, 3, 4, 5
_INLINE = 16 << 10  # bytes that travel in the packet


class Error(Exception):
    """An operation on a slot has failed."""


class NotFound(Error):
    """No such slot is there for this call."""


class Exists(Error):
    """The slot has been published already."""


class TypeMismatch(Error):
    """The slot has another type than its reader asks for."""


class QuotaExceeded(Error):
    """The run would hold more bytes than it may."""


class Ambiguous(Error):
    """Several slots have this name: say of which step."""


class Deadlock(Error):
    """Nobody is left to publish the slot."""


class Closed(Error):
    """There is no connection for buffers: none was given, or it is closed."""


_ERRORS = {1: NotFound, 2: Exists, 3: TypeMismatch, 4: QuotaExceeded, 5: Ambiguous, 9: TimeoutError, 11: Deadlock}


class _Connection:
    def __init__(self):
        self.lock = threading.Lock()
        self.sock = None
        self.pid = 0
        self.last = 0
        self.answers = {}
        self.reading = False
        self.changed = threading.Condition(self.lock)

    def open(self):
        if self.sock is not None and self.pid == os.getpid():
            return self.sock
        fd = os.environ.get("WEFT_FD")
        if not fd:
            raise Closed("this call has no buffers")
        try:
            self.sock = socket.socket(fileno=os.dup(int(fd)))
        except (OSError, ValueError) as e:
            raise Closed("the connection for buffers is closed: %s" % e) from None
        self.pid = os.getpid()
        return self.sock

    def reset(self):
        """Forgets the connection: the next call has another."""
        with self.lock:
            if self.sock is not None:
                self.sock.close()
            self.sock = None

    def ask(self, op, name="", size=0, kind=0, segment=0, data=b"", meanwhile=None):
        """Sends a request and waits for its answer; threads may do so at the same
        time. What is to be done meanwhile is, while the node works."""
        encoded = name.encode()
        with self.lock:
            sock = self.open()
            self.last = number = (self.last + 1) & 0xFFFFFFFF
            try:
                sock.sendmsg([_HEAD.pack(op, number, size, kind, segment, len(encoded), len(data)), encoded, data])
            except OSError as e:
                raise Closed("the connection for buffers is closed: %s" % e) from None
            if meanwhile is not None:
                meanwhile()
            while number not in self.answers:
                if self.reading:
                    self.changed.wait()
                    continue
                self.reading = True
                self.lock.release()
                try:
                    got = self.receive(sock)
                finally:
                    self.lock.acquire()
                    self.reading = False
                    self.changed.notify_all()
                self.answers[got[1]] = got
            status, _, size, kind, segment, text, body, fd = self.answers.pop(number)
        if status:
            raise _ERRORS.get(status, Error)(text)
        return size, kind, segment, body, fd

    @staticmethod
    def receive(sock):
        try:
            data, control, _, _ = sock.recvmsg(_HEAD.size + (64 << 10), socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        except OSError as e:
            raise Closed("the connection for buffers is closed: %s" % e) from None
        if len(data) < _HEAD.size:
            raise Closed("the node has closed the connection for buffers")
        status, number, size, kind, segment, text, body = _HEAD.unpack_from(data)
        fd = -1
        for level, what, rights in control:
            if level == socket.SOL_SOCKET and what == socket.SCM_RIGHTS:
                fd = struct.unpack("i", rights[:4])[0]
        rest = data[_HEAD.size :]
        return status, number, size, kind, segment, rest[:text].decode("utf-8", "replace"), rest[text : text + body], fd


_connection = _Connection()


_MAP_FIXED = 0x10
_MAP_NORESERVE = 0x4000
_HUGE = 2 << 20  # bytes that one entry of a page table can show, where address and offset are multiples of it
_COLLAPSE, _POPULATE_READ = 25, 22  # madvise(2), Linux 6.1 and 5.14

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def _map(where, size, flags, fd):
    """Maps a file in the place of what is mapped there."""
    return _libc.mmap(where, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0) == where


class _Mapping(mmap.mmap):
    """A mapping that begins at the address where, or has the file of a buffer
    there; segment is the number of a buffer that it shows, 0 until that can be
    published by its number."""

    where = segment = 0

    def shows(self, view):
        """Whether view begins with the buffer's first byte, and nothing of the
        mapping was written to here. The kernel tells by smaps (proc(5)): what a
        private mapping has of its own is anonymous. Asking takes as long as copying
        a megabyte."""
        if not self.segment or len(view) < 1 << 20 or view.readonly or ctypes.addressof(ctypes.c_char.from_buffer(view)) != self.where:
            return False
        try:
            with open("/proc/self/smaps") as f:
                for line in f:
                    if line.startswith("%x-" % self.where):
                        about = dict(itertools.islice((l.split()[:2] for l in f), 24))
                        return about["Anonymous:"] == "0" and about["Swap:"] == "0"
        except (OSError, KeyError, ValueError):
            pass
        return False


def _place(fd, size, flags):
    """Maps a file; returns a memoryview of it and its address. From 2 MiB on the
    address is one at which a page table can show it in huge pages: the file then
    takes the place of a part of an empty mapping, which ends with the view."""
    if size < _HUGE:
        room = _Mapping(fd, size, flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        room.where = ctypes.addressof(ctypes.c_char.from_buffer(room))
        return memoryview(room), room.where
    room = _Mapping(-1, size + _HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    where = ctypes.addressof(ctypes.c_char.from_buffer(room))
    skip = -where % _HUGE
    if not _map(where + skip, size, flags | _MAP_FIXED, fd):
        raise OSError(ctypes.get_errno(), "map a buffer")
    room.where = where + skip
    return memoryview(room)[skip : skip + size], where + skip


def _populate(where, size, fd):
    """Gives a new buffer its memory at once, in huge pages where the kernel can:
    taking a mapping of small ones down costs a hundred times as much, and that is
    most of publishing. Where it cannot, pages come as they are touched."""
    huge = size // _HUGE * _HUGE
    try:
        for at in range(0, huge, _HUGE):  # what is quite empty is not collapsed
            os.pwrite(fd, b"\0", at)
        if huge:
            _libc.madvise(where, huge, _COLLAPSE)
    except OSError:
        pass
    _libc.madvise(where, size, _POPULATE_READ)


class Buffer:
    """Memory that is being filled, to be published by put.

    view is a writable memoryview of it. After put it is still there, and what is
    written then changes nothing for others.
    """

    def __init__(self, size):
        if size <= 0:
            raise ValueError("a buffer has at least one byte")
        _, populate, self.segment, _, fd = _connection.ask(_NEED, size=size)
        try:
            self.view, self._where = _place(fd, size, mmap.MAP_SHARED)
            if populate:
                _populate(self._where, size, fd)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self.size = size

    def __len__(self):
        return self.size

    def _freeze(self):
        """Makes the mapping a private one of the same pages, at its place: arrays
        that lie in it stay valid, and no writable mapping of the file is left."""
        if not _map(self._where, self.size, mmap.MAP_PRIVATE | _MAP_FIXED, self._fd):
            raise OSError(ctypes.get_errno(), "freeze a buffer")
        os.close(self._fd)
        self._fd = -1

    def __del__(self):
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)
            self._fd = -1


def alloc(size):
    """A Buffer of size bytes, zero."""
    return Buffer(size)


def put(name, data, size=None, type=0):
    """Publishes bytes, anything with the buffer protocol, or a Buffer: the first
    size bytes of it, all of them by default, and without a copy. What take or
    borrow gave is not copied either, as long as it was not written to."""
    if isinstance(data, Buffer):
        n = data.size if size is None else size
        if not 0 <= n <= data.size:
            raise ValueError("the buffer has %d bytes" % data.size)
        if data._fd < 0:
            raise Error("this buffer is published already")
        _connection.ask(_PUT, name, n, type, data.segment, meanwhile=data._freeze)
        data.view.obj.segment = data.segment
        return
    view = memoryview(data)
    view = view.cast("B") if view.nbytes else memoryview(b"")  # an empty one cannot be cast
    if size is not None:
        view = view[:size]
    n = len(view)
    if n > _INLINE and isinstance(view.obj, _Mapping) and view.obj.shows(view):
        _connection.ask(_PUT, name, n, type, view.obj.segment)
        return
    if n <= _INLINE:
        _connection.ask(_PUT, name, n, type, 0, bytes(view))
        return
    _, _, segment, _, fd = _connection.ask(_NEED, size=n)
    try:  # writing to fresh pages of a file is faster than filling a mapping
        at = 0
        while at < n:
            at += os.pwrite(fd, view[at:], at)
    finally:
        os.close(fd)
    _connection.ask(_PUT, name, n, type, segment)


def _read(op, name, type):
    size, _, segment, body, fd = _connection.ask(op, name, 0, type)
    if fd < 0:
        return memoryview(bytearray(body))
    try:
        if size == 0:
            return memoryview(bytearray())
        view, _ = _place(fd, size, mmap.MAP_PRIVATE)
        view.obj.segment = segment
        return view
    finally:
        os.close(fd)


def take(name, type=0):
    """Consumes a slot and returns its bytes as a memoryview. It may be written:
    then this call has private copies of the pages that it writes to."""
    return _read(_TAKE, name, type)


def borrow(name, type=0):
    """Like take, and leaves the slot for others."""
    return _read(_BORROW, name, type)


def wait(name, timeout=None):
    """Waits until a slot is there. TimeoutError after timeout seconds."""
    nanoseconds = 0 if timeout is None else max(1, int(timeout * 1e9))
    _connection.ask(_WAIT, name, nanoseconds)


def array(data, dtype):
    """A numpy array over a memoryview or a Buffer, without a copy."""
    import numpy

    return numpy.frombuffer(data.view if isinstance(data, Buffer) else data, dtype=dtype)
