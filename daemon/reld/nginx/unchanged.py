"""The part of every gate config that keeps the gate out of what site and app say to each other."""

from __future__ import annotations

# Everything that the site in front and the app say to each other passes unchanged.
UNCHANGED = """\
    proxy_http_version 1.1;
    proxy_set_header Host $host_as_sent;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_to_app;
    # Ours: see `mirror`. An app may trust it, so no user can say it.
    proxy_set_header X-Relctl-Shadow '';
    # Many apps (all of WSGI, Rack, CGI) cannot tell these from it.
    proxy_set_header X_Relctl_Shadow '';
    proxy_set_header X-Relctl_Shadow '';
    proxy_set_header X_Relctl-Shadow '';
    # Of a request of our own, see `rehearse`.
    proxy_set_header X-Relctl-Rehearsal '';
    proxy_redirect off;
    proxy_pass_header Server;
    proxy_pass_header Date;
    # X-Accel-* are words of the app to the site's nginx (files that it should send, for instance).
    proxy_pass_header X-Accel-Redirect;
    proxy_pass_header X-Accel-Expires;
    proxy_pass_header X-Accel-Limit-Rate;
    proxy_pass_header X-Accel-Buffering;
    proxy_pass_header X-Accel-Charset;
    proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Charset;
    # The site decides what is buffered: what it does not hold back must not be held back here.
    # A streamed body cannot be sent twice once it began, but a connection that was refused is still
    # tried on the backup, and so is a body that came together with its head. And a slow upload has
    # its connection to the app from the start, so that the drain can see it.
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_max_temp_file_size 0;
    proxy_buffer_size 32k;
    proxy_buffers 8 32k;
    proxy_connect_timeout 2s;
    proxy_next_upstream_tries 2;
    client_max_body_size 0;
    # Not stricter than the site: its limits were already applied.
    client_header_buffer_size 8k;
    large_client_header_buffers 8 64k;
    ignore_invalid_headers off;
    underscores_in_headers on;
    merge_slashes off;
    # The peer is on this machine: if it goes away we are told; slowness is for the site to judge.
    client_body_timeout 1h;
    send_timeout 1h;
"""
