// The other stations of the pool: what is there. What is to be done about it is done there.
import { byId, make, symbol } from "./dom.js";

let shown = "";

export function show({ benches }) {
  const text = JSON.stringify(benches), place = byId("benches");
  if (text === shown) return;
  shown = text;
  place.hidden = !benches.length;
  place.replaceChildren(...benches.map(bench));
}

function bench(one) {
  const counts = [[one.waiting, "waiting"], [one.attention, "in doubt"], [one.prepared, "prepared"]];
  const said = counts.filter(([number]) => number).map(([number, name]) => `${number} ${name}`);
  const seen = one.silent ? `NOT SEEN since ${new Date(one.seenAt).toLocaleString()}: is it gone?` : "";
  return make("section", { class: one.silent ? "silent" : null, "aria-label": `Station ${one.station}` },
    make("h2", {}, one.station), make("p", {}, [seen, ...said].filter(Boolean).join(" · ") || "nothing open"),
    make("ul", {}, ...one.jobs.map(job)));
}

function job(one) {
  const where = [one.bay, one.jobId].filter(Boolean).join(", ");
  return make("li", { class: one.status }, symbol(one.status), make("strong", {}, one.deviceId), ` ${one.word}${where ? ` (${where})` : ""}`);
}
