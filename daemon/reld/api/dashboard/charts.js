// The last minutes, kept in the page: a sample a second, drawn as lines that scale with their box.
const LONGEST = 300; // seconds
let SPAN = 60; // seconds that are shown: as many minutes as there are
const history = { at: [], blue: [], green: [], notes: [] };
const KINDS = [
  { key: "rate", title: "Requests per second", say: rate, unit: "/s", least: 5 },
  { key: "errors", title: "Errors", say: percent, unit: "", least: 0.01, most: 1 },
  { key: "p95", title: "Latency", say: millis, unit: "", least: 5, choices: ["p50", "p95", "p99"] },
];
const charts = [];
let cursor = null; // seconds ago that are pointed at, in all charts at once

function remember(status) {
  const at = Date.now() / 1000;
  if (history.at.length && at - history.at.at(-1) < 0.8) return;
  const rollout = object(status.rollout);
  const before = history.share;
  history.at.push(at);
  for (const color of COLORS) {
    const slot = object(object(status.slots)[color]);
    history[color].push({ ...object(slot.traffic), percent: slot.percent });
  }
  history.share = rollout.id ? `${rollout.id}:${rollout.percent}` : "";
  if (before !== undefined && rollout.id && history.share !== before && before !== `${rollout.id}:${rollout.percent}`) {
    if (rollout.percent || before.startsWith(`${rollout.id}:`)) history.notes.push({ at, text: `${rollout.percent} %` });
  }
  while (history.at.length && history.at[0] < at - LONGEST - 5) for (const kept of [history.at, history.blue, history.green]) kept.shift();
  while (history.notes.length && history.notes[0].at < at - LONGEST) history.notes.shift();
}

function makeCharts() {
  for (const kind of KINDS) {
    const chart = { kind, key: kind.key, lines: {}, ends: {}, now: {} };
    const title = `chart-${kind.key}`;
    const svg = el("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    for (const y of [0, 50]) svg.append(el("svg:line", { class: "rule", x1: 0, x2: 100, y1: y + 0.5, y2: y + 0.5 }));
    chart.notes = el("svg:g", { class: "notes" });
    svg.append(chart.notes);
    for (const color of COLORS) {
      chart.lines[color] = el("svg:path", { class: "line", "data-slot": color });
      chart.ends[color] = dot(color);
      chart.now[color] = el("b", { "data-slot": color }, NONE);
      svg.append(chart.lines[color]);
    }
    chart.top = el("span", { class: "top-y" });
    chart.half = el("span", { class: "half-y" });
    chart.hair = el("span", { class: "hair", hidden: true });
    chart.tip = el("span", { class: "tip", hidden: true });
    chart.labels = el("span", { class: "note-labels" });
    chart.plot = el(
      "div",
      { class: "plot", role: "img", tabindex: "0", "aria-label": kind.title, "aria-describedby": "charts-title" },
      svg, chart.top, chart.half, chart.labels, chart.hair, Object.values(chart.ends), chart.tip,
    );
    const point = (event) => {
      const box = chart.plot.getBoundingClientRect();
      look((1 - (event.clientX - box.left) / box.width) * SPAN);
    };
    chart.plot.addEventListener("pointermove", point);
    chart.plot.addEventListener("pointerdown", point);
    chart.plot.addEventListener("pointerleave", () => look(null));
    chart.plot.addEventListener("blur", () => look(null));
    chart.plot.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: 5, ArrowRight: -5, PageUp: 30, PageDown: -30 }[event.key];
      if (step) look(Math.min(SPAN, Math.max(0, (cursor ?? 0) + step)));
      else if (event.key === "Escape") look(null);
      else return;
      event.preventDefault();
      put($("say"), chart.tip.textContent); // inside of a picture it would not be read
    });
    const choices = kind.choices && el(
      "div",
      { class: "choices", role: "radiogroup", "aria-label": "Percentile" },
      kind.choices.map((key) => el("label", {}, el("input", {
        type: "radio", name: "percentile", value: key, checked: key === kind.key,
        on: { change: () => { chart.key = key; draw(); } },
      }), el("span", {}, key))),
    );
    charts.push(chart);
    $("charts").append(el(
      "figure", { class: "card chart" },
      el("figcaption", {}, el("h3", { id: title }, kind.title), choices || "", el("span", { class: "nows" },
        COLORS.map((color) => el("span", {}, dot(color), el("span", { class: "hidden" }, `${color} `), chart.now[color])))),
      chart.plot,
      el("p", { class: "axis", "aria-hidden": "true" }, (chart.begin = el("span")), el("span", {}, "now")),
    ));
  }
}

