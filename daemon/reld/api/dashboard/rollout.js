// What goes on: the rollout that runs, or what became of the last one; and what to type next.
const FORWARD = ["preparing", "starting", "proving", "admitting", "shifting", "baking", "committing", "draining", "stopping", "finishing"];
const BACK = ["returning", "reverting", "draining", "stopping", "finishing"];
const running = (status) => {
  const rollout = object(status).rollout;
  return rollout && !rollout.outcome ? rollout : null;
};
const goesBack = (rollout) => ["reverting", "returning"].some((phase) => list(rollout.phases).some((mark) => mark.phase === phase));

function ahead(rollout) {
  if (rollout.kind === "contract" || rollout.strategy === "stop-first") return []; // another way
  const path = goesBack(rollout) ? BACK : rollout.kind === "stop" ? FORWARD.slice(6) : FORWARD;
  const here = path.indexOf(rollout.phase);
  return here < 0 ? [] : path.slice(here + 1).filter((phase) => rollout.from || !["admitting", "shifting", "baking", "draining", "stopping"].includes(phase));
}

function headline(status) {
  const rollout = running(status);
  if (!rollout) return status.degraded ? ["degraded", "bad"] : status.live ? ["steady", "good"] : ["nothing is live", "warn"];
  const moving = ["shifting", "baking", "reverting", "returning"].includes(rollout.phase);
  const text = `${rollout.phase}${moving ? ` ${rollout.percent} %` : ""}`;
  return [rollout.paused ? `${text}, paused` : text, goesBack(rollout) || rollout.waiting ? "warn" : "busy"];
}

function next(status) {
  const rollout = running(status);
  if (rollout) {
    if (rollout.approval === "awaited") return [`relctl approve ${rollout.id}`, `relctl abort ${rollout.id}`];
    if (rollout.asks) return [clean(rollout.asks.type), `relctl abort ${rollout.id}`];
    return [`relctl watch ${rollout.id}`, rollout.paused ? "relctl resume" : "relctl pause", `relctl abort ${rollout.id}`];
  }
  if (status.maintenance) return ["relctl maintenance off"];
  if (status.degraded) return ["relctl history", "relctl logs", "relctl rollback"];
  if (!status.live) return ["relctl switch RELEASE", "relctl start"];
  return ["relctl switch RELEASE", "relctl rollback", "relctl history"];
}

function nowShown(status, last) {
  const rollout = running(status);
  const [word, kind] = headline(status);
  put($("headline"), word);
  mark($("headline"), "data-tone", kind);
  put($("app"), clean(status.app || "relctl"));
  document.title = rollout ? `${word} · ${way(rollout.from, rollout.to)} · ${clean(status.app)}` : `${clean(status.release || "nothing live")} · ${clean(status.app)}`;
  if (rollout) runs(status, rollout);
  else rests(status, last);
  fill($("next"), next(status), () => next(status).map((command) => el("li", {}, el("code", {}, command), copier(command))));
}

function runs(status, rollout) {
  put($("now-kicker"), `Rollout ${rollout.id}`);
  put($("now-title"), `${words(rollout.kind).replace(/^./, (first) => first.toUpperCase())} ${way(rollout.from, rollout.to)}`);
  $("now-outcome").hidden = true;
  const about = [
    rollout.actor && `by ${clean(rollout.actor)}`,
    rollout.on_duty && `${clean(rollout.on_duty)} watches`,
    rollout.note && `“${clean(rollout.note)}”`,
    `for ${took(rollout.seconds)}`,
    number(rollout.eta) && rollout.eta > 0 && `about ${took(rollout.eta)} left`,
    rollout.phase === "draining" && rollout.streams && `${plural(rollout.streams, "open stream")}`,
    rollout.turned_away && `${plural(rollout.turned_away, "request")} turned away`,
  ];
  put($("now-about"), about.filter(Boolean).join(" · "));
  phasesShown(list(rollout.phases), rollout.phase, ahead(rollout));
  stepsShown(rollout);
  const judged = rollout.percent > 0 || ["shifting", "baking", "reverting", "returning"].includes(rollout.phase);
  evidenceShown(judged ? object(rollout.evidence) : null, rollout.to, [
    ...list(rollout.skipped).map((step) => `${step} % was skipped: too few requests to show anything`),
    ...newLines(rollout.new_lines),
    rollout.warm && clean(rollout.warm),
  ]);
}

