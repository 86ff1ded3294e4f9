"""Creates, writes, reads, seeks, renames, lists and removes files in a granted folder, and checks what it sees."""
import os

LINE = b"Written in a sandbox."


def want(condition):
    if not condition:
        raise AssertionError("this is not what was written")


def handler(event, context):
    with open("/work/lines.txt", "w+b", buffering=0) as f:
        f.write(LINE)
        f.seek(0)
        want(f.read(64) == LINE and f.read(64) == b"")
        want(f.seek(-8, os.SEEK_END) == len(LINE) - 8 and f.read() == b"sandbox.")
        os.pwrite(f.fileno(), b"W", 100)
        want(os.fstat(f.fileno()).st_size == 101 and os.pread(f.fileno(), 2, 99) == b"\0W")
        f.truncate(len(LINE))
        want(os.fstat(f.fileno()).st_size == len(LINE))
    with open("/work/lines.txt", "ab") as f:
        f.write(b"\n")
    want(os.stat("/work/lines.txt").st_size == len(LINE) + 1)

    os.mkdir("/work/folder")
    os.rename("/work/lines.txt", "/work/folder/moved.txt")
    want(not os.path.exists("/work/lines.txt") and os.listdir("/work/folder") == ["moved.txt"])
    os.unlink("/work/folder/moved.txt")
    os.rmdir("/work/folder")
    want(not os.path.exists("/work/../outside"))
    return {"bytes": len(LINE)}
