// What a person can do: each is one request, the same as a command.
import { ask } from "./session.js";
import { byId, make } from "./dom.js";
import { dropped } from "./dropping.js";

export const NAMES = {
  retry: "Try again", "as-it-is": "Use as it is", "same-drive": "It is the same drive", dismiss: "Dismiss", ship: "Mark as shipped", "undo-shipment": "Not shipped",
  slip: "Open slip", sticker: "Open sticker", print: "Print again", withdraw: "Withdraw",
};

export function say(text) { byId("said").textContent = text; }

// A button for an action of a job: {deviceId, jobId, manifest}.
export function button(action, job) {
  const name = NAMES[action] || action;
  const what = job.deviceId || job.jobId || job.manifest || "";
  return make("button", { type: "button", "aria-label": `${name}: ${what}`, onclick: (event) => act(action, job, event.currentTarget) }, name);
}

async function act(action, job, pressed) {
  if (action === "ship") return ship(job);
  if (DECISIONS[action]) return decide(action, job);
  if (pressed.ariaDisabled) return;
  pressed.ariaDisabled = "true"; // a button that is disabled would lose the focus
  try {
    done(action, job, await DO[action](job));
  } catch (error) {
    show("It was not done", error.message);
  }
  pressed.ariaDisabled = null;
}

const DO = {
  retry: (job) => ask("/api/retry", { body: { deviceId: job.deviceId } }),
  dismiss: (job) => ask("/api/dismiss", { body: { words: [job.manifest] } }),
  print: (job) => ask("/api/print", { body: { words: [job.jobId] } }),
  "undo-shipment": (job) => ask("/api/undo-shipment", { body: { words: [job.jobId] } }),
  withdraw: (job) => ask("/api/withdraw", { body: { name: job.manifest, sha256: dropped(job.manifest) } }),
  slip: (job) => open(job, "slip"),
  sticker: (job) => open(job, "sticker"),
};

async function open(job, kind) {
  const tab = window.open("about:blank"); // now: later a browser takes it for a pop-up
  try {
    const { url } = await ask("/api/paper", { body: { job: job.jobId, kind } });
    if (tab) tab.location = url; else location.assign(url);
  } catch (error) {
    tab?.close();
    throw error;
  }
}

// What a person must know before they decide; after it comes what the daemon found.
const DECISIONS = {
  "as-it-is": {
    title: "use its drive although it is not empty",
    text: "driveprep changes no file that is on it, and adds SIGNATURE; receipt, slip and status list what is on it. The service may erase all of it. Decide this only if no one needs these files.",
  },
  "same-drive": {
    title: "it is the drive that the job was made for",
    text: "Its file system is the same, but its serial number or WWN is not: another USB bridge or dock reports its own. Confirm it only if you have checked that it is the same drive; SIGNATURE is then written to it.",
  },
};

function decide(action, job) {
  const { title, text } = DECISIONS[action];
  const problem = make("p", { role: "alert" });
  const confirm = async () => {
    try {
      const answer = await ask(`/api/${action}`, { body: { deviceId: job.deviceId, shown: job.next } });
      byId("dialog").close();
      done(action, job, answer);
    } catch (error) { problem.textContent = error.message; }
  };
  const cancel = closer("Cancel");
  fill(`${job.deviceId}: ${title}`, make("p", {}, text),
    make("pre", { tabindex: "0", class: "wrapped", "aria-label": "What was found" }, job.next), problem,
    make("menu", {}, make("button", { type: "button", onclick: confirm }, NAMES[action]), cancel));
  cancel.focus();
}

function done(action, job, answer) {
  say(`${NAMES[action]}: ${answer?.later ? "as soon as the daemon runs, " : "done "}for ${job.deviceId || job.manifest}`);
}

function ship(job) {
  const carrier = make("input", { id: "carrier", maxlength: "100", autocomplete: "on" });
  const tracking = make("input", { id: "tracking", maxlength: "100", autocomplete: "off" });
  const problem = make("p", { role: "alert" });
  const form = make("form", { method: "dialog", onsubmit: async (event) => {
    event.preventDefault();
    try {
      await ask("/api/ship", { body: { words: [job.jobId], carrier: carrier.value, tracking: tracking.value } });
      byId("dialog").close();
      say(`${job.deviceId} is shipped`);
    } catch (error) { problem.textContent = error.message; }
  } },
    make("label", { for: "carrier" }, "Carrier"), carrier,
    make("label", { for: "tracking" }, "Tracking number"), tracking, problem,
    make("menu", {}, make("button", { type: "submit" }, "It has left"), closer("Cancel")));
  fill(`${job.deviceId}, job ${job.jobId}: the drive has left`, form);
}

export function closer(name) {
  return make("button", { type: "button", onclick: () => byId("dialog").close() }, name);
}

export function fill(title, ...children) {
  const dialog = byId("dialog");
  dialog.replaceChildren(make("h2", { id: "dialog-name" }, title), ...children);
  if (!dialog.open) dialog.showModal();
}

export function show(title, text) {
  fill(title, make("pre", { tabindex: "0", class: "wrapped" }, text), make("menu", {}, closer("Close")));
}
