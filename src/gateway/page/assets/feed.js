// The live feed of operations: new rows on top, a bounded number of them, drawn once a frame.
import { say, stream } from "./live.js";

/** Rows that stay on the page. */
const ROWS = 300;

export function followOperations(localise) {
  const table = document.querySelector("[data-feed]");
  const body = document.querySelector("[data-feed-rows]");
  const empty = document.querySelector("[data-feed-empty]");
  const pause = document.querySelector("[data-pause]");
  const clear = document.querySelector("[data-clear]");
  const note = document.querySelector("[data-feed-note]");
  let reached = table.dataset.after;
  let paused = false;
  let asked = false;
  let passed = 0;
  let held = 0;
  let rows = [];
  let trouble = "";

  const number = (count) => String(count).replace(/\B(?=(\d{3})+$)/g, ",");
  const tell = () => {
    let text = "";
    if (trouble) text = trouble;
    else if (paused) text = held > 0 ? `${number(held)} came since you paused` : "Paused";
    else if (passed > 0) text = `${number(passed)} passed faster than a screen shows; the CSV has them all`;
    if (note.textContent !== text) note.textContent = text;
  };
  const draw = () => {
    asked = false;
    if (paused) return tell();
    const fresh = document.createElement("template");
    fresh.innerHTML = rows.join("");
    rows = [];
    held = 0;
    localise(fresh.content);
    for (const row of fresh.content.children) row.classList.add("new");
    body.prepend(fresh.content);
    while (body.children.length > ROWS) body.lastElementChild.remove();
    empty.hidden = body.children.length > 0;
    tell();
  };
  const ask = () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(draw);
  };
  const address = () => {
    const query = new URLSearchParams(location.search);
    if (reached) query.set("after", reached);
    return `/live${location.pathname}?${query}`;
  };
  stream(address, {
    rows: (event) => {
      const { rows: html, count, passed: more, trouble: why } = JSON.parse(event.data);
      reached = event.lastEventId || reached;
      trouble = why ?? "";
      passed += more;
      held += count + more;
      if (html) rows.unshift(html);
      // What would fall off the end is not kept while paused.
      rows.length = Math.min(rows.length, ROWS);
      ask();
    },
  });

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.querySelector("[data-word]").textContent = paused ? "Go on" : "Pause";
    say(paused ? "paused" : "live");
    ask();
    tell();
  });
  clear.addEventListener("click", () => {
    body.replaceChildren();
    rows = [];
    passed = 0;
    held = 0;
    empty.hidden = false;
    tell();
  });
}
