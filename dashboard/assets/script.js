// What a page can't do by itself: move its figures, show events as they come, run a statement by Ctrl+Enter.
// Every page can be read without it. Nothing here makes elements from text: events are set as text, and the
// moving figures are elements that the server has escaped.

const MOVE_MS = 1000;
const SAY_MS = 15000;
const ROWS_MAX = 200;
const LINE_MAX = 160;
const byId = (id) => document.getElementById(id);

/** Makes `old` like `fresh`, touching only what differs, so that focus and selection stay. */
function patch(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const [are, become] = [[...old.childNodes], [...fresh.childNodes]];
  become.forEach((child, place) => (place < are.length ? patch(are[place], child) : old.append(document.importNode(child, true))));
  are.slice(become.length).forEach((child) => child.remove());
}

/** Asks for the figures each second while somebody looks. */
function move(figures) {
  let said = 0;
  const again = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(figures.dataset.moving, { headers: { accept: "text/html" }, redirect: "manual" });
        if (answer.type === "opaqueredirect") return location.reload();
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").body;
          const shell = figures.cloneNode(false);
          shell.append(...fresh.childNodes);
          patch(figures, shell);
          figures.removeAttribute("data-stale");
        }
      } catch {
        figures.setAttribute("data-stale", "");
      }
      if (Date.now() - said > SAY_MS) {
        if (said) byId("said").textContent = [...figures.querySelectorAll(".tile")].map((tile) => `${tile.querySelector("dt").textContent}: ${tile.querySelector(".value").textContent}`).join(", ");
        said = Date.now();
      }
    }
    setTimeout(again, MOVE_MS);
  };
  setTimeout(again, MOVE_MS);
}

/** Shows events as they come, the newest first. */
function follow(tail) {
  const [rows, counts, pause, said] = [byId("events"), byId("counts"), byId("pause"), byId("said")];
  let paused = false;
  let waiting = [];
  let last = 0;
  const cell = (row, text, name) => {
    const made = row.insertCell();
    made.textContent = text ?? "";
    if (name) made.className = name;
  };
  const data = (row, value) => {
    const line = value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value);
    cell(row, line.length > LINE_MAX ? "" : line, "data");
    if (line.length <= LINE_MAX) return;
    const [details, summary, whole] = ["details", "summary", "pre"].map((name) => document.createElement(name));
    summary.textContent = `${line.slice(0, LINE_MAX)}…`;
    whole.textContent = typeof value === "string" ? value : JSON.stringify(value, null, 1);
    details.append(summary, whole);
    row.lastChild.append(details);
  };
  const draw = () => {
    for (const event of waiting.splice(0)) {
      const row = rows.insertRow(0);
      // The time of day: what comes now came today.
      cell(row, String(event.receivedat ?? event.time ?? "").replace(/^.*T/, "").replace(/(\.\d{3})\d*Z$/, "$1").replace(/Z$/, ""));
      cell(row, event.type);
      cell(row, event.playerid);
      cell(row, event.gameid);
      data(row, event.data);
    }
    while (rows.rows.length > ROWS_MAX) rows.deleteRow(-1);
  };
  const source = new EventSource(tail.dataset.stream);
  source.addEventListener("event", (message) => {
    waiting.push(JSON.parse(message.data));
    if (waiting.length > ROWS_MAX) waiting.shift();
    if (!paused) requestAnimationFrame(draw);
  });
  source.addEventListener("counts", (message) => {
    const { seen, shown, other, left_out } = JSON.parse(message.data);
    const number = (count) => count.toLocaleString("en");
    const text = `${number(seen)} came, ${number(shown)} shown, ${number(other)} not asked for, ${number(left_out)} left out`;
    counts.textContent = paused ? `Paused. ${text}` : text;
    if (Date.now() - last > SAY_MS) {
      said.textContent = text;
      last = Date.now();
    }
  });
  source.onerror = () => (counts.textContent = "The connection broke off; trying again");
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) draw();
  });
  byId("clear").addEventListener("click", () => {
    waiting = [];
    rows.replaceChildren();
  });
  addEventListener("pagehide", () => source.close());
}

const figures = document.querySelector("[data-moving]");
if (figures) move(figures);
const tail = byId("tail");
if (tail) follow(tail);
for (const field of document.querySelectorAll("[data-submit=ctrl-enter]")) {
  field.addEventListener("keydown", (key) => {
    if (key.key === "Enter" && (key.ctrlKey || key.metaKey)) field.form.requestSubmit();
  });
}
document.querySelector(".top nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
