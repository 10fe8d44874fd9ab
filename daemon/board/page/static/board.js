// The page: logs in, follows the events, and shows each view.
import { byId, make } from "./dom.js";
import { prepare } from "./dropping.js";
import { forget, redeem } from "./session.js";
import { listen } from "./stream.js";
import { search } from "./search.js";
import { show } from "./view.js";

const ASK = "Ask for a link: driveprep board --link";
let shown = null;

function tell(message) {
  if (message.out) { forget(); signedOut("This login is over."); return; }
  byId("lost").hidden = !message.lost;
  if (message.lost) byId("lost").textContent = "The board does not answer: what is shown here is old. Trying again.";
  if (message.view) {
    shown = message.view;
    show(shown);
    search.refresh(shown);
  }
}

function signedOut(reason) {
  document.body.classList.add("signed-out");
  byId("lost").textContent = `${reason} ${ASK}`;
  byId("lost").hidden = false;
}

function follow(key) {
  if (typeof SharedWorker === "undefined") { listen(key, tell); return; }
  const { port } = new SharedWorker("/static/worker.js", { type: "module", name: "driveprep-board" });
  port.onmessage = ({ data }) => tell(data);
  port.start();
  port.postMessage({ key });
  addEventListener("pagehide", () => port.postMessage({ bye: true }));
  addEventListener("pageshow", (event) => { if (event.persisted) port.postMessage({ key }); });
}

function clock() {
  byId("clock").textContent = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  setTimeout(clock, 60000 - (Date.now() % 60000));
}

async function start() {
  document.body.classList.toggle("wall", new URLSearchParams(location.search).has("wall"));
  clock();
  let login = null;
  try { login = await redeem(); } catch (error) { signedOut(error.message); return; }
  if (!login) { signedOut("Nobody has logged in here."); return; }
  prepare(() => shown && !shown.readOnly);
  search.prepare();
  follow(login.key);
}

start();
