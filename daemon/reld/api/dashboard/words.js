// Text, numbers and times as people read them; elements without markup: everything is put in as text.
const NONE = "–";
const $ = (id) => document.getElementById(id);
const COLORS = ["blue", "green"];

function el(tag, about, ...children) {
  const made = tag.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
    : document.createElement(tag);
  for (const [name, value] of Object.entries(about || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") for (const [kind, does] of Object.entries(value)) made.addEventListener(kind, does);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// Touches the page only where something changed: what a screen reader reads stays where it is.
function put(node, text) {
  const said = String(text ?? "");
  if (node.textContent !== said) node.textContent = said;
}
function mark(node, name, value) {
  if (value === null || value === undefined || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
}
const drawn = new WeakMap();
function fill(node, of, make) {
  const key = JSON.stringify(of);
  if (drawn.get(node) === key) return false;
  drawn.set(node, key);
  node.replaceChildren(...[make()].flat().filter(Boolean));
  return true;
}

// No control characters, no directions that turn the text round.
const clean = (text) => String(text ?? "").replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd");
const number = (value) => typeof value === "number" && Number.isFinite(value);
const list = (value) => (Array.isArray(value) ? value : []);
const object = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const words = (value) => clean(value).replaceAll("_", " ");
const plural = (count, one) => `${count.toLocaleString("en")} ${one}${count === 1 ? "" : "s"}`;
const way = (from, to) => (from && to && from !== to ? `${clean(from)} → ${clean(to)}` : clean(to || from || NONE));

function took(seconds) {
  if (!number(seconds)) return NONE;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60 ? `${whole % 60} s` : ""}`.trim();
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor((whole % 86400) / 3600)} h`;
}
const percent = (part) => {
  if (!number(part)) return NONE;
  const shown = part * 100;
  return `${shown === 0 ? "0" : shown < 0.1 ? "< 0.1" : shown < 10 ? shown.toFixed(1) : shown.toFixed(0)} %`;
};
const millis = (value) => {
  if (!number(value)) return NONE;
  if (value >= 9950) return `${(value / 1000).toFixed(0)} s`;
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value >= 10 ? value.toFixed(0) : value.toFixed(1)} ms`;
};
const rate = (value) => (number(value) ? (value >= 10 || value === 0 ? value.toFixed(0) : value.toFixed(1)) : NONE);
const bytes = (value) => {
  if (!number(value)) return NONE;
  const mebi = value / 1048576;
  return mebi >= 1024 ? `${(mebi / 1024).toFixed(1)} GiB` : `${mebi >= 10 ? mebi.toFixed(0) : mebi.toFixed(1)} MiB`;
};

function moment(text) {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? null : at;
}
function clock(text) {
  const at = moment(text);
  return at ? at.toLocaleTimeString("en-GB") : NONE;
}
function dated(text) {
  const at = moment(text);
  if (!at) return NONE;
  const today = new Date().toDateString() === at.toDateString();
  return today ? clock(text) : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short" })} ${clock(text).slice(0, 5)}`;
}
const time = (text, shown) => el("time", { datetime: clean(text), title: clean(text) }, shown(text));
const dot = (color) => el("i", { class: "mark", "data-slot": color, "aria-hidden": "true" });
const tone = (word) =>
  ({
    live: "good", ready: "good", done: "good", warm: "good", external: "good",
    candidate: "busy", starting: "busy", draining: "busy", stopping: "busy", running: "busy", "still running": "busy",
    degraded: "bad", dead: "bad", locked: "bad", failed: "bad", unready: "bad", exited: "bad",
    rolled_back: "warn", aborted: "warn",
  })[word] || "quiet";
const chip = (word, kind) => el("span", { class: "chip", "data-tone": kind || tone(word) }, words(word));
