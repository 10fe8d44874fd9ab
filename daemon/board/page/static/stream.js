// Server-sent events read by fetch: an EventSource cannot send the key of the login.
const SILENCE = 25000; // ms; the server gives a sign of life every ten seconds
const AGAIN = 1500; // ms until the next attempt

// Calls tell() with {view}, {lost} or {out}: the login is over. Returns a function that ends it.
export function listen(key, tell) {
  let ended = false, abort = null;
  (async () => {
    while (!ended) {
      abort = new AbortController();
      try {
        const answer = await fetch("/events", { headers: { "X-Board-Key": key }, signal: abort.signal });
        if (answer.status === 401) { tell({ out: true }); return; }
        if (!answer.ok) throw new Error((await answer.json()).error);
        await read(answer.body, abort, (view) => tell({ view }));
        throw new Error("the board has ended");
      } catch (error) {
        if (!ended) tell({ lost: true });
      }
      await new Promise((done) => setTimeout(done, AGAIN));
    }
  })();
  return () => { ended = true; abort?.abort(); };
}

async function read(body, abort, show) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const timer = setTimeout(() => abort.abort(), SILENCE);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    text += value;
    const events = text.split("\n\n");
    text = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data: "));
      if (data.length) show(JSON.parse(data.map((line) => line.slice(6)).join("\n")));
    }
  }
}
