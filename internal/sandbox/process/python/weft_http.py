"""Requests for WSGI applications (PEP 3333), and what WSGI and ASGI share."""
import io
import os
import sys
from urllib.parse import unquote_to_bytes

import __main__ as server

# What a connection says about itself and not about the response (RFC 9110, 7.6.1): the node has its own.
HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


def refused(request):
    """Answers what no application is asked, and says whether it did."""
    for name, value in request.meta["http"]["headers"]:
        if name.lower() == "upgrade" and value.lower() == "websocket":
            respond(request, 501, [["content-type", "text/plain; charset=utf-8"]],
                    b"websockets are not supported: a trigger answers requests; use a stream of server-sent events\n")
            return True
    return False


def respond(request, status, headers, body):
    request.respond(status, headers)
    request.output.write(body)


def checked(headers):
    """Names and values of a response, without what is the connection's."""
    out = []
    for name, value in headers:
        for part in (name, value):
            if not isinstance(part, str):
                raise TypeError("the header %r: %r is not of type str" % (name, value))
            if "\r" in part or "\n" in part or "\0" in part:
                raise ValueError("the header %r has a value of several lines" % name)
        if name.lower() not in HOP:
            out.append([name, value])
    return out


def environ(request):
    """What an application sees of a request."""
    http = request.meta["http"]
    if request.file >= 0:
        body = io.open(request.file, "rb", closefd=False)
    else:
        body = io.BytesIO(request.body)
    env = {
        "REQUEST_METHOD": http["method"],
        "SCRIPT_NAME": unquote_to_bytes(http["root"]).decode("latin-1"),
        "PATH_INFO": unquote_to_bytes(http["path"]).decode("latin-1"),
        "QUERY_STRING": http["query"],
        "SERVER_NAME": http["host"] or "localhost",
        "SERVER_PORT": str(http["port"]),
        "SERVER_PROTOCOL": http["proto"],
        "REMOTE_ADDR": http["client"],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": http["scheme"],
        "wsgi.input": body,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for name, value in http["headers"]:
        if "_" in name:
            continue  # it would look like the header that is spelt with a hyphen
        key = name.upper().replace("-", "_")
        if key == "PROXY":
            continue  # HTTP_PROXY means something else to libraries
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        if key in env:
            value = env[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
        env[key] = value
    if "CONTENT_LENGTH" not in env:
        size = len(request.body) if request.file < 0 else os.fstat(request.file).st_size
        if size or request.file < 0:  # else it is a pipe: the end says how long the body is
            env["CONTENT_LENGTH"] = str(size)
    return env


class Response:
    """start_response and write of one request."""

    def __init__(self, request):
        self.request, self.head, self.sent = request, None, False

    def start(self, status, headers, exc_info=None):
        if exc_info:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.head is not None:
            raise AssertionError("start_response was called twice, without exc_info")
        self.head = int(status.split(" ", 1)[0]), checked(headers)
        return self.write

    def write(self, data):
        if self.head is None:
            raise AssertionError("the application gives a body before it has called start_response")
        if not isinstance(data, bytes):
            raise TypeError("the application gives %s where bytes are wanted" % type(data).__name__)
        if not self.sent:
            if not data:
                return
            self.finish_head()
        self.request.output.write(data)

    def finish_head(self):
        self.sent = True
        self.request.respond(*self.head)


def wsgi(app, request):
    if refused(request):
        return
    response = Response(request)
    env = environ(request)
    result = None
    try:
        result = app(env, response.start)
        for piece in result:
            response.write(piece)
        if response.head is None:
            raise AssertionError("the application has not called start_response")
        if not response.sent:
            response.finish_head()
    finally:
        if hasattr(result, "close"):
            result.close()
        env["wsgi.input"].close()
