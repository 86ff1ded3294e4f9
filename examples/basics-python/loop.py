"""Never stops: the limit of its time does it."""


def handler(event, context):
    while True:
        pass
