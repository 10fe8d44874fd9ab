// Manifests by mouse or file dialog: checked first, with the same carets as `driveprep check`; what
// is confirmed is the very text that was shown, by its SHA-256.
import { ask } from "./session.js";
import { byId, make } from "./dom.js";
import { closer, fill, say } from "./actions.js";

const MANIFEST = "application/x-driveprep-manifest";
const LARGEST = 64 * 1024; // bytes
const KEPT = "driveprep-dropped"; // name -> sha256 of what was dropped in this browser

export function dropped(name) { return kept()[name] || ""; }

function kept() {
  try { return JSON.parse(localStorage.getItem(KEPT)) || {}; } catch { return {}; }
}

function keep(name, sha256) {
  const entries = Object.entries({ ...kept(), [name]: sha256 }).slice(-1000);
  localStorage.setItem(KEPT, JSON.stringify(Object.fromEntries(entries)));
}

export function prepare(canAct) {
  const files = byId("files");
  files.addEventListener("change", () => { take([...files.files]); files.value = ""; });
  const body = document.body;
  const isOver = (event) => canAct() && event.dataTransfer?.types.includes("Files");
  body.addEventListener("dragover", (event) => {
    if (isOver(event)) { event.preventDefault(); body.classList.add("dropping"); }
  });
  body.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) body.classList.remove("dropping");
  });
  body.addEventListener("drop", (event) => {
    event.preventDefault();
    body.classList.remove("dropping");
    if (isOver(event)) take([...event.dataTransfer.files]);
  });
}

async function take(files) {
  fill("Manifests to drop", make("p", {}, "They are being checked."));
  const results = [];
  for (const file of files) results.push(await checked(file));
  const good = results.filter((one) => one.good);
  const parts = results.map((one) => make("section", {}, make("h3", {}, `${one.good ? "✓ good" : "✗ not good"}: ${one.name}`), make("pre", { tabindex: "0", "aria-label": `What was found in ${one.name}` }, one.text)));
  const menu = make("menu", {}, closer("Cancel"));
  if (good.length) {
    const text = good.length === 1 ? `Drop ${good[0].name}` : `Drop ${good.length} manifests`;
    menu.prepend(make("button", { type: "button", autofocus: true, onclick: () => drop(good) }, text));
  }
  fill("Manifests to drop", ...parts, menu);
  byId("dialog").querySelector("menu button").focus();
}

async function checked(file) {
  if (file.size > LARGEST) return { name: file.name, good: false, text: "It has more than 64 KiB: no manifest is that large." };
  try {
    const data = await file.arrayBuffer();
    const found = await ask("/api/check", { data, headers: headers(file.name) });
    return { ...found, given: file.name, data };
  } catch (error) {
    return { name: file.name, good: false, text: error.message };
  }
}

async function drop(good) {
  const parts = [];
  for (const one of good) {
    try {
      const done = await ask("/api/drop", { data: one.data, headers: { ...headers(one.given), "X-Sha256": one.sha256 } });
      keep(done.name, one.sha256);
      parts.push(make("p", {}, `${done.name}: ${done.wasThere ? "was already dropped" : "dropped"}, for ${done.deviceId}`));
    } catch (error) {
      parts.push(make("p", { role: "alert" }, `${one.name}: ${error.message}`));
    }
  }
  fill("Dropped", ...parts, make("menu", {}, closer("Close")));
  say(good.length === 1 ? "The manifest was sent" : `${good.length} manifests were sent`);
}

function headers(name) {
  return { "Content-Type": MANIFEST, "X-File-Name": encodeURIComponent(name) };
}
