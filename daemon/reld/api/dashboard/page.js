// Follows reld, for as long as the page is open, and through its restarts.
const STALE = 4; // seconds without news until the age is told
const about = (name, html) => html === undefined
  ? document.querySelector(`meta[name="relctl-${name}"]`)?.content || ""
  : new RegExp(`<meta name="relctl-${name}" content="([^"&<>]*)">`).exec(html)?.[1] || "";
const me = { token: about("token"), start: about("start"), version: about("version"), user: about("user") };
const view = { status: null, at: 0, last: null, receipts: [], broken: false, begun: Date.now() };
const utter = { last: {}, pending: [], timer: 0 };

async function ask(path, body) {
  const headers = body === undefined ? {} : { "Content-Type": "application/json", "X-Relctl-Token": me.token };
  const response = await fetch(path, {
    method: body === undefined ? "GET" : "POST", headers, cache: "no-store", credentials: "omit",
    body: body === undefined ? undefined : JSON.stringify(body), signal: AbortSignal.timeout(15000),
  });
  const told = await response.json();
  if (!response.ok) {
    const error = object(told.error);
    throw Object.assign(new Error(error.message || `HTTP ${response.status}`), { code: error.code, hint: error.hint });
  }
  return told;
}

// After a restart the token is another one, and so may be what this person may do.
async function whoAmI() {
  const response = await fetch("/", { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(10000) });
  if (!response.ok) return;
  const html = await response.text();
  const start = about("start", html);
  if (start && start !== me.start) {
    const came = { time: new Date().toISOString(), seq: 0, event: "reld", text: "reld was restarted; it goes on where it was" };
    if (eventCame(came)) eventsShown();
    say("reld was restarted");
  }
  if (start && about("version", html) !== me.version) location.reload(); // a younger page
  Object.assign(me, { token: about("token", html), start });
  whoShown();
}

function whoShown() {
  put($("who"), me.user ? `${me.user}, ${me.token ? "operator" : "may look"}` : "");
}

// Polite and seldom: the newest news every few seconds, not each line.
function say(text) {
  utter.pending.push(text);
  utter.timer ||= setTimeout(() => {
    put($("say"), utter.pending.splice(0).slice(-3).join(". "));
    utter.timer = 0;
  }, 700);
}
function announce(status) {
  const rollout = running(status);
  const now = {
    phase: rollout ? `rollout ${rollout.id}: ${rollout.phase}` : "",
    share: rollout && rollout.percent ? `${clean(rollout.to)} has ${rollout.percent} percent` : "",
    degraded: status.degraded ? `degraded: ${clean(status.degraded)}` : "",
    waiting: rollout && rollout.waiting ? `waiting: ${clean(rollout.waiting)}` : "",
  };
  for (const [key, text] of Object.entries(now)) {
    if (utter.last[key] !== undefined && text && utter.last[key] !== text) say(text);
    utter.last[key] = text;
  }
}

function statusCame(status) {
  const before = running(view.status), after = running(status);
  view.status = status;
  view.at = Date.now();
  remember(status);
  announce(status);
  if ((before && before.id) !== (after && after.id)) renew();
  shown();
}

let due = 0;
function shown() {
  due ||= requestAnimationFrame(() => {
    due = 0;
    if (!view.status) return;
    nowShown(view.status, view.last);
    slotsShown(view.status);
    bannersShown(view.status);
    actsShown(view.status);
    draw();
    freshness();
  });
}

let renewing = 0;
function renew() {
  clearTimeout(renewing);
  renewing = setTimeout(async () => {
    try {
      view.receipts = list((await ask("/v1/rollouts?limit=20")).rollouts);
      const ended = view.receipts.find((rollout) => rollout.outcome);
      view.last = ended ? await receiptOf(ended.id) : null;
      receiptsShown(view.receipts);
      shown();
    } catch {
      setTimeout(renew, 3000);
    }
  }, 150);
}

function freshness() {
  const age = view.at ? (Date.now() - view.at) / 1000 : null;
  const stale = age === null ? Date.now() - view.begun > STALE * 1000 : age > STALE;
  mark($("link"), "data-state", stale ? "stale" : age === null ? "wait" : "live");
  mark(document.body, "data-stale", stale);
  put($("link-text"), stale
    ? age === null ? "reld does not answer; trying again" : `As of ${age < 60 ? `${Math.round(age)} s` : took(age)} ago; reld does not answer, trying again`
    : age === null ? "Connecting" : "Live");
  if (stale !== view.broken) {
    view.broken = stale;
    say(stale ? "The connection to reld is lost; what is shown is old" : "reld answers again");
  }
}

function lineCame(line) {
  if (line.status && !line.past) statusCame(line.status);
  if (eventCame(line)) eventsShown();
  if (line.event === "result" && !line.past) {
    say(clean(line.text));
    renew();
  }
}

let stop = new AbortController();
async function follow() {
  const response = await fetch("/v1/events?every=1&last=50", { cache: "no-store", credentials: "omit", signal: stop.signal });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  renew();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) lineCame(JSON.parse(line));
  }
}

// While nothing happens nothing is told: then it is asked how things are.
let tending = false;
async function tend() {
  if (tending || Date.now() - view.at < 1900) return;
  tending = true;
  try {
    statusCame(await ask("/v1/status"));
  } catch {
    if (Date.now() - view.at > STALE * 1000) stop.abort();
  }
  tending = false;
}

const pause = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
async function always() {
  for (let wait = 0.5, first = true; ; wait = Math.min(5, wait * 1.4), first = false) {
    stop = new AbortController();
    const began = Date.now();
    try {
      if (!first) await whoAmI();
      await follow();
    } catch {
      // told by its age
    }
    if (Date.now() - began > 5000) wait = 0.5;
    await pause(wait);
  }
}

makeCharts();
makeActs();
whoShown();
eventsShown();
setInterval(freshness, 1000);
setInterval(tend, 1000);
always();
