// What became of the papers that are printed.
import { show as tell } from "./actions.js";
import { make } from "./dom.js";

const HOUR = { hour: "2-digit", minute: "2-digit", hour12: false };

export function said({ paper, state, printedAt, why }) {
  if (state === "waits") return `${paper} waits for its printer`;
  return state === "failed" ? `${paper} not printed: ${why}` : `${paper} printed at ${new Date(printedAt).toLocaleTimeString([], HOUR)}`;
}

// The list on a card.
export function list({ papers, title }) {
  const rows = papers.map((one) => make("li", { class: one.state }, said(one)));
  return papers.length ? [make("ul", { class: "papers", "aria-label": `Papers of ${title}` }, ...rows)] : [];
}

// For a row of the table: what is not printed, and a button that says why.
export function unprinted({ papers, deviceId }) {
  const failed = papers.filter(({ state }) => state === "failed");
  const names = failed.map(({ paper }) => paper).join(" and ");
  if (!names) return [];
  const text = failed.map(said).join("\n");
  return [`, ${names} not printed `, make("button", { type: "button", class: "more", "aria-label": `Why not printed: ${deviceId}`, onclick: () => tell(deviceId, text) }, "Why")];
}