function ceiling(most, kind) {
  const value = Math.max(most * 1.1, kind.least);
  const base = 10 ** Math.floor(Math.log10(value));
  const nice = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((times) => times * base).find((step) => step >= value * 0.999);
  return Math.min(kind.most || Infinity, nice);
}

function draw() {
  const now = history.at.at(-1) || Date.now() / 1000;
  SPAN = Math.min(LONGEST, Math.max(60, Math.ceil((now - (history.at[0] || now)) / 60) * 60));
  for (const chart of charts) {
    const { kind, key } = chart;
    const values = COLORS.flatMap((color) => history[color].map((sample) => sample[key])).filter(number);
    const top = ceiling(Math.max(0, ...values), kind);
    put(chart.begin, `${SPAN / 60} min ago`);
    put(chart.top, kind.say(top));
    put(chart.half, kind.say(top / 2));
    const told = [];
    for (const color of COLORS) {
      let path = "", open = false, last = null, before = 0;
      const own = [];
      history[color].forEach((sample, index) => {
        const value = sample[key], at = history.at[index];
        if (at - before > 6) open = false; // a gap is no line
        before = at;
        if (!number(value) || now - at > SPAN) { open = false; return; }
        const x = 100 - ((now - at) / SPAN) * 100, y = 99 - (value / top) * 96;
        path += `${open ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`;
        if (!open) path += "h0.01";
        open = true;
        own.push(value);
        last = { at, y, value };
      });
      chart.lines[color].setAttribute("d", path);
      const fresh = last && now - last.at < 3;
      const end = chart.ends[color];
      end.hidden = !fresh;
      if (fresh) end.style.top = `${last.y}%`;
      put(chart.now[color], fresh ? `${kind.say(last.value)}${kind.unit}` : NONE);
      if (own.length) {
        told.push(`${color} ${fresh ? `now ${kind.say(last.value)}${kind.unit}` : "has no traffic now"}, between ${kind.say(Math.min(...own))} and ${kind.say(Math.max(...own))}`);
      }
    }
    const name = kind.choices ? `${kind.title} ${chart.key}` : kind.title;
    // Described anew every few seconds only: it must not chatter while somebody reads it.
    if (!chart.described || now - chart.described > 5 || chart.name !== name) {
      chart.described = now;
      chart.name = name;
      mark(chart.plot, "aria-label", `${name}: ${told.join("; ") || "nothing measured yet"}. Arrow keys read single moments.`);
    }
    const notes = history.notes.map((note) => ({ x: 100 - ((now - note.at) / SPAN) * 100, text: note.text })).filter((note) => note.x > 0);
    chart.notes.replaceChildren(...notes.map((note) => el("svg:line", { x1: note.x, x2: note.x, y1: 0, y2: 100 })));
    let right = 200;
    chart.labels.replaceChildren(...notes.reverse().filter((note) => {
      if (right - note.x < 11) return false;
      right = note.x;
      return true;
    }).map((note) => {
      const label = el("span", {}, note.text);
      label.style.left = `${note.x}%`;
      return label;
    }));
  }
  if (cursor !== null) look(cursor);
}

function look(ago) {
  cursor = ago;
  const now = history.at.at(-1);
  let nearest = -1;
  if (ago !== null && now) {
    history.at.forEach((at, index) => {
      if (nearest < 0 || Math.abs(now - ago - at) < Math.abs(now - ago - history.at[nearest])) nearest = index;
    });
  }
  for (const chart of charts) {
    chart.hair.hidden = chart.tip.hidden = nearest < 0;
    if (nearest < 0) continue;
    const x = (1 - (now - history.at[nearest]) / SPAN) * 100;
    chart.hair.style.left = `${x}%`;
    chart.tip.style.left = `${Math.min(66, Math.max(34, x))}%`;
    put(chart.tip, [
      new Date(history.at[nearest] * 1000).toLocaleTimeString("en-GB"),
      ...COLORS.map((color) => {
        const value = history[color][nearest][chart.key];
        return number(value) ? `${color} ${chart.kind.say(value)}${chart.kind.unit}` : "";
      }).filter(Boolean),
    ].join("  "));
  }
}
