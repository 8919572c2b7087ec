"""Completions out of relctl's own command line: `PYTHONPATH=ctl generate.py bash|zsh|fish`.

click's completion needs its own main(), which relctl does not use, and starts Python with click for each
Tab. These are plain shell; only names of releases and numbers of rollouts are asked of reld.
"""

# ruff: noqa: INP001  a program, no package

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from relctl import cli

HERE = Path(__file__).parent
# What an argument or an option's value stands for, by its name in click.
MEANINGS = {
    "release": "releases", "number": "rollouts", "app": "apps", "socket": "files", "page": "files",
    "directory": "files", "config": "files",
}  # fmt: skip


@dataclass(frozen=True)
class Option:
    """`values`: a meaning, or the words to choose from; "" = free text, None = takes no value."""

    names: tuple[str, ...]
    help: str
    values: str | None


@dataclass(frozen=True)
class Command:
    name: str
    help: str
    argument: str
    options: tuple[Option, ...]


def commands() -> list[Command]:
    with contextlib.redirect_stdout(io.StringIO()):
        cli.run(["--help"])  # registers every command
    return [_command(name, made) for name, made in sorted(cli.relctl.commands.items())]


def everywhere() -> tuple[Option, ...]:
    """The options before the command's name."""
    return _options(cli.relctl)


def _command(name: str, made: click.Command) -> Command:
    arguments = [p for p in made.params if isinstance(p, click.Argument)]
    argument = _values(arguments[0]) if arguments else ""
    return Command(name, _sentence(made.help or ""), argument, _options(made))


def _options(made: click.Command) -> tuple[Option, ...]:
    found = [p for p in made.params if isinstance(p, click.Option) and not p.hidden]
    options = [
        Option(tuple(p.opts), p.help or "", _values(p) if _takes_a_word(p) else None) for p in found
    ]
    return (*options, Option(("-h", "--help"), "Show help and exit.", None))


def _takes_a_word(option: click.Option) -> bool:
    """False also where a value is possible, but only behind an equals sign."""
    return not option.is_flag and not (option.metavar or "").startswith("[=")


def _values(parameter: click.Parameter) -> str:
    if isinstance(parameter.type, click.Choice):
        return " ".join(parameter.type.choices)
    return MEANINGS.get(parameter.name or "", "")


def _sentence(text: str) -> str:
    return text.partition("\n")[0].rstrip(".")


def bash(template: str) -> str:
    cases = []
    for command in commands():
        words = " ".join(name for option in command.options for name in option.names)
        cases.append(f'        {command.name}) options="{words}" argument="{command.argument}" ;;')
    values = {
        name: option.values
        for option in (*everywhere(), *(o for c in commands() for o in c.options))
        if option.values is not None
        for name in option.names
    }
    answers = [f'        {name}) values="{meant}" ;;' for name, meant in sorted(values.items())]
    return (
        template.replace("@COMMANDS@", " ".join(c.name for c in commands()))
        .replace("@EVERYWHERE@", " ".join(n for o in everywhere() for n in o.names))
        .replace("@CASES@", "\n".join(cases))
        .replace("@VALUES@", "\n".join(answers))
    )


def zsh(template: str) -> str:
    names = [f"        {_quoted(f'{c.name}:{c.help}')}" for c in commands()]
    cases = []
    for command in commands():
        specs = [_zsh_option(option) for option in command.options]
        if command.argument:
            specs.append(f"':{_zsh_title(command.argument)}:{_zsh_action(command.argument)}'")
        body = " \\\n                ".join(specs)
        cases.append(
            f"        {command.name})\n            _arguments \\\n                {body} ;;"
        )
    return (
        template.replace("@COMMANDS@", "\n".join(names))
        .replace("@CASES@", "\n".join(cases))
        .replace("@EVERYWHERE@", " ".join(_zsh_option(option) for option in everywhere()))
    )


def _zsh_option(option: Option) -> str:
    text = option.help.replace("[", "(").replace("]", ")").replace(":", "\\:")
    many = "(" + " ".join(option.names) + ")" if len(option.names) > 1 else ""
    value = ""
    if option.values is not None:
        value = f":{_zsh_title(option.values)}:{_zsh_action(option.values)}"
    ends = [name + ("=" if value and name.startswith("--") else "") for name in option.names]
    specs = [_quoted(f"{many}{end}[{text}]{value}") for end in ends]
    return " ".join(specs)


def _zsh_title(values: str) -> str:
    return values if values in MEANINGS.values() else "value"


def _zsh_action(values: str) -> str:
    if values == "files":
        return "_files"
    if values in MEANINGS.values():
        return f"_relctl_{values}"
    return f"({values})" if values else " "


def fish(template: str) -> str:
    lines = [_fish_option(option, "__relctl_command_is_missing") for option in everywhere()]
    for command in commands():
        lines.append(
            f"complete -c relctl -n __relctl_command_is_missing -a {command.name} "
            f"-d {_quoted(command.help)}"
        )
        inside = f"'__relctl_command_is {command.name}'"
        lines += [_fish_option(option, inside) for option in command.options]
        if command.argument:
            lines.append(f"complete -c relctl -n {inside} -a {_fish_values(command.argument)}")
    return template.replace("@LINES@", "\n".join(lines))


def _fish_option(option: Option, when: str) -> str:
    names = " ".join(
        f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names
    )
    line = f"complete -c relctl -n {when} {names}"
    if option.values is not None:
        line += " -r"
        if option.values == "files":
            line += " -F"
        elif option.values:
            line += f" -a {_fish_values(option.values)}"
    return f"{line} -d {_quoted(option.help)}"


def _fish_values(values: str) -> str:
    return f"'(__relctl_{values})'" if values in MEANINGS.values() else f"'{values}'"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


if __name__ == "__main__":
    made = {"bash": bash, "zsh": zsh, "fish": fish}[sys.argv[1]]
    sys.stdout.write(made((HERE / f"relctl.{sys.argv[1]}.in").read_text()))
