"""Hides HTTP: who calls, what was sent, and how answers and errors look on the wire."""

from chalicelib.http.call import Call
from chalicelib.http.routing import ANY_TYPE, Api, keyed, logger, open_route

__all__ = ["ANY_TYPE", "Api", "Call", "keyed", "logger", "open_route"]
