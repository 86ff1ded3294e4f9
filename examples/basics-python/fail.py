"""Fails as a Python program does: by abort, by an exception, or by its exit status."""
import os
import sys


def divide(a, b):
    return a // b


def handler(event, context):
    how = (event or {}).get("how", "abort")
    if how == "exit":
        print("leaving with status 1", file=sys.stderr)
        sys.exit(1)
    if how == "trap":
        return divide(1000, event.get("zero", 0))
    print("giving up", file=sys.stderr, flush=True)
    os.abort()
