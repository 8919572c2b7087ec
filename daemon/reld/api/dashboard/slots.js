// Both slots: what runs there, how much it gets, how it does.
function slotsShown(status) {
  for (const color of COLORS) {
    const slot = object(object(status.slots)[color]);
    const card = $(`slot-${color}`);
    if (!card.firstChild) makeSlot(card, color);
    const at = card.parts;
    const traffic = object(slot.traffic), resources = object(slot.resources), instances = list(slot.instances);
    const empty = !slot.release;
    mark(card, "data-empty", empty || null);
    put(at.release, empty ? "empty" : clean(slot.release));
    put(at.state, words(slot.state || "empty"));
    mark(at.state, "data-tone", tone(slot.state));
    put(at.share, empty ? "" : `${slot.percent ?? 0} %`);
    put(at.rate, rate(traffic.rate));
    put(at.errors, percent(traffic.errors));
    mark(at.errors, "data-tone", number(traffic.errors) && traffic.errors >= 0.01 ? "bad" : null);
    for (const key of ["p50", "p95", "p99"]) put(at[key], millis(traffic[key]));
    put(at.memory, bytes(resources.rss_bytes));
    put(at.cpu, number(resources.cpu_percent) ? `${resources.cpu_percent.toFixed(0)} %` : NONE);
    const restarts = instances.reduce((sum, one) => sum + (one.restarts || 0), 0);
    put(at.restarts, empty ? NONE : restarts);
    mark(at.restarts, "data-tone", restarts ? "warn" : null);
    put(at.warning, clean(resources.warning || ""));
    fill(at.instances, [empty, instances, slot.workers], () => [
      empty && el("li", { class: "quiet" }, status.live ? "The next release starts here." : "Nothing runs here."),
      ...instances.map(instanceShown),
      ...list(slot.workers).map((worker) => el("li", {}, chip(worker.state || NONE), el("span", {}, `worker ${clean(worker.name)} ${worker.index ?? ""}`),
        worker.pid && el("span", { class: "quiet" }, `pid ${worker.pid}`), worker.restarts ? el("span", { class: "quiet" }, plural(worker.restarts, "restart")) : null)),
    ]);
  }
  const share = COLORS.map((color) => object(object(status.slots)[color]).percent || 0);
  const names = COLORS.map((color) => clean(object(object(status.slots)[color]).release || ""));
  const box = $("share");
  if (!box.firstChild) {
    for (const color of COLORS) {
      box.append(el("span", { class: "part", "data-slot": color }, el("span", { class: "part-in" }, dot(color), el("b"), el("span", { class: "part-name" }))));
    }
  }
  COLORS.forEach((color, index) => {
    const part = box.children[index];
    part.style.flexGrow = share[index];
    mark(part, "data-share", share[index] ? (share[index] < 12 ? "thin" : "some") : "none");
    put(part.querySelector("b"), `${share[index]} %`);
    put(part.querySelector(".part-name"), names[index]);
  });
  box.hidden = !share[0] && !share[1];
  mark(box, "aria-label", `Share of the requests: ${COLORS.map((color, index) => `${color}${names[index] ? ` (${names[index]})` : ""} ${share[index]} percent`).join(", ")}`);
}

function makeSlot(card, color) {
  const at = {};
  const value = (key, name) => el("div", {}, el("dt", {}, name), (at[key] = el("dd", {}, NONE)));
  at.release = el("span", { class: "release" });
  at.state = el("span", { class: "chip" });
  at.share = el("b", { class: "big" });
  at.warning = el("p", { class: "warning" });
  at.instances = el("ul", { class: "instances", "aria-label": `Instances of ${color}` });
  card.parts = at;
  card.append(
    el("div", { class: "slot-head" },
      el("h2", { id: `${color}-title` }, el("span", { class: "kicker" }, dot(color), `${color} `), at.release),
      at.state, at.share),
    el("dl", { class: "numbers" },
      value("rate", "req/s"), value("p50", "p50"), value("p95", "p95"), value("p99", "p99"),
      value("errors", "errors"), value("memory", "memory"), value("cpu", "CPU"), value("restarts", "restarts")),
    at.warning, at.instances);
}

function instanceShown(one) {
  const where = one.port ? `:${one.port}` : one.socket ? "socket" : "";
  return el("li", { title: clean(one.address || "") },
    chip(one.state || NONE),
    el("span", {}, one.pid ? `pid ${one.pid}` : "no process", where && ` ${where}`),
    one.started && el("span", { class: "quiet" }, "since ", time(one.started, dated)),
    one.restarts ? el("span", { class: "quiet" }, plural(one.restarts, "restart")) : null,
    one.adopted ? el("span", { class: "quiet" }, "adopted") : null,
    one.exit || one.detail ? el("span", { class: "quiet detail" }, clean([one.exit, one.detail].filter(Boolean).join(": "))) : null);
}
