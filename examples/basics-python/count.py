"""Stays in memory between the calls of a version, and counts them."""
calls = 0


def handler(event, context):
    global calls
    calls += 1
    return {"call": calls, "item": context.index}
