// A grid of thumbnails. Pictures come as binary messages, only for what is in sight, and are kept while they are near.
// Python holds the order; this side knows how many there are, and of each tile that it shows the id that came with it.

const GAP = 8, AHEAD = 2, KEPT = 600;

function make(tag, name, parent) {
  const node = document.createElement(tag);
  node.className = name;
  if (parent) parent.append(node);
  return node;
}

function picture(view) {
  return URL.createObjectURL(new Blob([view], { type: "image/png" }));
}

function render({ model, el }) {
  const root = make("div", "psl-gallery", el);
  root.tabIndex = 0;
  const space = make("div", "psl-space", root);
  space.setAttribute("role", "presentation");
  const one = make("div", "psl-one", root);
  const large = make("img", "psl-large", one);
  const under = make("div", "psl-under", one);
  under.setAttribute("aria-live", "polite"); // the name of the next picture, to whoever listens
  const press = make("div", "psl-buttons", one);
  const nothing = make("div", "psl-nothing", root);
  const note = make("div", "psl-note", el);
  note.setAttribute("role", "status");

  let items = new Map(); // position -> {id, caption, marks, url, ready}
  let asked = new Set();
  let tiles = new Map(); // position -> node
  let generation = model.get("generation");
  let selected = -1; // a position
  let marked = new Set(); // ids
  let shown = null; // the item whose picture is on the screen in single mode
  let frame = 0;
  let focusing = false; // the keyboard is wanted here as soon as this is in sight
  const name = `psl-${crypto.getRandomValues(new Uint32Array(1))[0]}`;

  const count = () => model.get("count");
  const side = () => model.get("side");
  const single = () => model.get("single");
  const marking = () => model.get("marking");
  const columns = () => Math.max(1, Math.floor((root.clientWidth - GAP) / (side() + GAP)));
  const share = () => Math.floor((root.clientWidth - GAP) / columns()) - GAP; // a tile fills its share of the row
  const wide = () => Math.max(side() / 2, Math.min(2 * side(), share()));
  const rowHeight = () => wide() + model.get("lines") * 15 + 30 + GAP;

  function forget() {
    for (const item of items.values()) if (item.url) URL.revokeObjectURL(item.url);
    items = new Map();
    asked = new Set();
    for (const node of tiles.values()) node.remove();
    tiles = new Map();
    shown = null; // the old picture stays in sight, dimmed, until the next is there; no key or button is taken
    waits();
  }

  function waits() {
    one.classList.toggle("psl-waits", shown === null);
    for (const button of press.children) button.disabled = shown === null;
  }

  function buttons() {
    press.replaceChildren();
    for (const { key, label, tone } of model.get("buttons")) {
      const button = make("button", `psl-button psl-${tone || "plain"}`, press);
      button.type = "button";
      button.dataset.key = key;
      if (key.length === 1) make("kbd", "psl-key", button).textContent = key;
      make("span", "", button).textContent = label;
      button.addEventListener("click", () => {
        root.focus({ preventScroll: true });
        if (shown) model.send({ kind: "key", id: shown.id, key }); // the picture that is on the screen now
      });
    }
    waits();
  }

  function want(positions) {
    const missing = positions.filter((p) => p >= 0 && p < count() && !items.has(p) && !asked.has(p));
    if (!missing.length) return;
    missing.forEach((p) => asked.add(p));
    model.send({ kind: "want", generation, positions: missing, single: single() });
  }

  function badges(parent, item) {
    for (const [text, tone] of item.marks) make("span", `psl-badge psl-${tone}`, parent).textContent = text;
  }

  function fill(node, position) {
    const item = items.get(position);
    node.classList.toggle("psl-selected", position === selected);
    node.setAttribute("aria-selected", position === selected);
    if (!item) return;
    node.classList.toggle("psl-marked", marked.has(item.id));
    if (node.item === item) return;
    node.item = item;
    node.replaceChildren();
    node.dataset.id = item.id;
    const image = make("img", "psl-picture", node);
    image.alt = item.caption.split("\n")[0];
    image.onload = () => {
      item.ready = true;
      if (image.naturalWidth <= 96) image.classList.add("psl-crisp");
    };
    if (item.url) image.src = item.url;
    else image.classList.add("psl-broken");
    const text = make("div", "psl-caption", node);
    item.caption.split("\n").forEach((line, number) => {
      const row = make("div", number ? "psl-line" : "psl-line psl-first", text);
      row.textContent = line;
      row.title = line;
    });
    badges(make("div", "psl-badges", node), item);
  }

  function draw() {
    frame = 0;
    if (root.clientWidth < side() / 2) return; // hidden; whoever shows it again changes its size
    nothing.textContent = count() ? "" : model.get("empty");
    root.classList.toggle("psl-is-single", single());
    root.style.height = single() ? `min(${model.get("height")}px, 75vh)` : `${model.get("height")}px`;
    root.setAttribute("role", single() ? "group" : "listbox"); // a list has options, one picture has none
    root.setAttribute("aria-label", single() ? "one picture, answered by keys" : "pictures");
    if (focusing) focus();
    if (single()) return drawOne();
    root.setAttribute("aria-multiselectable", marking());
    const across = columns(), high = rowHeight(), width = wide();
    const rows = Math.ceil(count() / across);
    space.style.height = `${rows * high + GAP}px`;
    const first = Math.max(0, Math.floor(root.scrollTop / high) - AHEAD);
    const last = Math.min(rows, Math.ceil((root.scrollTop + root.clientHeight) / high) + AHEAD);
    const near = new Set();
    for (let p = first * across; p < Math.min(count(), last * across); p++) near.add(p);
    for (const [p, node] of tiles) if (!near.has(p)) (node.remove(), tiles.delete(p));
    for (const p of near) {
      let node = tiles.get(p);
      if (!node) {
        node = make("div", "psl-tile", space);
        node.setAttribute("role", "option");
        node.addEventListener("click", (event) => clicked(p, event));
        node.id = `${name}-${p}`;
        tiles.set(p, node);
      }
      node.style.width = `${width}px`;
      node.style.height = `${high - GAP}px`;
      node.style.transform = `translate(${GAP + (p % across) * (width + GAP)}px, ${GAP + Math.floor(p / across) * high}px)`;
      fill(node, p);
    }
    if (tiles.has(selected)) root.setAttribute("aria-activedescendant", `${name}-${selected}`);
    else root.removeAttribute("aria-activedescendant");
    want([...near]);
    if (items.size > KEPT) {
      for (const [p, item] of items) {
        if (items.size <= KEPT / 2) break;
        if (near.has(p)) continue;
        if (item.url) URL.revokeObjectURL(item.url);
        items.delete(p);
        asked.delete(p);
      }
    }
  }

  function appear(item) {
    shown = item;
    large.hidden = !item.url;
    large.alt = item.caption.split("\n")[0];
    large.classList.toggle("psl-crisp", large.naturalWidth <= 96);
    under.replaceChildren();
    item.caption.split("\n").forEach((line, number) => {
      make("div", number ? "psl-line" : "psl-first", under).textContent = line;
    });
    badges(make("div", "psl-badges", under), item);
    one.dataset.id = item.id;
    waits();
    model.send({ kind: "seen", id: item.id });
  }

  function drawOne() {
    if (!count()) {
      large.hidden = true;
      under.replaceChildren();
      delete one.dataset.id;
      return;
    }
    if (selected < 0) selected = 0;
    want([selected, selected + 1, selected - 1]);
    const item = items.get(selected);
    if (!item || item === shown) return;
    shown = null; // keys wait until the picture is really there
    waits();
    if (!item.url) return appear(item); // words without a picture
    large.onload = large.onerror = () => {
      if (items.get(selected) === item) appear(item);
    };
    large.src = item.url;
  }

  function later() {
    if (!frame) frame = requestAnimationFrame(draw);
  }

  function tell(kind, position, extra = {}) {
    const item = items.get(position);
    if (item) model.send({ kind, id: item.id, position, ...extra });
  }

  function select(position) {
    if (position < 0 || position >= count()) return;
    selected = position;
    if (!single()) {
      const top = Math.floor(position / columns()) * rowHeight();
      if (top < root.scrollTop) root.scrollTop = top;
      const over = top + rowHeight() + GAP - root.clientHeight;
      if (over > root.scrollTop) root.scrollTop = over;
    }
    tell("select", position);
    later();
  }

  function mark(position) {
    const item = items.get(position);
    if (!item) return;
    marked.has(item.id) ? marked.delete(item.id) : marked.add(item.id);
    model.send({ kind: "mark", id: item.id, on: marked.has(item.id) });
    later();
  }

  function click(position) {
    select(position);
    tell("click", position);
  }

  function clicked(position, event) {
    root.focus({ preventScroll: true });
    if (marking() && (event.ctrlKey || event.metaKey)) mark(position);
    else click(position);
  }

  function focus() {
    focusing = false;
    const now = document.activeElement, page = root.closest(".psl-page");
    if (now && now !== document.body && !page?.contains(now)) return; // somebody works elsewhere
    root.focus({ preventScroll: true });
    root.parentElement.scrollIntoView({ block: "nearest" });
  }

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return; // it is pressed
    const across = single() ? 1 : columns();
    const page = single() ? 1 : across * Math.max(1, Math.floor(root.clientHeight / rowHeight()));
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across, PageUp: -page, PageDown: page };
    const at = selected < 0 ? -1 : selected;
    if (event.key in steps) {
      const to = at < 0 ? 0 : at + steps[event.key];
      select(Math.min(Math.max(to, 0), count() - 1));
    } else if (event.key === "Home") select(0);
    else if (event.key === "End") select(count() - 1);
    else if (event.key === " " && at >= 0 && !single() && marking()) mark(at);
    else if ((event.key === "Enter" || event.key === " ") && at >= 0 && !single()) event.repeat || click(at);
    else if (event.key.length === 1 || event.key === "Backspace" || event.key === "Escape") {
      const item = single() ? shown : items.get(at);
      if (event.repeat || !item || (!single() && !item.ready)) return; // never for a picture nobody has seen yet
      model.send({ kind: "key", id: item.id, key: event.key });
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const onMessage = (message, buffers) => {
    if (message.kind === "pictures") {
      if (message.generation !== generation) return;
      message.items.forEach((item, number) => {
        const old = items.get(item.position);
        if (old?.url) URL.revokeObjectURL(old.url);
        asked.add(item.position);
        const view = buffers[number];
        items.set(item.position, { ...item, url: view.byteLength ? picture(view) : "", ready: false });
      });
      later();
    } else if (message.kind === "show") {
      selected = message.position;
      if (!single() && selected >= 0) {
        const top = Math.floor(selected / columns()) * rowHeight();
        if (top < root.scrollTop || top + rowHeight() > root.scrollTop + root.clientHeight) root.scrollTop = top;
      }
      later();
    } else if (message.kind === "marked") {
      marked = new Set(message.ids);
      later();
    } else if (message.kind === "note") {
      note.textContent = message.text;
      note.className = `psl-note psl-${message.tone}`;
      note.setAttribute("role", message.tone === "bad" ? "alert" : "status");
    } else if (message.kind === "focus") {
      focusing = true;
      later();
    }
  };

  const renewed = () => {
    generation = model.get("generation");
    forget();
    selected = -1;
    root.scrollTop = 0;
    later();
  };

  const redraw = () => {
    if (single() && shown === null) later();
    later();
  };
  model.on("msg:custom", onMessage);
  model.on("change:generation", renewed);
  for (const name of ["side", "height", "single", "empty", "lines", "marking"]) model.on(`change:${name}`, redraw);
  model.on("change:buttons", buttons);
  buttons();
  root.addEventListener("scroll", later, { passive: true });
  const watcher = new ResizeObserver(later);
  watcher.observe(root);
  model.send({ kind: "hello" });
  later();

  return () => {
    watcher.disconnect();
    model.off("msg:custom", onMessage);
    model.off("change:generation", renewed);
    model.off("change:buttons", buttons);
    forget();
  };
}

export default { render };
