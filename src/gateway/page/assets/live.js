// Live regions: the server sends a region again when it looks different, and the page is changed where it differs,
// so that focus, selection and open details stay as they are.

const link = document.getElementById("link");

/** How long a lost connection may take to come back before the page says that it is old, in milliseconds. */
const CUT_OFF_AFTER = 2000;

/** When the server was lost and the page last heard of it, while it is lost. */
let lost = null;

/** Greys the page and tells its age while its own server does not answer. */
function showAge() {
  const age = lost === null ? 0 : Date.now() - lost;
  const cutOff = lost !== null && age >= CUT_OFF_AFTER;
  document.documentElement.classList.toggle("cut-off", cutOff);
  const notice = document.getElementById("cut-off");
  notice.hidden = !cutOff;
  if (!cutOff) return;
  const seconds = Math.floor(age / 1000);
  const text = seconds < 120 ? `${seconds} seconds` : `${Math.floor(seconds / 60)} minutes`;
  notice.querySelector("[data-age]").textContent = text;
}
setInterval(showAge, 1000);

/** Says whether the page is live. */
export function say(state) {
  const words = { live: "Live", waiting: "Reconnecting", paused: "Paused" };
  link.dataset.state = state;
  if (state === "waiting") lost ??= Date.now();
  else lost = null;
  showAge();
  const word = link.querySelector("[data-word]");
  if (word.textContent !== words[state]) word.textContent = words[state];
}

/** What this tab has seen; every answer of the bank extends it. */
export const session = {
  get: () => sessionStorage.getItem("bank-session") ?? "",
  set: (token) => token && sessionStorage.setItem("bank-session", token),
  clear: () => sessionStorage.removeItem("bank-session"),
};

/**
 * Opens a stream that comes back by itself and rests while nobody looks: browsers allow only few streams to
 * one server, and a hidden page needs none.
 */
export function stream(address, events) {
  let source = null;
  const close = () => {
    source?.close();
    source = null;
  };
  const open = () => {
    if (source) return;
    source = new EventSource(address());
    source.addEventListener("open", () => say("live"));
    source.addEventListener("error", () => {
      say("waiting");
      // A stream that the browser gave up is opened anew, a little later.
      if (source?.readyState === EventSource.CLOSED) {
        close();
        setTimeout(() => document.hidden || open(), 2000);
      }
    });
    for (const [name, handle] of Object.entries(events)) source.addEventListener(name, handle);
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      close();
      say("paused");
    } else {
      open();
    }
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", () => document.hidden || open());
  if (!document.hidden) open();
  return { reopen: () => (close(), open()) };
}

/** Makes a node's content like that of another one, keeping every node that can stay. */
export function morph(old, fresh) {
  const byKey = new Map();
  for (const child of old.children) {
    const key = child.dataset?.key ?? child.id;
    if (key) byKey.set(key, child);
  }
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const key = wanted.nodeType === Node.ELEMENT_NODE ? (wanted.dataset?.key ?? wanted.id) : "";
    let found = key ? byKey.get(key) : null;
    if (!found && !key && place && similar(place, wanted)) found = place;
    if (found && similar(found, wanted)) {
      if (found === place) place = place.nextSibling;
      else old.insertBefore(found, place);
      adjust(found, wanted);
    } else {
      old.insertBefore(wanted, place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function similar(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return false;
  if (old.nodeType !== Node.ELEMENT_NODE) return true;
  return (old.dataset?.key ?? old.id) === (fresh.dataset?.key ?? fresh.id);
}

function adjust(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  // A form belongs to its user: neither what was typed nor what was answered is taken away.
  if (old.nodeName === "FORM") return;
  for (const { name } of [...old.attributes]) {
    // Whether details are open is the reader's choice.
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  morph(old, fresh);
}

/** Follows the regions of this page. */
export function follow(localise) {
  const waiting = new Map();
  let asked = false;
  const draw = () => {
    asked = false;
    for (const [id, html] of waiting) {
      const region = document.getElementById(id);
      if (!region) continue;
      const fresh = document.createElement("template");
      fresh.innerHTML = html;
      localise(fresh.content);
      morph(region, fresh.content);
    }
    waiting.clear();
    document.dispatchEvent(new CustomEvent("bank:drawn"));
  };
  const address = () => {
    const query = new URLSearchParams(location.search);
    if (session.get()) query.set("session", session.get());
    return `/live${location.pathname}?${query}`;
  };
  const open = stream(address, {
    regions: (event) => {
      for (const [id, html] of Object.entries(JSON.parse(event.data))) waiting.set(id, html);
      // However much comes, it is drawn once a frame.
      if (!asked) {
        asked = true;
        requestAnimationFrame(draw);
      }
    },
  });
  // What this tab has done just now must be seen in what it shows.
  document.addEventListener("bank:done", open.reopen);
}
