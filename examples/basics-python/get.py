"""Gets a page by HTTP from a granted address and returns the status and the body."""
import http.client


def handler(event, context):
    event = event or {}
    connection = http.client.HTTPConnection(event.get("host", "127.0.0.1"), event.get("port", 17878))
    connection.request("GET", event.get("path", "/"), headers={"Connection": "close"})
    answer = connection.getresponse()
    return {"status": answer.status, "body": answer.read().decode()}
