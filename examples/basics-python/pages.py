"""A digest of every stride-th byte of a file that is seen as memory: the kernel reads a page when it is first touched."""
import mmap

PAGE = 4096


def handler(event, context):
    stride = event.get("stride", 1)
    if stride < 1:
        raise ValueError("mmap: stride must be at least 1")
    digest, pages = 0xCBF29CE484222325, set()
    with open(event.get("path", "/data/part-0"), "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as memory:
        for i in range(0, len(memory), stride):
            digest = (digest ^ memory[i]) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
            pages.add(i // PAGE)
        return {"bytes": len(memory), "pages": len(pages), "digest": "%016x" % digest}
