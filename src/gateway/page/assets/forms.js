// Forms: each is sent to the JSON routes under a name that is made once for what stands in it. Sent twice, it is
// one operation; changed, it is another one. Amounts stay text from the field to the bank.
import { session } from "./live.js";

const skew = Number(document.documentElement.dataset.now) - Date.now();
/** How long after an answer a second click still belongs to the first one, in milliseconds. */
const SECOND_CLICK = 1000;
const TIMEOUT = 10_000;

/** A UUIDv7 by the server's clock: the bank remembers such names the longest. */
function newName() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  const time = BigInt(Math.max(0, Math.round(Date.now() + skew)));
  for (let place = 0; place < 6; place++) bytes[place] = Number((time >> BigInt(8 * (5 - place))) & 255n);
  bytes[6] = (bytes[6] & 0x0f) | 0x70;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Thousands separators, on text. */
function grouped(amount) {
  const match = /^(-?)(\d+)(\.\d+)?$/.exec(amount);
  if (!match) return amount;
  return (match[1] ? "\u2212" : "") + match[2].replace(/\B(?=(\d{3})+$)/g, ",") + (match[3] ?? "");
}

function toast(text) {
  const line = document.createElement("p");
  line.textContent = text;
  const toasts = document.getElementById("toasts");
  toasts.append(line);
  while (toasts.children.length > 3) toasts.firstElementChild.remove();
  setTimeout(() => line.remove(), 8000);
}

function complain(form, field, text) {
  const input = field ? form.elements.namedItem(field) : null;
  const place = input && form.querySelector(`[data-error-of="${CSS.escape(field)}"]`);
  if (place) {
    input.setAttribute("aria-invalid", "true");
    place.textContent = text;
    place.hidden = false;
    input.focus();
    return;
  }
  const general = form.querySelector("[data-form-error]");
  general.textContent = text;
  general.hidden = false;
}

function forgive(form) {
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  for (const place of form.querySelectorAll("[data-error-of], [data-form-error]")) {
    place.hidden = true;
    place.textContent = "";
  }
}

/** What is said when it is done: `{balance}` and the like come from the answer. */
function told(sentence, answer) {
  const flat = { ...answer, ...(typeof answer.hold === "object" ? answer.hold : {}) };
  return sentence.replace(/\{(\w+)\}/g, (_, name) => grouped(String(flat[name] ?? answer[name] ?? "")).replace(/^[A-Z_]+$/, (word) => word.toLowerCase()));
}

async function send(form, name) {
  const body = {};
  for (const [field, value] of new FormData(form)) {
    const text = value.trim();
    // A whole number is a number in JSON; what is none is sent as it is, and the bank says what is wrong with it.
    const whole = form.elements.namedItem(field).dataset.count !== undefined && /^\d{1,9}$/.test(text);
    if (text !== "") body[field] = whole ? Number(text) : text;
  }
  const headers = { "Content-Type": "application/json", "Idempotency-Key": name };
  if (session.get()) headers["Bank-Session"] = session.get();
  return fetch(form.dataset.address, {
    method: form.dataset.method,
    headers,
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(TIMEOUT),
  });
}

/** What a field of the form is called that the bank complains about. */
function fieldOf(form, problem) {
  const field = problem.metadata?.field;
  if (field && form.elements.namedItem(field)) return field;
  const reason = problem.reason ?? "";
  if (/^(AMOUNT_|INSUFFICIENT)/.test(reason) && form.elements.namedItem("amount")) return "amount";
  if (reason.startsWith("RATE_") && form.elements.namedItem("rate")) return "rate";
  if (reason.startsWith("NAME_") && form.elements.namedItem("name")) return "name";
  if (/^(SAME_ACCOUNT|BRANCH_UNKNOWN|ACCOUNT_NOT_FOUND)/.test(reason) && form.elements.namedItem("destination")) {
    const source = form.elements.namedItem("source");
    const about = problem.metadata?.account ?? "";
    const ofSource = source && source.type !== "hidden" && about !== "" && about.endsWith(source.value.trim());
    return ofSource ? "source" : "destination";
  }
  return null;
}

const states = new WeakMap();

async function submit(form) {
  const state = states.get(form) ?? { name: null, busy: false, answered: -SECOND_CLICK };
  states.set(form, state);
  // A second click while the first one is on its way, or right after its answer, wants nothing more.
  if (state.busy || performance.now() - state.answered < SECOND_CLICK) return;
  state.busy = true;
  state.name ??= newName();
  form.setAttribute("aria-busy", "true");
  forgive(form);
  try {
    let response = await send(form, state.name);
    let answer = await response.json().catch(() => ({}));
    if (answer.reason === "SESSION_UNKNOWN") {
      // The bank that this tab knew is no more; a new one has begun, and so does the session.
      session.clear();
      response = await send(form, state.name);
      answer = await response.json().catch(() => ({}));
    }
    session.set(response.headers.get("Bank-Session"));
    if (response.ok) {
      state.name = null;
      for (const input of form.querySelectorAll("input:not([type=hidden])")) input.value = input.defaultValue;
      toast(told(form.dataset.done, answer));
      document.dispatchEvent(new CustomEvent("bank:done"));
      state.answered = performance.now();
    } else {
      // Refused for good: what comes next is another operation. Otherwise it keeps its name, and sending it
      // again is safe.
      if (response.status < 500 && response.status !== 429 && response.status !== 408) state.name = null;
      complain(form, fieldOf(form, answer), answer.detail ?? `The server answered ${response.status}.`);
    }
  } catch {
    complain(form, null, "No answer came, so it is not known whether it was done. Sending it again is safe: it goes by the same name.");
  } finally {
    state.busy = false;
    form.removeAttribute("aria-busy");
  }
}

export function armForms() {
  document.addEventListener("submit", (event) => {
    const form = event.target.closest("form[data-address]");
    if (!form) return;
    event.preventDefault();
    submit(form);
  });
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form[data-address]");
    const state = form && states.get(form);
    if (state && !state.busy) {
      state.name = null;
      state.answered = -SECOND_CLICK;
    }
  });
}

/** The scenario page: a file that is dropped or chosen stands in the text, and the text is played. */
export function armScenario() {
  const form = document.querySelector("form[data-scenario]");
  if (!form) return;
  const text = form.elements.namedItem("text");
  const take = async (file) => {
    if (file) text.value = await file.text();
  };
  document.getElementById("scenario-file").addEventListener("change", (event) => take(event.target.files[0]));
  const drop = form.querySelector("[data-drop]");
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.hasAttribute("aria-busy")) return;
    form.setAttribute("aria-busy", "true");
    forgive(form);
    try {
      const response = await fetch("/scenarios/play", {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: text.value,
      });
      const answer = await response.json();
      if (response.ok) document.getElementById("outcome").innerHTML = answer.html;
      else complain(form, null, answer.detail ?? `The server answered ${response.status}.`);
    } catch {
      complain(form, null, "The server did not answer; try again.");
    } finally {
      form.removeAttribute("aria-busy");
    }
  });
}
