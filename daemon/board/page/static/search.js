// Type, or scan a barcode: cards that do not fit are hidden, waiting manifests are looked up.
import { ask } from "./session.js";
import { button } from "./actions.js";
import { byId, make } from "./dom.js";
import { dropped } from "./dropping.js";

const PAUSE = 150; // ms after the last key; a scanner types all at once

let timer = 0, view = null;

function words() { return byId("find").value.trim().toLowerCase(); }

function filter() {
  const text = words();
  for (const card of byId("cards").children) card.hidden = text !== "" && !card.dataset.words.includes(text);
}

async function look() {
  filter();
  const place = byId("found"), text = words();
  place.hidden = text === "";
  if (!text) return;
  try {
    const { jobs } = await ask(`/api/waiting?q=${encodeURIComponent(text)}`);
    if (text !== words()) return;
    const rows = jobs.map((job) => {
      const buttons = view?.readOnly ? [] : [button("retry", job), ...(dropped(job.manifest) ? [button("withdraw", job)] : [])];
      return make("li", {}, make("b", {}, job.deviceId || job.manifest), make("span", {}, job.manifest), make("span", {}, job.next || ""), ...buttons);
    });
    const head = jobs.length ? `${jobs.length} waiting` : "No manifest that waits fits.";
    place.replaceChildren(make("h2", {}, head), make("ul", {}, ...rows));
  } catch (error) {
    place.replaceChildren(make("p", { role: "alert" }, error.message));
  }
}

export const search = {
  prepare() {
    byId("tools").addEventListener("submit", (event) => event.preventDefault());
    byId("find").addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(look, PAUSE); });
    document.addEventListener("keydown", (event) => {
      const isFree = !event.ctrlKey && !event.metaKey && !event.altKey && event.key.length === 1 && event.key !== " ";
      // A dialog that was just closed may still have the focus.
      const isTyping = event.target.closest?.('input:not([type="file"]), dialog[open], textarea');
      if (isFree && !isTyping && !document.body.classList.contains("wall")) byId("find").focus();
    });
  },
  refresh(newest) { view = newest; filter(); },
};
