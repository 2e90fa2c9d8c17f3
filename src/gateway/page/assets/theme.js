// Runs before the page is drawn, so that a chosen theme never flashes.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("bank-theme");
  } catch {
    // Storage may be forbidden; then the system's theme is used.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
  document.documentElement.classList.add("scripted");
})();