function rests(status, last) {
  put($("now-kicker"), last ? `After rollout ${last.id}` : "No rollout so far");
  put($("now-title"), status.live ? `${clean(status.release)} serves every request` : "Nothing is live: the gate answers 503");
  put($("now-about"), last ? clean(last.summary || last.reason || way(last.from, last.to)) : "");
  $("now-outcome").hidden = !last;
  if (last) {
    put($("now-outcome"), words(last.outcome));
    mark($("now-outcome"), "data-tone", tone(last.outcome));
  }
  phasesShown(last ? list(last.phases) : [], "", []);
  $("step").hidden = true;
  const evidence = last && ["rolled_back", "aborted"].includes(last.outcome) ? object(last.evidence) : null;
  evidenceShown(evidence && { ...evidence, sentence: "", known: "", verdict: "" }, last && last.to, last ? newLines(last.new_lines) : []);
}

function newLines(found) {
  if (!found || !found.kinds) return [];
  const top = list(found.top).slice(0, 3).map((one) => `${one.count} × ${clean(one.text)}`);
  return [`${plural(found.kinds, "new kind")} of log lines (${plural(found.lines, "line")})${top.length ? `: ${top.join(" · ")}` : ""}`];
}

function phasesShown(marks, now, later) {
  const box = $("phases");
  box.hidden = !marks.length;
  const shape = [marks.map((one) => one.phase), now, later];
  fill(box, shape, () => [
    ...marks.map((one, index) => {
      const current = now && index === marks.length - 1;
      return el("li", { "data-is": current ? "now" : "done", "data-back": BACK.slice(0, 2).includes(one.phase), "aria-current": current ? "step" : null },
        el("span", { class: "name" }, words(one.phase)), el("span", { class: "for" }));
    }),
    ...later.map((phase) => el("li", { "data-is": "later" }, el("span", { class: "name" }, phase), el("span", { class: "for" }))),
  ]);
  marks.forEach((one, index) => put(box.children[index].querySelector(".for"), took(one.seconds)));
}

function stepsShown(rollout) {
  const steps = list(rollout.steps), box = $("steps");
  const moving = ["shifting", "baking", "admitting", "reverting", "returning"].includes(rollout.phase);
  $("step").hidden = !(moving && steps.length > 1 && rollout.from);
  if ($("step").hidden) return;
  const step = object(rollout.progress);
  put($("step-left"), [
    number(step.seconds) && `${took(step.seconds)}${number(step.needs_seconds) ? ` of ${took(step.needs_seconds)}` : ""}`,
    step.needs_requests && `${Math.min(step.requests, step.needs_requests)} of ${plural(step.needs_requests, "request")}`,
  ].filter(Boolean).join(" · "));
  const skipped = list(rollout.skipped), at = rollout.step || 0, back = goesBack(rollout);
  fill(box, [steps, skipped, at, back, rollout.agreed], () => steps.flatMap((step, index) => {
    const is = skipped.includes(step) && index < at ? "skipped" : index + 1 < at ? "done" : index + 1 === at && !back ? "now" : "later";
    const agreed = list(rollout.agreed).find((one) => one.after === step);
    return [
      el("li", { "data-is": is, "aria-current": is === "now" ? "step" : null }, `${step} %`, el("span", { class: "hidden" }, ` ${is}`)),
      list(rollout.approve_after).includes(step) && el("li", { "data-is": agreed ? "done" : "later" }, agreed ? `${clean(agreed.by)} agreed` : "a person agrees"),
    ];
  }));
}

