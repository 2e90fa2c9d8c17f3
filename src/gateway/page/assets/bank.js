// The page's beginning: puts the parts to work. Everything is drawn by the server; this file only keeps it current.
import { follow } from "./live.js";
import { followOperations } from "./feed.js";
import { armForms, armScenario } from "./forms.js";

const root = document.documentElement;

/** Writes times in the reader's own zone; the server's text in UTC stays as the title. */
export function localise(part) {
  for (const time of part.querySelectorAll("time[datetime], [data-moment]")) {
    const moment = new Date(time.dateTime ?? time.dataset.moment);
    if (Number.isNaN(moment.getTime())) continue;
    const two = (number) => String(number).padStart(2, "0");
    const day = `${moment.getFullYear()}-${two(moment.getMonth() + 1)}-${two(moment.getDate())}`;
    const hour = `${two(moment.getHours())}:${two(moment.getMinutes())}:${two(moment.getSeconds())}`;
    // In live lists today needs no date.
    const today = time.closest(".brief") && moment.toDateString() === new Date().toDateString();
    time.textContent = `${today ? "" : `${day} `}${hour}${time.dataset.suffix ?? ""}`;
  }
}

function armTheme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const shown = () => root.dataset.theme ?? (system.matches ? "dark" : "light");
  const label = () => {
    const next = shown() === "dark" ? "light" : "dark";
    button.querySelector("[data-word]").textContent = next === "dark" ? "Dark theme" : "Light theme";
  };
  button.addEventListener("click", () => {
    root.dataset.theme = shown() === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("bank-theme", root.dataset.theme);
    } catch {
      // The choice lasts as long as the page.
    }
    label();
  });
  system.addEventListener("change", label);
  label();
}

/** Rows of tabs: arrows move between them, as people who use the keyboard expect. */
function armTabs() {
  for (const box of document.querySelectorAll("[data-tabs]")) {
    const tabs = [...box.querySelectorAll('[role="tab"]')];
    const choose = (chosen, focus) => {
      for (const tab of tabs) {
        const on = tab === chosen;
        tab.setAttribute("aria-selected", String(on));
        tab.tabIndex = on ? 0 : -1;
        document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
      }
      if (focus) chosen.focus();
    };
    for (const [place, tab] of tabs.entries()) {
      tab.addEventListener("click", () => choose(tab, false));
      tab.addEventListener("keydown", (event) => {
        const last = tabs.length - 1;
        const to = { ArrowRight: place === last ? 0 : place + 1, ArrowLeft: place === 0 ? last : place - 1, Home: 0, End: last }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        choose(tabs[to], true);
      });
    }
  }
}

function armPrint() {
  for (const button of document.querySelectorAll("[data-print]")) {
    button.addEventListener("click", () => window.print());
  }
}

/** Saves the text of a file that is shown on the page. */
function armSave() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-save]");
    if (!button) return;
    const text = button.closest("details").querySelector("pre").textContent;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
    link.download = button.dataset.save;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

// Where the menu does not fit it scrolls, and the page's own entry must be seen.
document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
localise(document);
armTheme();
armTabs();
armPrint();
armSave();
armForms();
armScenario();
if (root.hasAttribute("data-live")) {
  if (document.querySelector("[data-feed]")) followOperations(localise);
  else follow(localise);
}
