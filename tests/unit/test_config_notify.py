"""[[notify]] and [metrics]: what is refused, and that no refusal repeats a secret."""

from __future__ import annotations

import pytest

from reld.config import Metrics, Notify
from reld.config_file import load
from reld.errors import ConfigError

SMALL = """
[app]
command = ["bin/serve"]
directory = "/srv/web/{release}"
user = "nobody"
[readiness]
tcp = true
"""
URL = 'url = "https://hooks.example.com/s3cret"\n'


def read(folder, text):
    path = folder / "web.toml"
    path.write_text(SMALL + text)
    path.chmod(0o644)
    return load(path, uid=0)


def refused(folder, text):
    with pytest.raises(ConfigError) as error:
        read(folder, text)
    found = "\n".join(error.value.findings)
    assert "s3cret" not in found
    return found


def test_every_key_arrives(tmp_path):
    config = read(
        tmp_path,
        f"""
[metrics]
textfile = "/var/lib/x/relctl-web.prom"
[[notify]]
{URL}on = ["trouble", "start"]
format = "slack"
headers = {{ Authorization = "Bearer s3cret" }}
secret_file = "/etc/relctl/web.secret"
[[notify]]
command = ["/bin/tell", "{{x}}"]
user = "daemon"
""",
    )
    assert config.metrics == Metrics("/var/lib/x/relctl-web.prom")
    assert config.notify == (
        Notify(
            "https://hooks.example.com/s3cret",
            (),
            ("start", "trouble"),
            "slack",
            (("Authorization", "Bearer s3cret"),),
            "/etc/relctl/web.secret",
        ),
        Notify(command=("/bin/tell", "{x}"), user="daemon"),
    )
    assert config.notify[1].on == ("start", "verdict", "end", "trouble")
    assert "s3cret" not in repr(config)


def test_nobody_is_told_anything_by_default(tmp_path):
    config = read(tmp_path, "")
    assert (config.notify, config.metrics.textfile) == ((), None)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("", "8: notify: says nobody to tell"),
        (f'{URL}command = ["/bin/x"]', "8: notify: has both url and command"),
        ('url = "ftp://s3cret"', "9: notify.url: is no http or https address"),
        ('url = "https:///s3cret"', "9: notify.url: is no http or https address"),
        ('url = "https://a:99999/s3cret"', "9: notify.url: is no address"),
        ('url = "https://[s3cret"', "9: notify.url: is no address"),
        ("url = 'https://a\\\\s3cret'", "9: notify.url: is no http or https address"),
        ('url = "https://a%s3cret/"', "9: notify.url: is no http or https address"),
        ('url = "https://u:s3cret@a/"', "9: notify.url: has a user in it"),
        ('url = "https://a/s3cret#s3cret"', "9: notify.url: has a # in it"),
        ('url = "https://a/s3cret\\nX: y"', "9: notify.url: is no address"),
        ("url = 5", "9: notify.url: is no address"),
        ('command = "tell s3cret"', "9: notify.command: a string is not taken apart"),
        ('command = ["tell", "s3cret"]', "9: notify.command: its program is no absolute path"),
        ('command = ["/tell", 5]', "9: notify.command: is no list of texts"),
        ('command = ["/tell", "s3cret\\u0000"]', "9: notify.command: is no list of texts"),
        ("command = []", "9: notify.command: is no list of texts"),
        (f"{URL}on = []", "10: notify.on: is empty"),
        (f'{URL}on = ["s3cret"]', "10: notify.on: has an event that there is not"),
        (f"{URL}on = [[]]", "10: notify.on: has an event that there is not"),
        (f'{URL}format = "xml"', "10: notify.format"),
        (f"{URL}headers = {{ A = 5 }}", "10: notify.headers: the value of A"),
        (f'{URL}headers = {{ A = "s3cret\\r\\nB: c" }}', "10: notify.headers: the value of A"),
        (f'{URL}headers = {{ "a b" = "s3cret" }}', "10: notify.headers: has a name"),
        (f'{URL}headers = {{ Host = "s3cret" }}', "10: notify.headers: Host is set by reld"),
        (f'{URL}secret_file = "s"', '10: notify.secret_file: "s" is not an absolute path'),
        (f'{URL}user = "daemon"', "10: notify.user: means nothing to a url"),
        ('command = ["/x"]\nuser = "root"', "10: notify.user: is root"),
        ('command = ["/x"]\nuser = "nobody"', "10: notify.user: nobody is the user of the app"),
        ('command = ["/x"]\nuser = "no-such"', "10: notify.user: there is no user no-such"),
        ('command = ["/x"]\nformat = "slack"', "10: notify.format: means nothing to a command"),
        (f'{URL}secretfile = "/s3cret"', "notify.secretfile: there is no such key; did you mean"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path, keys, said):
    assert said in refused(tmp_path, f"[[notify]]\n{keys}")


@pytest.mark.parametrize(
    "path", ["relctl.prom", "/var/lib/x/relctl.txt", "/var/../x.prom", "/x/.prom/", "/x/\\n.prom"]
)
def test_only_what_node_exporter_reads_can_be_the_file_of_metrics(tmp_path, path):
    assert "9: metrics.textfile: " in refused(tmp_path, f'[metrics]\ntextfile = "{path}"')
