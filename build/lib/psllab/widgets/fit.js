// Plots follow the width of the window; a notebook's panel changes its own without telling the window.
function render({ el }) {
  let width = 0;
  const watcher = new ResizeObserver(() => {
    if (el.clientWidth === width) return;
    width = el.clientWidth;
    for (const wait of [50, 800]) setTimeout(() => window.dispatchEvent(new Event("resize")), wait); // rows may wrap late
  });
  watcher.observe(el);
  const timers = [500, 1500, 4000].map((wait) => setTimeout(() => window.dispatchEvent(new Event("resize")), wait));
  return () => (watcher.disconnect(), timers.forEach(clearTimeout));
}

export default { render };
