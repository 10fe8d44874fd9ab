// Shows a view. A card that stays is changed, not replaced, so that the focus stays where it is.
import { button, say, show as tell } from "./actions.js";
import * as benches from "./benches.js";
import { byId, drawing, make, symbol } from "./dom.js";
import * as papers from "./papers.js";

const cards = new Map(); // key -> {element, text, status}
const LONG = 150; // characters of what is to be done next, about four lines of a card
let drawn = "";
let isFilled = false; // cards that come later are announced

export function show(view) {
  document.title = title(view);
  byId("station").textContent = view.station;
  byId("tools").hidden = view.readOnly;
  counts(view);
  state(view);
  problems(view);
  everyCard(view);
  benches.show(view);
  charts(view);
  timeline(view);
}

function title(view) {
  const { attention } = view.counts;
  return `${attention ? `(${attention}) ` : ""}${view.station} – driveprep`;
}

function counts({ counts: n }) {
  const rows = [
    [n.madeToday, `of ${n.dailyLimit} jobs today (UTC)`], [n.waiting, "waiting"], [n.inProgress, "in progress"],
    [n.prepared, "safe to remove"], [n.shippedToday, "shipped today"], [n.attention, n.attention === 1 ? "needs attention" : "need attention", "attention"],
  ];
  byId("counts").replaceChildren(...rows.filter(([number, , kind]) => number || kind !== "attention").map(([number, name, kind]) =>
    make("div", { class: kind }, make("dt", {}, name), make("dd", {}, String(number)))));
}

function state({ daemon }) {
  const service = { reachable: "service reachable", away: "SERVICE AWAY", unknown: "service not asked yet" }[daemon.service];
  byId("state").textContent = daemon.running ? service : "THE DAEMON DOES NOT RUN";
}

function problems({ problem, daemon }) {
  const lines = [problem, ...daemon.problems];
  if (!daemon.running && !problem) lines.unshift("The daemon does not run: nothing happens here until it is started (systemctl start driveprep).");
  if (daemon.service === "away") lines.push(daemon.detail);
  const text = lines.filter(Boolean).join("\n"), place = byId("problems");
  if (place.textContent !== text) place.textContent = text;
  place.hidden = !text;
}

function everyCard(view) {
  const place = byId("cards"), seen = new Set();
  let before = null;
  for (const card of view.cards) {
    seen.add(card.key);
    const element = one(card, view.readOnly);
    const next = before ? before.nextSibling : place.firstChild;
    if (element !== next) place.insertBefore(element, next);
    before = element;
  }
  // The wall shows all cards at once, as large as they can be on a screen of 16 : 9.
  const columns = Math.max(2, Math.ceil(Math.sqrt(view.cards.length * 1.7)));
  place.style.setProperty("--columns", columns);
  place.style.setProperty("--rows", Math.max(2, Math.ceil(view.cards.length / columns)));
  for (const [key, { element }] of cards) if (!seen.has(key)) { leave(element); cards.delete(key); }
  isFilled = true;
}

function one(card, isReadOnly) {
  const text = JSON.stringify([card, isReadOnly]);
  const known = cards.get(card.key);
  if (known?.text === text) return known.element;
  const element = known?.element || make("article", {});
  const focus = focused(element);
  element.className = `card ${card.status}${card.urgent ? " urgent" : ""}`;
  element.dataset.words = [card.title, card.deviceId, card.jobId, card.manifest, card.bay, card.word, ...Object.values(card.drive)].filter(Boolean).join("\n").toLowerCase();
  const id = `card-${card.key.replace(/[^A-Za-z0-9]/g, "_")}-${hash(card.key)}`;
  element.setAttribute("aria-labelledby", id);
  element.replaceChildren(
    make("header", {}, make("span", {}, card.bay || card.drive.deviceNode || ""), make("span", {}, card.jobId || "")),
    make("h2", { id, dir: "auto", title: card.title }, card.title),
    ...(card.status === "free" ? [] : [make("p", { class: "word" }, symbol(card.status), card.word)]),
    ...whatNext(card),
    ...papers.list(card),
    ...(isReadOnly || !card.actions.length ? [] : [make("div", { class: "actions" }, ...card.actions.map((action) => button(action, card)))]));
  refocus(element, focus);
  const printed = card.papers.map(papers.said).join(". ");
  if (isFilled && known?.status !== card.status && card.status !== "free") say(`${card.bay ? `${card.bay}, ` : ""}${card.title}: ${card.word}`);
  else if (known && printed && known.printed !== printed) say(`${card.title}: ${printed}`);
  cards.set(card.key, { element, text, status: card.status, printed });
  return element;
}

