// Events as they come, and the receipts of the last rollouts, opened in place.
const MOST_EVENTS = 60;
const events = [];
const known = new Set();
const opened = new Map(); // receipts by number: they do not change any more

function eventCame(line) {
  if (!line.text || ["progress", "status"].includes(line.event)) return false;
  const key = `${line.time} ${line.seq} ${line.text}`;
  if (known.has(key)) return false;
  known.add(key);
  events.push(line);
  if (events.length > MOST_EVENTS) events.shift();
  if (known.size > 2000) known.clear();
  return true;
}

function eventsShown() {
  const shown = events.map((line, index) => ({ line, index }))
    .sort((one, other) => (other.line.time > one.line.time ? 1 : other.line.time < one.line.time ? -1 : other.index - one.index));
  fill($("events"), shown.map(({ line }) => [line.time, line.text]), () => shown.length
    ? shown.map(({ line }) => el("li", { "data-kind": line.event },
      time(line.time, clock), el("span", { class: "kind" }, words(line.event)), el("span", { class: "text" }, clean(line.text))))
    : el("li", { class: "none" }, "Nothing has happened since this page was opened."));
}

function receiptsShown(rollouts) {
  const box = $("receipts");
  fill(box, rollouts, () => {
    if (!rollouts.length) return el("p", { class: "none" }, "No rollout so far: relctl switch RELEASE");
    const open = new Set([...box.querySelectorAll("details[open]")].map((one) => one.dataset.number));
    return rollouts.map((rollout) => {
      const outcome = rollout.outcome || "running";
      const body = el("div", { class: "receipt" });
      const entry = el("details", { "data-number": rollout.id },
        el("summary", {},
          el("span", { class: "id" }, `#${rollout.id}`),
          el("span", { class: "way" }, words(rollout.kind), " ", el("b", {}, way(rollout.from, rollout.to))),
          chip(outcome),
          el("span", { class: "when" }, time(rollout.started, dated), rollout.actor ? ` by ${clean(rollout.actor)}` : "")),
        body);
      entry.addEventListener("toggle", () => { if (entry.open) openReceipt(rollout, body); });
      if (open.has(String(rollout.id))) entry.open = true;
      return entry;
    });
  });
}

async function receiptOf(number) {
  if (!opened.has(number)) {
    const receipt = await ask(`/v1/rollouts/${number}`);
    if (!receipt.outcome) return receipt;
    opened.set(number, receipt);
  }
  return opened.get(number);
}

async function openReceipt(rollout, box) {
  if (!box.firstChild) box.replaceChildren(el("p", { class: "quiet" }, "Loading …"));
  try {
    const receipt = await receiptOf(rollout.id);
    box.replaceChildren(...receiptParts(receipt));
  } catch (trouble) {
    box.replaceChildren(el("p", { class: "wrong" }, clean(trouble.message)));
  }
}

function receiptParts(receipt) {
  const evidence = object(receipt.evidence), requests = object(receipt.requests), drain = object(receipt.drain);
  const counted = COLORS.filter((color) => object(requests[color]).total).map((color) => {
    const of = requests[color];
    return `${color} ${of.total.toLocaleString("en")}, ${plural(of.errors || 0, "error")}${of.saved ? `, ${of.saved} saved by the shield` : ""}`;
  });
  const against = Math.round(Math.max(evidence.errors || 0, evidence.slowness || 0) * 100);
  const rows = [
    ["why", receipt.reason],
    ["note", receipt.note],
    ["on duty", receipt.on_duty],
    ["approved", receipt.approved_by && [`by ${receipt.approved_by}`, receipt.approval_note].filter(Boolean).join(": ")],
    ["verdict", evidence.verdict && `${evidence.verdict}, ${against} % of what a verdict needs${evidence.sentence && !String(receipt.reason).includes(evidence.sentence) ? `: ${evidence.sentence}` : ""}`],
    ["observed", evidence.observed && `would have gone back ${evidence.observed}`],
    ["known", receipt.unproven && evidence.known],
    ["warning", receipt.warning],
    ["requests", counted.join(" · ")],
    ["turned away", receipt.turned_away && plural(receipt.turned_away, "request")],
    ["skipped", list(receipt.skipped).map((step) => `${step} %`).join(", ")],
    ["drain", number(drain.seconds) && drain.seconds > 0 && `${took(drain.seconds)}, ${drain.cut || 0} cut`],
    ["reloads", receipt.reloads],
    ["hooks", list(receipt.hooks).map((hook) => `${hook.name} ${hook.state}`).join(", ")],
    ["new lines", newLines(receipt.new_lines).join()],
    ["took", `${took(receipt.seconds)}${receipt.ended ? `, until ${dated(receipt.ended)}` : ""}`],
    ["phases", list(receipt.phases).map((one) => `${one.phase} ${took(one.seconds)}`).join(" → ")],
  ].filter(([, value]) => value);
  const log = list(evidence.log);
  return [
    receipt.summary && receipt.outcome ? el("p", { class: "summary" }, clean(receipt.summary)) : null,
    el("dl", { class: "facts" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, clean(value))))),
    log.length ? el("pre", { tabindex: "0", "aria-label": "Its log" }, log.map(clean).join("\n")) : null,
    ...list(receipt.notes).map((note) => el("p", { class: "quiet" }, clean(note))),
    el("p", { class: "quiet" }, el("code", {}, `relctl show ${receipt.id}`)),
  ].filter(Boolean);
}
