// One stream of events for all tabs of a browser, which opens only six connections to a host.
import { listen } from "./stream.js";

const tabs = new Set();
let last = null, key = null, stop = null;

function tell(message) {
  last = message;
  for (const tab of tabs) tab.postMessage(message);
}

onconnect = (event) => {
  const tab = event.ports[0];
  tab.onmessage = ({ data }) => {
    if (data.bye) { tabs.delete(tab); return; }
    tabs.add(tab);
    if (data.key !== key) {
      key = data.key;
      last = null;
      if (stop) stop();
      stop = listen(key, tell);
    } else if (last) {
      tab.postMessage(last);
    }
  };
};
