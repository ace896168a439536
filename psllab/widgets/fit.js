// Plots follow the width of the window; a notebook's panel changes its own without telling the window.
// And keys that are pressed in this page of widgets are its own: to JupyterLab "1" makes the cell a heading, "x" cuts it.
function render({ el }) {
  let width = 0, page = null;
  const watcher = new ResizeObserver(() => {
    if (!page && el.parentElement) {
      page = el.parentElement;
      page.classList.add("psl-page");
      page.tabIndex = -1; // a click between the widgets leaves the keyboard here, not at the cell
    }
    if (el.clientWidth === width) return;
    width = el.clientWidth;
    for (const wait of [50, 800]) setTimeout(() => window.dispatchEvent(new Event("resize")), wait); // rows may wrap late
  });
  watcher.observe(el);
  const mine = (event) => {
    if (!page?.contains(event.target)) return;
    const saves = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s";
    event.target.toggleAttribute("data-lm-suppress-shortcuts", !saves); // JupyterLab looks for it there, right after this
  };
  window.addEventListener("keydown", mine, true);
  const timers = [500, 1500, 4000].map((wait) => setTimeout(() => window.dispatchEvent(new Event("resize")), wait));
  return () => (watcher.disconnect(), window.removeEventListener("keydown", mine, true), timers.forEach(clearTimeout));
}

export default { render };
