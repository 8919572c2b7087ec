"""nginx's language, read without nginx: what a site's config says, and what nonsense does to the reader."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given, settings

from reld.doctor.directives import dumped, includes, matches, parse
from reld.doctor.sites import proxies

MAIN = "/etc/nginx/nginx.conf"


def of(text, **more):
    files = {MAIN: text} | {f"/etc/nginx/{name}": content for name, content in more.items()}
    return proxies(parse(files, MAIN))


def http(text):
    return f"events {{}}\nhttp {{\n{text}\n}}\n"


def test_names_places_and_addresses_of_a_site():
    (one,) = of(http("server { listen 443 ssl; server_name a.example.com b;\n location / {\n"
                     "proxy_pass http://127.0.0.1:8000; }}"))  # fmt: skip
    assert (one.name, one.names, one.listens) == (
        "a.example.com",
        ("a.example.com", "b"),
        ("443",),
    )
    assert (one.place, one.location, one.addresses) == (f"{MAIN}:5", "/", ("127.0.0.1:8000",))


def test_every_way_to_write_where_requests_go():
    wanted = {
        "http://127.0.0.1:8000/": ("127.0.0.1:8000",),
        "http://127.0.0.1:8000$request_uri": ("127.0.0.1:8000",),
        "http://localhost": ("localhost:80",),
        "https://10.0.0.3": ("10.0.0.3:443",),
        "http://[::1]:8000": ("[::1]:8000",),
        "http://unix:/run/web.sock": ("unix:/run/web.sock",),
        "http://unix:/run/web.sock:/app/": ("unix:/run/web.sock",),
        "http://app/x": ("127.0.0.1:1", "unix:/run/x.sock"),
        "$backend": (),
        "http://$backend:8000": (),
    }
    upstream = "upstream app { server 127.0.0.1:1 weight=2; server unix:/run/x.sock; keepalive 4; }"
    for text, addresses in wanted.items():
        (one,) = of(http(f"{upstream} server {{ proxy_pass {text}; }}"))
        assert one.addresses == addresses, text
        assert one.text == text


def test_quotes_comments_variables_maps_and_regexes_do_not_confuse_it():
    (one,) = of(
        http(
            """
    map $http_upgrade $connection_upgrade { default upgrade; '' close; }
    log_format x '{"a": "$request" ; }';   # proxy_pass http://no; }
    server {
        server_name "quoted.example.com";
        location ~ "^/[a-z]{2}/" { proxy_set_header X "a;b}"; proxy_pass http://127.0.0.1:8000; }
        add_header Y ${host}_x;
    }"""
        )
    )
    assert (one.name, one.addresses) == ("quoted.example.com", ("127.0.0.1:8000",))


def test_time_limits_are_inherited_and_the_nearest_counts():
    text = http(
        """proxy_read_timeout 2m;
    server { location /a { proxy_pass http://a:1; } location /b { proxy_read_timeout 30; proxy_pass http://b:1; } }
    server { proxy_read_timeout 500ms; location / { if ($x) { proxy_pass http://c:1; } } }"""
    )
    assert [one.read_timeout for one in of(text)] == [120.0, 30.0, 0.5]


def test_other_protocols_are_seen_and_lead_nowhere():
    one, two = of(
        http(
            "server { location /a { uwsgi_pass unix:/run/u; } location /b { fastcgi_pass x:9000; } }"
        )
    )
    assert (one.how, one.addresses, two.how) == ("uwsgi_pass", (), "fastcgi_pass")


def test_includes_are_followed_in_order_and_circles_end():
    found = of(
        http("include sites-enabled/*; include /etc/nginx/extra.conf;"),
        **{
            "sites-enabled/b": "server { server_name b; proxy_pass http://b:1; }",
            "sites-enabled/a": "server { server_name a; include snippets/app.conf; }",
            "sites-enabled/.hidden": "server { server_name hidden; proxy_pass http://h:1; }",
            "snippets/app.conf": "location / { proxy_pass http://a:1; }",
            "extra.conf": "include extra.conf; server { server_name c; proxy_pass http://c:1; }",
        },
    )
    assert [(one.name, one.place) for one in found] == [
        ("a", "/etc/nginx/snippets/app.conf:1"),
        ("b", "/etc/nginx/sites-enabled/b:1"),
        ("c", "/etc/nginx/extra.conf:1"),
    ]
    assert includes("http { include a/*; include b; }\n# include c;") == ["a/*", "b"]
    assert matches("/a/b.conf", "/a/*.conf")
    assert not matches("/a/b/c.conf", "/a/*.conf")


def test_a_broken_config_is_read_as_far_as_it_goes():
    (one,) = of(
        'http { server { server_name a; location / { proxy_pass http://a:1; } "never closed'
    )
    assert one.name == "a"
    assert of("}}}} http server { ; ; }") == ()
    assert of("") == ()


def test_what_nginx_dumps_is_the_files_again_with_their_lines():
    text = (
        "# configuration file /etc/nginx/nginx.conf:\nhttp {\n include x;\n}\n\n"
        "# configuration file /etc/nginx/x:\nserver {\n proxy_pass http://a:1;\n}\n\n"
    )
    files, main = dumped(text)
    (one,) = proxies(parse(files, main))
    assert (main, one.place) == (MAIN, "/etc/nginx/x:2")
    assert dumped("nginx: [emerg] no") == ({}, "")


WORDS = st.sampled_from(
    ["http", "server", "location", "proxy_pass", "upstream", "include", "if", "{", "}", ";", " ", "\n", '"', "'",
     "\\", "#", "$", "${", "~", "/", "x", "http://a:1", "http://unix:/x:", "proxy_read_timeout", "1h"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(WORDS | st.text(max_size=5), max_size=80).map("".join))
def test_nonsense_never_breaks_the_reader(text):
    for one in of(http(text), x=text):
        assert one.line >= 1
    dumped(text)


def test_depth_and_length_are_bounded():
    assert of("http {" * 30_000) == ()
    assert len(of(http("server {" + "location / { proxy_pass http://a:1; }" * 30_000))) < 20_000