function evidenceShown(evidence, release, found) {
  const box = $("evidence");
  const lines = found.filter(Boolean);
  box.hidden = !evidence && !lines.length;
  $("meters").hidden = !evidence;
  put($("evidence-title"), evidence ? `Evidence against ${clean(release || "the candidate")}` : "Noticed");
  if (evidence) {
    const meters = $("meters");
    if (!meters.firstChild) {
      for (const key of ["errors", "slowness"]) {
        const bar = el("span", { class: "fill" });
        meters.append(el("div", { class: "meter", role: "meter", "aria-valuemin": "0", "aria-valuemax": "100", "aria-label": `${key}, percent of what a verdict needs`, "data-key": key },
          el("span", { class: "meter-name" }, key), el("span", { class: "track" }, bar), el("b")));
      }
    }
    for (const meter of meters.children) {
      const part = Math.max(0, Math.min(1, evidence[meter.dataset.key] || 0));
      const shown = Math.round(part * 100);
      meter.querySelector(".fill").style.width = `${part * 100}%`;
      mark(meter, "data-tone", part >= 1 ? "bad" : part >= 0.5 ? "warn" : "quiet");
      mark(meter, "aria-valuenow", shown);
      put(meter.querySelector("b"), `${shown} %`);
    }
  }
  put($("sentence"), evidence ? [evidence.verdict, evidence.sentence || evidence.known].filter(Boolean).map(clean).join(": ") : "");
  fill($("found"), lines, () => lines.map((line) => el("li", {}, line)));
}

function bannersShown(status) {
  const rollout = running(status) || {};
  const maintenance = status.maintenance;
  const rehearsal = status.rehearsal;
  const told = [
    status.degraded && ["bad", "Degraded", status.degraded],
    rollout.asks && ["warn", "Waits for a person", `${rollout.asks.text}: ${rollout.asks.type}`],
    rollout.approval === "awaited" && ["warn", "Waits for a person", `another person has to agree: relctl approve ${rollout.id}`],
    rollout.paused && ["warn", "Paused", `holds at ${rollout.percent} %; the guard stays on`],
    rollout.waiting && !rollout.asks && !String(status.degraded || "").includes(rollout.waiting) && ["warn", "Waiting", rollout.waiting],
    maintenance && ["info", "Maintenance", [
      maintenance.hold ? `requests wait, for ${took(maintenance.hold)} at most` : "visitors get the maintenance page",
      maintenance.by && `by ${maintenance.by}`, maintenance.since && `since ${dated(maintenance.since)}`, maintenance.reason,
      maintenance.in_effect === false && "the gate does not obey yet",
    ].filter(Boolean).join(" · ")],
    status.config && ["info", "Config", status.config],
    status.follow && status.follow.why && ["info", "Following", `${status.follow.link}: ${status.follow.state}, ${status.follow.why}`],
  ].filter(Boolean);
  fill($("banners"), told, () => told.map(([kind, title, text]) =>
    el("p", { class: "banner", "data-tone": kind }, el("b", {}, title), " ", el("span", {}, clean(text)))));
  put($("foot"), rehearsal ? `Last rehearsal: ${clean(rehearsal.release)}, ${dated(rehearsal.at)}: ${words(rehearsal.outcome)}` + [
    number(rehearsal.seconds_to_ready) && `, ready in ${took(rehearsal.seconds_to_ready)}`,
    number(rehearsal.seconds_to_roll_back) && `, back in ${took(rehearsal.seconds_to_roll_back)}`,
    number(rehearsal.lost) && `, ${plural(rehearsal.lost, "request")} lost`,
  ].filter(Boolean).join("") : "");
}

function copier(command) {
  const button = el("button", { type: "button", class: "copy", "aria-label": `Copy ${command}` }, "copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command);
    put(button, "copied");
    setTimeout(() => put(button, "copy"), 1500);
  });
  return button;
}
