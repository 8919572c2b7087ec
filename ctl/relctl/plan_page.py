"""A plan for people: sections that can be read one by one, the result last."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from relctl import plan
from relctl.look import Look
from relctl.text import NONE, clean, duration, paragraph

_ANSWERS = {"yes": "green", "no": "red", "unknown": "yellow"}
_QUESTIONS = {
    "side-by-side": "both versions run side by side",
    "gate-drains": "the gate drains cleanly",
    "slow-endpoints": "the slow endpoints are healthy",
    "rollback-ready": "the rollback is ready",
}
_LANE = "  1.00% "
_LEAST = 24
"""Columns that text gets beside others; with less it goes below them."""


def lines(answer: dict[str, Any], look: Look, width: int, *, whole: bool = False) -> list[str]:
    """The page. `whole`: with the gate's config line by line."""
    page = _Page(look, width)
    page.add(plan.title({"plan": answer.get("plan")}, "switch"), "bold")
    for name in ("already", "attached"):
        if answer.get(name):
            page.add(str(answer[name]))
    for warning in answer.get("warnings") or []:
        page.add(str(warning), "yellow")
    _steps(page, answer)
    page.section("the watch", [((), str(line)) for line in answer.get("detects") or []])
    _around(page, answer)
    _gate(page, answer, whole=whole)
    _questions(page, answer)
    _stops(page, answer)
    _result(page, answer)
    return page.lines


class _Page:
    """Lines that are no wider than the terminal, in what it can show."""

    def __init__(self, look: Look, width: int) -> None:
        self.lines: list[str] = []
        self._look = look
        self._width = width

    def add(self, text: str, style: str = "", indent: int = 0) -> None:
        for line in self._wrapped(self._look.text(clean(text)), indent):
            self.lines.append(" " * indent + self._look.styled(line, style))

    def raw(self, text: str, style: str = "") -> None:
        """As it is: a diff that is wrapped is none."""
        self.lines.append(self._look.styled(self._look.text(text), style))

    def section(
        self,
        title: str,
        rows: Iterable[tuple[Sequence[str], str]],
        styles: Sequence[str] = (),
    ) -> None:
        """Columns, and text that is wrapped beside them; nothing where there are no rows.

        `styles`: of the first column, one for each row.
        """
        shown = [
            ([self._look.text(clean(cell)) for cell in cells], self._look.text(clean(text)))
            for cells, text in rows
            if text
        ]
        if not shown:
            return
        self.lines.append("")
        self.add(title, "bold")
        count = max(len(cells) for cells, _ in shown)
        widths = [max((len(c[n]) for c, _ in shown if n < len(c)), default=0) for n in range(count)]
        for number, (cells, text) in enumerate(shown):
            style = styles[number] if number < len(styles) else ""
            self._row(cells, widths[: len(cells)], text, style)

    def _row(self, cells: list[str], widths: list[int], text: str, style: str) -> None:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        indent = 2 + sum(width + 2 for width in widths)
        below = bool(padded) and self._width - indent < _LEAST
        if below:
            indent = 4
        first, *more = self._wrapped(text, indent)
        if style and padded:
            padded[0] = self._look.styled(padded[0], style)
        if below:
            head, more = "  ".join(["", *padded]), [first, *more]
        else:
            head = "  ".join(["", *padded, first])
        self.lines.append(head.rstrip())
        self.lines += [" " * indent + line for line in more]

    def _wrapped(self, text: str, indent: int) -> list[str]:
        room = max(1, self._width - indent)
        return textwrap.wrap(text, room, break_on_hyphens=False) or [""]


def _steps(page: _Page, answer: dict[str, Any]) -> None:
    rows = []
    for stage in (answer.get("plan") or {}).get("stages") or []:
        seconds, most = stage.get("seconds"), stage.get("most")
        takes = NONE
        if seconds is not None:
            takes = duration(float(seconds))
        elif most is not None:
            takes = f"≤ {duration(float(most))}"
        rows.append(((str(stage.get("name")), takes), str(stage.get("text") or "")))
    page.section("step by step", rows)


