fetch("/api/view").then(r => r.json()).then(v => { document.getElementById("view").textContent = JSON.stringify(v, null, 1); });
