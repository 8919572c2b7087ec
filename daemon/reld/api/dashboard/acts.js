// What an operator may do, after a question that says what will happen. Without a token there is none of it.
const HOLDS = ["preparing", "starting", "proving", "admitting", "shifting", "baking"];
const WAITS = ["shifting", "baking", "returning", "draining"];
const TURNS = [...HOLDS, "committing", "draining"];

function possible(status) {
  const rollout = running(status);
  if (!rollout) return status.live ? ["rollback"] : [];
  const back = goesBack(rollout), undone = !["stop", "contract"].includes(rollout.kind);
  return [
    rollout.paused ? "resume" : HOLDS.includes(rollout.phase) && "pause",
    WAITS.includes(rollout.phase) && "promote",
    !back && undone && TURNS.includes(rollout.phase) && "abort",
  ].filter(Boolean);
}

const NAMES = { pause: "Pause", resume: "Resume", promote: "Promote", abort: "Abort", rollback: "Roll back" };

function actsShown(status) {
  const acts = me.token ? possible(status) : [];
  $("acts").hidden = !acts.length;
  fill($("acts"), acts, () => acts.map((act) => el("button", {
    type: "button", class: ["abort", "rollback"].includes(act) ? "danger" : "", "aria-haspopup": "dialog", on: { click: () => confirm(act) },
  }, NAMES[act])));
}

// Title, what will happen, what one would type.
function question(act, rollout) {
  const of = rollout && { id: rollout.id, from: clean(rollout.from || "nothing"), to: clean(rollout.to || "the candidate"), at: rollout.percent };
  switch (act) {
    case "pause":
      return ["Pause", `Rollout ${of.id} holds ${HOLDS.indexOf(rollout.phase) < 4 ? "before the first request moves" : `at ${of.at} %`} until somebody resumes it. The guard stays on: should ${of.to} become clearly worse, it still goes back by itself.`, "relctl pause"];
    case "resume":
      return ["Resume", `Rollout ${of.id} goes on from ${of.at} % by its plan.`, "relctl resume"];
    case "promote":
      return ["Promote", {
        shifting: `${rollout.asks ? "You agree. " : ""}The next step comes now (${of.at} % → ${upcoming(rollout)} %), without waiting for more evidence. The guard stays on.`,
        baking: `${of.to} becomes the live release now. ${of.from} is drained and stopped; going back means starting it again.`,
        returning: "It does not wait for the old slot's instances any longer.",
        draining: "It does not wait for long connections any longer: what is open once the drain time is over is cut.",
      }[rollout.phase], "relctl promote"];
    case "abort":
      return ["Abort", of.at > 0
        ? `Every request goes to ${of.from} at once (${of.to} has ${of.at} % now). ${of.to} is drained and stopped.`
        : `${of.to} is stopped. It has no requests; ${of.from} serves on.`, `relctl abort ${of.id}`];
    default:
      return ["Roll back", "Looking up what a rollback would do …", "relctl rollback"];
  }
}
const upcoming = (rollout) => list(rollout.steps)[rollout.step || 0] ?? 100;

let asked = null; // what the dialog is about
async function confirm(act) {
  const rollout = running(view.status);
  if (!rollout && act !== "rollback") return;
  const [title, text, typed] = question(act, rollout);
  const mine = (asked = { act, number: rollout && rollout.id, typed });
  put($("dialog-title"), `${title}${rollout ? ` rollout ${rollout.id}` : ""}?`);
  $("dialog-text").replaceChildren(el("p", {}, text));
  put($("dialog-yes"), title);
  mark($("dialog-yes"), "data-danger", ["abort", "rollback"].includes(act));
  $("dialog-yes").disabled = false;
  $("dialog-full").hidden = act !== "promote" || rollout.phase !== "shifting";
  $("dialog-reason").hidden = act === "resume";
  $("full").checked = false;
  $("reason").value = "";
  put($("dialog-wrong"), "");
  typing();
  $("dialog").showModal();
  $("dialog-no").focus();
  if (rollout) return;
  $("dialog-yes").disabled = true;
  try {
    const answer = await ask("/v1/rollouts", { kind: "rollback", options: { dry_run: true } });
    if (asked !== mine) return;
    const plan = object(answer.plan);
    $("dialog-yes").disabled = !answer.plan;
    $("dialog-text").replaceChildren(
      el("p", {}, answer.plan ? `From ${clean(plan.from)} back to ${clean(plan.to)}, ${plan.instant ? "at once" : "which is started first"}${number(plan.seconds) && plan.seconds ? `; about ${took(plan.seconds)} in all` : ""}.` : clean(answer.message)),
      el("ul", {}, list(plan.text).map((line) => el("li", {}, clean(line)))));
  } catch (trouble) {
    if (asked === mine) {
      $("dialog-text").replaceChildren();
      wrong(trouble);
    }
  }
}

function typing() {
  const reason = $("reason").value.trim();
  const quoted = reason && ` --reason '${reason.replaceAll("'", "'\\''")}'`;
  put($("dialog-typed"), `${asked.typed}${$("full").checked ? " --full" : ""}${quoted}`);
}

function wrong(trouble) {
  put($("dialog-wrong"), clean([trouble.message, trouble.hint].filter(Boolean).join("; try: ")));
}

async function agreed() {
  const { act, number: of } = asked;
  const reason = $("reason").value.trim();
  $("dialog-yes").disabled = true;
  put($("dialog-wrong"), "");
  try {
    const answer = act === "rollback"
      ? await ask("/v1/rollouts", { kind: "rollback", options: reason ? { reason } : {} })
      : await ask(`/v1/rollouts/${of}/${act}`, { ...(reason ? { reason } : {}), ...($("full").checked ? { full: true } : {}) });
    $("dialog").close();
    say(clean(answer.message || `rollout ${answer.id}: ${act}`));
    renew();
  } catch (trouble) {
    if (trouble.code === "foreign-page") await whoAmI().catch(() => {});
    $("dialog-yes").disabled = false;
    wrong(trouble);
  }
}

function makeActs() {
  $("dialog-no").addEventListener("click", () => $("dialog").close());
  $("dialog-yes").addEventListener("click", agreed);
  $("dialog").addEventListener("close", () => { asked = null; });
  $("reason").addEventListener("input", typing);
  $("full").addEventListener("change", typing);
  $("reason").addEventListener("keydown", (event) => { if (event.key === "Enter" && !$("dialog-yes").disabled) agreed(); });
}