def _around(page: _Page, answer: dict[str, Any]) -> None:
    rows = [(("memory",), str((answer.get("memory") or {}).get("text") or ""))]
    for hook in answer.get("hooks") or []:
        command = " ".join(str(word) for word in hook.get("command") or [])
        rows.append((("hook",), f"{hook.get('name')}: {command}; {hook.get('when')}"))
    rows.append((("people",), str((answer.get("approvers") or {}).get("text") or "")))
    rows += [(("config",), _change(change)) for change in answer.get("config") or []]
    page.section("around it", rows)


def _change(change: dict[str, Any]) -> str:
    key, before, after = change.get("key"), change.get("from"), change.get("to")
    if before is None and after is None:
        return f"{key} has changed"
    if before is None:
        return f"{key}: {after}"
    return f"{key}: {before} → {after if after is not None else 'nothing'}"


def _gate(page: _Page, answer: dict[str, Any], *, whole: bool) -> None:
    note, parts = answer.get("gate_note"), answer.get("gate_diff") or []
    rows: list[tuple[Sequence[str], str]] = [
        ((), f"{part.get('when')}: {_counted(part)}") for part in parts
    ]
    if note:
        rows.append(((), str(note)))
    page.section("the gate's config", rows)
    edits = str((parts[-1] if parts else {}).get("when", "")).startswith("edits")
    for number, part in enumerate(parts):
        if whole or (edits and number == len(parts) - 1):  # what nobody expects is shown
            page.lines.append("")
            for line in _folded(paragraph(part.get("diff") or "").split("\n")):
                page.raw(f"  {line}", {"+": "green", "-": "red"}.get(line[:1], ""))
    if parts and not whole and not (edits and len(parts) == 1):
        page.add(f"relctl plan {plan.release(answer)} --diff shows it line by line", "dim", 2)


def _counted(part: dict[str, Any]) -> str:
    body = [line for line in str(part.get("diff")).split("\n") if line[:3] not in ("+++", "---")]
    more, less = (sum(line.startswith(sign) for line in body) for sign in "+-")
    lines = f"{more} lines more, {less} less" if more or less else "nothing changes"
    text = part.get("text")
    return f"{text} ({lines})" if text else lines


def _folded(diff: list[str]) -> list[str]:
    """A hundred lanes are one line of news."""
    shown: list[str] = []
    hidden = 0
    for line in diff:
        if _LANE in line and shown and _LANE in shown[-1]:
            hidden += 1
            continue
        if hidden:
            shown.append(f"{shown[-1][:1]}        (and {hidden} more)")
            hidden = 0
        shown.append(line)
    return shown


def _questions(page: _Page, answer: dict[str, Any]) -> None:
    rows: list[tuple[Sequence[str], str]] = []
    styles = []
    for question in answer.get("questions") or []:
        word, name = str(question.get("answer")), str(question.get("name"))
        rows.append(((word,), f"{_QUESTIONS.get(name, name)}: {question.get('why')}"))
        styles.append(_ANSWERS.get(word, ""))
        if question.get("mend") and word != "yes":
            rows.append((("",), f"next: {question['mend']}"))
            styles.append("")
    page.section("four questions", rows, styles)


def _stops(page: _Page, answer: dict[str, Any]) -> None:
    rows: list[tuple[Sequence[str], str]] = []
    for stop in answer.get("stops") or []:
        rows += [((), line) for line in str(stop.get("message") or "").split("\n")]
        if stop.get("hint"):
            rows.append(((), f"next: {stop['hint']}"))
    page.section("would stop it now", rows)


def _result(page: _Page, answer: dict[str, Any]) -> None:
    page.lines.append("")
    if answer.get("ok"):
        to = plan.release(answer)
        unknown = sum(q.get("answer") == "unknown" for q in answer.get("questions") or [])
        if answer.get("already"):
            page.add("nothing to do", "green")
        elif unknown:
            questions = "1 question is" if unknown == 1 else f"{unknown} questions are"
            page.add(f"nothing stops it, {questions} open: relctl switch {to}", "green")
        else:
            page.add(f"nothing stops it: relctl switch {to}", "green")
        return
    stops = len(answer.get("stops") or [])
    noes = sum(q.get("answer") == "no" for q in answer.get("questions") or [])
    said = []
    if stops:
        said.append("1 thing would stop it" if stops == 1 else f"{stops} things would stop it")
    if noes:
        said.append(
            "1 question is answered no" if noes == 1 else f"{noes} questions are answered no"
        )
    page.add(f"not ready: {', '.join(said)}", "red")
