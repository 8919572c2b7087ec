"""The line of every key, whatever form the file has."""

from __future__ import annotations

import pytest

from reld.config_toml import MalformedError, nearest, parse

TEXT = '''\
# a comment with [brackets] and "quotes
top = 1

[a]   # [b]
x = [  # ]
  "]", '[', # "
  { y = 1 },
]
text = """
[no]
key = 1 \\""" ""
"""   # end
after = \'\'\'
'' z = 1\'\'\'\'
"quoted.key" = "#"
b.c = { d = "}" }
[[list]]
n = 1
[list.sub]
m = 1
[[ list ]]
n = 2
[list."s u b"]
m = 2
'''


@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("top",), 2),
        (("a",), 4),
        (("a", "x"), 5),
        (("a", "x", 2, "y"), 5),
        (("a", "text"), 9),
        (("a", "after"), 13),
        (("a", "quoted.key"), 15),
        (("a", "b", "c"), 16),
        (("a", "b", "c", "d"), 16),
        (("list", 0), 17),
        (("list", 0, "n"), 18),
        (("list", 0, "sub", "m"), 20),
        (("list", 1), 21),
        (("list", 1, "n"), 22),
        (("list", 1, "s u b"), 23),
        (("list", 1, "s u b", "m"), 24),
        (("nothing",), 1),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_key_has_the_line_that_it_stands_on(key, line, newline):
    assert parse(TEXT.replace("\n", newline).encode()).line(key) == line


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"a = 1\nb = \xff\n", 2, "not UTF-8"),
        (b"a = 1\nb = \n", 2, "invalid value (TOML)"),
        (b"a = 1\nb = [", 2, "invalid value (TOML)"),
        (b"x = " + b"[" * 100_000, 1, "nested too deeply"),
        (b"a = 1\nx = " + b"9" * 5000, 2, "a number too long to read"),
    ],
)
def test_what_is_no_toml_is_named_with_its_line(content, line, what):
    with pytest.raises(MalformedError) as caught:
        parse(content)
    assert (caught.value.line, caught.value.what) == (line, what)


@pytest.mark.parametrize(
    ("key", "table", "meant"),
    [
        ("pth", "readiness", "readiness.path"),
        ("path", "app", "readiness.path"),
        ("ENTRYPOINT", "app", "app.command"),
        ("xyz", "app", ""),
    ],
)
def test_the_nearest_key_is_one_that_could_be_meant(key, table, meant):
    known = ["app", "readiness", "app.command", "readiness.path", "liveness.path"]
    assert nearest(key, table, known) == meant
