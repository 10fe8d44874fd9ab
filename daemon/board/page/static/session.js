// The login of this browser. The key is in storage bound to this origin: a cookie alone opens nothing.
const NAME = "driveprep-login";

export function login() {
  try { return JSON.parse(localStorage.getItem(NAME)); } catch { return null; }
}

export function forget() { localStorage.removeItem(NAME); }

// Exchange the token after the address's # for a login; the address is cleaned first.
export async function redeem() {
  const token = location.hash.slice(1);
  if (!token) return login();
  history.replaceState(null, "", location.pathname + location.search);
  const answer = await fetch("/login", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }),
  });
  const found = await answer.json();
  if (!answer.ok) {
    if (login()) return login();
    throw new Error(`${found.error}. ${found.hint || ""}`);
  }
  localStorage.setItem(NAME, JSON.stringify(found));
  return found;
}

// Ask the board; throws an Error with its sentence.
export async function ask(path, { body, data, headers } = {}) {
  const { key, csrf } = login() || {};
  const sent = { "X-Board-Key": key || "", ...headers };
  const options = { headers: sent };
  if (body !== undefined || data !== undefined) {
    options.method = "POST";
    options.body = data ?? JSON.stringify(body);
    sent["X-CSRF-Token"] = csrf || "";
    sent["Content-Type"] ??= "application/json";
  }
  const answer = await fetch(path, options);
  const found = await answer.json();
  if (!answer.ok) throw new Error([found.error, found.hint].filter(Boolean).join("\n"));
  return found;
}
