"""Greets."""


def handler(event, context):
    return "Hello, %s!" % (event or {}).get("name", "world")