function focused(element) {
  return element.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
}

// The focus stays on its button; where that is gone it goes to another one, or to all cards.
function refocus(element, label) {
  if (!label) return;
  const buttons = [...element.querySelectorAll("button")];
  (buttons.find((one) => one.getAttribute("aria-label") === label) || buttons[0] || byId("cards")).focus();
}

function leave(element) {
  if (element.contains(document.activeElement)) byId("cards").focus();
  element.remove();
}

// A long text is cut for the eye; all of it is one key away, and on the wall the beginning must do.
function whatNext({ next, title }) {
  const text = make("p", { class: "next" }, next);
  if (next.length <= LONG) return [text];
  text.classList.add("long");
  return [text, make("button", { type: "button", class: "more", "aria-label": `All of it: ${title}`, onclick: () => tell(title, next) }, "All of it")];
}

function hash(text) {
  let sum = 0;
  for (const character of text) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  return sum.toString(36);
}

function charts({ charts: { svg, days, median, slowest } }) {
  const text = JSON.stringify(svg);
  if (text === drawn) return;
  drawn = text;
  const today = days.at(-1)?.jobs ?? 0, all = days.reduce((sum, day) => sum + day.jobs, 0);
  if (svg.jobsPerDay || svg.jobs_per_day) byId("days").replaceChildren(drawing(svg.jobsPerDay || svg.jobs_per_day, `Jobs a day: ${all} in 14 days, ${today} today`));
  const speed = median === null ? "No drive was signed yet" : `Seconds from plug-in to SIGNATURE: median ${median.toFixed(2)}, slowest ${slowest.toFixed(2)}`;
  if (svg.toSignature || svg.to_signature) byId("speed").replaceChildren(drawing(svg.toSignature || svg.to_signature, speed));
}

const STAGES = ["made", "shipped", "received", "loading", "returned"];
const SAID = { made: "prepared, still here", shipped: "shipped", received: "received", loading: "loading", returned: "on its way back" };

function timeline({ timeline: jobs, timelineTotal, readOnly }) {
  byId("way-name").textContent = `on their way (${timelineTotal}; the most urgent first)`;
  const head = make("thead", {}, make("tr", {}, ...["drive", "JobId", "stage", "progress", "days left", ""].map((name) => make("th", { scope: "col" }, name || make("span", { class: "hidden" }, "what can be done")))));
  const rows = jobs.map((job) => make("tr", { class: job.late || job.unshipped ? "late" : null },
    make("th", { scope: "row" }, job.deviceId), make("td", {}, job.jobId),
    make("td", {}, [SAID[job.stage], job.carrier, job.progress && job.stage !== "made" ? job.progress : ""].filter(Boolean).join(", "), ...papers.unprinted(job)),
    make("td", {}, make("progress", { max: "5", value: String(STAGES.indexOf(job.stage) + 1), "aria-label": `${job.deviceId}: stage ${STAGES.indexOf(job.stage) + 1} of 5, ${SAID[job.stage]}` })),
    make("td", {}, job.daysLeft === null ? "" : `${job.late ? "SHIP NOW: " : ""}${job.daysLeft} days`),
    make("td", { class: "actions" }, ...(readOnly ? [] : job.actions.map((action) => button(action, job))))));
  const place = byId("way"), focus = focused(place);
  place.replaceChildren(head, make("tbody", {}, ...rows));
  refocus(place, focus);
}
