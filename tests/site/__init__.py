"""The nginx that a machine already has in front of its app: TLS, HTTP/2 and a plain `proxy_pass`."""

from tests.site.site import Site

__all__ = ["Site"]
