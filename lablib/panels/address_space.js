// An address space to scale, from all of it down to a page, beside a table of its regions.
//
// High addresses are at the top. Traits from the kernel: `regions` (each with the words for it),
// `changes` (what has become different since: regions that are `new`, and where those that are `gone`
// began), `styles`, `span` (all addresses), `pages` (cells of `view`: percent in memory). Traits to
// the kernel: `view` (the addresses that are shown to scale) and `selected` (where a region starts).

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 330, HEIGHT = 440, TOP = 22, LANE_WIDTH = 34;
const OVERVIEW = { left: 4, width: 26 }, STRIP = { left: 84, width: 196 };
const LANE_LEFT = STRIP.left + STRIP.width + 10;
const THINNEST = 2, TEXT_HEIGHT = 14, UNKNOWN = 255, ZOOM_MS = 700;
const INK = "#333333";

function make(tag, attributes = {}, text = "", space = null) {
  const element = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  return element;
}

function drawInto(parent, tag, attributes, text = "") {
  return parent.appendChild(make(tag, attributes, text, SVG));
}

function fitText(long, short) {
  const fits = (text) => text.length * 8.6 < STRIP.width;
  return fits(long) ? long : fits(short) ? short : `${short.slice(0, STRIP.width / 8.6 - 1)}\u2026`;
}

function formatSize(bytes) {
  const units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  for (; bytes >= 1023.95 && power < 4; power++) bytes /= 1024;
  return `${Number(bytes.toFixed(power ? 1 : 0)).toLocaleString("en")} ${units[power]}`;
}

// The hatches, as in the figures that stay; the names are those of palette.HATCHES.
function definePattern(defs, id, style) {
  const pattern = drawInto(defs, "pattern",
    { id, width: 8, height: 8, patternUnits: "userSpaceOnUse" });
  drawInto(pattern, "rect", { width: 8, height: 8, fill: style.color });
  const light = style.color === "#000000" ? "#ffffff" : INK;
  const lines = { stripes: "M-2,2 2,-2 M0,8 8,0 M6,10 10,6", back_stripes: "M6,-2 10,2 M0,0 8,8 M-2,6 2,10" };
  const path = { ...lines, crosses: lines.stripes + lines.back_stripes }[style.hatch];
  if (path) drawInto(pattern, "path", { d: path, stroke: light, "stroke-width": 1.2 });
  if (style.hatch === "dots") drawInto(pattern, "circle", { cx: 4, cy: 4, r: 1.4, fill: light });
}

function render({ model, el }) {
  // A text of `texts` in the reader's language, with its {fields} filled in.
  const say = (text, fields = {}) =>
    (model.get("texts")[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => fields[name]);
  const prefix = `lab-${Math.random().toString(36).slice(2)}-`;
  const root = el.appendChild(make("div", { class: "lab-space" }));
  const bar = root.appendChild(make("div", { class: "lab-bar", role: "toolbar", "aria-label": say("Zoom") }));
  const shown = make("span", { role: "status" });
  const columns = root.appendChild(make("div", { class: "lab-columns" }));
  const svg = columns.appendChild(make("svg",
    { width: WIDTH, height: HEIGHT + TOP + 20, role: "img" }, "", SVG));
  const defs = drawInto(svg, "defs", {});
  const drawing = drawInto(svg, "g", { transform: `translate(0, ${TOP})` });
  const frame = columns.appendChild(make("div", { class: "lab-table" }));
  const table = frame.appendChild(make("table"));
  table.appendChild(make("caption", {}, say("Regions, high addresses first")));
  const head = table.appendChild(make("thead")).appendChild(make("tr"));
  for (const title of ["region", "from", "permissions", "size", "resident"])
    head.appendChild(make("th", { scope: "col" }, say(title)));
  const body = table.appendChild(make("tbody"));
  const detail = root.appendChild(make("div", { class: "lab-detail", role: "status" }));

  let view = [...model.get("view")], target = view;
  let moving = 0;
  for (const [kind, style] of Object.entries(model.get("styles")))
    definePattern(defs, prefix + kind, style);

  let merged = merge();
  const regions = () => merged;
  const selected = () => regions().find((region) => region.start === model.get("selected"));
  const heightOf = (address) => HEIGHT * (1 - (address - view[0]) / (view[1] - view[0]));

  function merge() {
    const changes = model.get("changes"), fresh = changes.new;
    const replaced = new Set([...changes.gone, ...fresh.map((region) => region.start)]);
    const kept = model.get("regions").filter((region) => !replaced.has(region.start));
    return [...kept, ...fresh].sort((one, other) => one.start - other.start);
  }

  // What is shown to scale.

  function clamp([start, end]) {
    const span = model.get("span"), page = model.get("page_bytes");
    const size = Math.min(span, Math.max(page, end - start));
    const first = Math.min(span - size, Math.max(0, (start + end - size) / 2));
    // Near the end of the way down the pages fill the view from edge to edge.
    const step = size < 16 * page ? page : 1;
    const low = Math.round(first / step) * step;
    return [low, low + Math.round(size / step) * step];
  }

  function show(wanted) {
    const from = [...view], to = clamp(wanted), began = performance.now(), mine = ++moving;
    target = to;
    model.set("view", to);
    model.save_changes();
    const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    const step = (now) => {
      if (mine !== moving) return;
      const done = still ? 1 : Math.min(1, (now - began) / ZOOM_MS);
      const eased = done * done * (3 - 2 * done);
      const before = from[1] - from[0], after = to[1] - to[0];
      const size = before * (after / before) ** eased;
      // So that what both views show stays on the screen while the scale changes by powers of ten.
      const share = before === after ? eased : (size - before) / (after - before);
      const start = from[0] + (to[0] - from[0]) * share;
      view = done === 1 ? to : [start, start + size];
      draw();
      if (done < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  function zoom(factor) {
    const region = selected();
    const isInside = region && region.start < view[1] && region.end > view[0];
    const middle = isInside ? (Math.max(region.start, view[0]) + Math.min(region.end, view[1])) / 2
      : (view[0] + view[1]) / 2;
    const size = (view[1] - view[0]) * factor;
    show([middle - size / 2, middle + size / 2]);
  }

  function zoomTo(region) {
    const margin = Math.max(model.get("page_bytes") / 2, (region.end - region.start) * 0.06);
    show([region.start - margin, region.end + margin]);
  }

  function select(region) {
    model.set("selected", region.start);
    model.save_changes();
  }

  const move = (part) => {
    const by = (view[1] - view[0]) * part;
    show([view[0] + by, view[1] + by]);
  };
  const actions = [
    ["Show all", "Show all addresses", () => show([0, model.get("span")])],
    ["Zoom to region", "Zoom to the selected region", () => selected() && zoomTo(selected())],
    ["+", "Zoom in", () => zoom(1 / 4)],
    ["\u2212", "Zoom out", () => zoom(4)],
    ["\u25b2", "Move up, to higher addresses", () => move(0.5)],
    ["\u25bc", "Move down, to lower addresses", () => move(-0.5)],
  ];
  for (const [label, told, act] of actions) {
    const title = say(told);
    const button = make("button", { type: "button", title, "aria-label": title }, say(label));
    button.addEventListener("click", act);
    bar.appendChild(button);
  }
  bar.appendChild(shown);

  // The drawing.

  function draw() {
    drawing.replaceChildren();
    const [start, end] = view;
    drawOverview();
    drawInto(drawing, "rect", { x: STRIP.left, y: 0, width: STRIP.width, height: HEIGHT, class: "lab-empty" });
    drawGaps();
    for (const region of regions())
      if (region.end > start && region.start < end) drawRegion(region);
    drawPages();
    const middle = STRIP.left + STRIP.width / 2;
    for (const [address, y] of [[end, -6], [start, HEIGHT + 14]])
      drawInto(drawing, "text", { x: middle, y, class: "lab-address" }, `0x${address.toString(16).split(".")[0]}`);
    drawInto(drawing, "text", { x: LANE_LEFT + LANE_WIDTH / 2, y: -6, class: "lab-middle" }, say("in RAM"));
    const size = formatSize(end - start), all = formatSize(model.get("span"));
    shown.textContent = end - start === model.get("span") ? say("all {all} to scale", { all })
      : say("{size} of {all} to scale", { size, all });
    svg.setAttribute("aria-label", say("{shown}. The table has the same regions in words.", { shown: shown.textContent }));
  }

  function drawOverview() {
    const span = model.get("span"), scale = (address) => HEIGHT * (1 - address / span);
    const { left, width } = OVERVIEW;
    drawInto(drawing, "rect", { x: left, y: 0, width, height: HEIGHT, class: "lab-empty" });
    for (const region of regions()) {
      const y = scale(region.end), height = Math.max(1.5, scale(region.start) - y);
      drawInto(drawing, "rect", { x: left, y, width, height, fill: model.get("styles")[region.kind].color });
    }
    const high = scale(view[1]), low = Math.max(high + 1, scale(view[0]));
    drawInto(drawing, "rect", { x: left - 2, y: high - 1, width: width + 4, height: low - high + 2, class: "lab-window" });
    for (const [from, to] of [[high, 0], [low, HEIGHT]])
      drawInto(drawing, "line", { x1: left + width + 2, y1: from, x2: STRIP.left, y2: to, class: "lab-leader" });
    drawInto(drawing, "text", { x: 0, y: -6 }, formatSize(span));
    drawInto(drawing, "text", { x: left, y: HEIGHT + 14 }, "0");
  }

  function drawRegion(region) {
    const high = Math.max(0, heightOf(region.end)), low = Math.min(HEIGHT, heightOf(region.start));
    const height = Math.max(THINNEST, low - high);
    const y = Math.min(high, HEIGHT - height);
    const isSelected = region.start === model.get("selected");
    drawInto(drawing, "rect", {
      x: STRIP.left, y, width: STRIP.width, height, fill: `url(#${prefix}${region.kind})`,
      class: isSelected ? "lab-selected" : "lab-region",
    });
    if (low - high >= TEXT_HEIGHT) {
      const at = (low + high) / 2;
      drawInto(drawing, "text", { x: STRIP.left + 6, y: at + 4, class: "lab-name" }, fitText(`${region.label}, ${region.size}`, region.label));
    }
    if (!model.get("pages").cells && high < low) drawShare(region.share, high, low, "lab-average");
  }

  function drawGaps() {
    let below = 0;
    for (const region of [...regions(), { start: model.get("span"), end: 0 }]) {
      const high = Math.max(0, heightOf(region.start)), low = Math.min(HEIGHT, heightOf(below));
      if (low - high >= TEXT_HEIGHT)
        drawInto(drawing, "text", { x: STRIP.left + STRIP.width / 2, y: (low + high) / 2 + 4, class: "lab-gap" },
          say("{size} not mapped", { size: formatSize(region.start - below) }));
      below = region.end;
    }
  }

  function drawShare(share, high, low, name) {
    if (share > 0)
      drawInto(drawing, "rect", { x: LANE_LEFT, y: high, width: LANE_WIDTH * share, height: Math.max(1, low - high), class: name });
  }

  // One cell for each page, or for several: as wide as the share of it that is in memory.
  function drawPages() {
    const pages = model.get("pages");
    drawInto(drawing, "rect", { x: LANE_LEFT, y: 0, width: LANE_WIDTH, height: HEIGHT, class: "lab-lane" });
    if (!pages.cells) return;
    const cells = new Uint8Array(pages.cells.buffer ?? pages.cells, pages.cells.byteOffset ?? 0, pages.cells.byteLength);
    let full = "", borders = "";
    cells.forEach((percent, index) => {
      const low = heightOf(pages.start + index * pages.cell_bytes);
      const high = heightOf(pages.start + (index + 1) * pages.cell_bytes);
      if (percent === UNKNOWN || low < 0 || high > HEIGHT) return;
      const top = Math.max(0, high), bottom = Math.min(HEIGHT, low);
      if (percent) full += `M${LANE_LEFT},${top}h${LANE_WIDTH * percent / 100}V${bottom}H${LANE_LEFT}z`;
      if (low - high >= 3) borders += `M${LANE_LEFT},${top}h${LANE_WIDTH}V${bottom}H${LANE_LEFT}z`;
    });
    drawInto(drawing, "path", { d: full, class: "lab-page" });
    drawInto(drawing, "path", { d: borders, class: "lab-border" });
  }

  // The table: rows are kept, so that a click is not lost when the numbers change under it.

  function fill() {
    const all = [...regions()].reverse();
    while (body.rows.length > all.length) body.deleteRow(-1);
    while (body.rows.length < all.length) addRow();
    all.forEach((region, index) => {
      const row = body.rows[index];
      const isSelected = region.start === model.get("selected");
      row.setAttribute("aria-selected", isSelected);
      row.tabIndex = isSelected || (!selected() && index === 0) ? 0 : -1;
      row.dataset.start = region.start;
      const [swatch, name] = row.cells[0].children;
      swatch.firstChild.setAttribute("fill", `url(#${prefix}${region.kind})`);
      const texts = [[name, region.label], [row.cells[1], `0x${region.start.toString(16)}`],
        [row.cells[2], region.permissions], [row.cells[3], region.size], [row.cells[4], region.resident]];
      for (const [cell, text] of texts) if (cell.textContent !== text) cell.textContent = text;
      row.cells[4].style.setProperty("--share", `${region.share * 100}%`);
    });
    const region = selected();
    detail.textContent = region ? region.words
      : say("Choose a region in the drawing or in the table; Enter or a double click zooms to it.");
  }

  function addRow() {
    const row = body.insertRow();
    const name = row.insertCell();
    const swatch = name.appendChild(make("svg", { width: 14, height: 14, "aria-hidden": "true" }, "", SVG));
    drawInto(swatch, "rect", { x: 1, y: 1, width: 12, height: 12, class: "lab-region" });
    name.appendChild(make("span"));
    for (let cell = 0; cell < 4; cell++) row.insertCell();
  }

  const regionOf = (row) => regions().find((region) => region.start === Number(row?.dataset.start));
  const withRow = (act) => (event) => {
    const region = regionOf(event.target.closest("tbody tr"));
    if (region) act(region);
  };
  body.addEventListener("click", withRow(select));
  body.addEventListener("dblclick", withRow(zoomTo));
  body.addEventListener("mouseover", withRow((region) => { detail.textContent = region.words; }));
  body.addEventListener("mouseleave", fill);
  body.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    const other = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (other) { select(regionOf(other)); other.focus(); }
    else if (event.key === "Enter") zoomTo(regionOf(row));
    else if (event.key === "Escape") show([0, model.get("span")]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // The region under the pointer, or the nearest within a few lines of the screen.
  function regionAt(event) {
    const y = event.clientY - svg.getBoundingClientRect().top - TOP;
    const distance = (region) => Math.max(0, y - heightOf(region.start), heightOf(region.end) - y);
    const near = regions().filter((region) => distance(region) <= 4);
    return near.sort((one, other) => distance(one) - distance(other))[0];
  }

  svg.addEventListener("click", (event) => { const region = regionAt(event); if (region) select(region); });
  svg.addEventListener("dblclick", (event) => { const region = regionAt(event); if (region) zoomTo(region); });
  svg.addEventListener("mousemove", (event) => {
    const region = regionAt(event);
    detail.textContent = (region ?? selected())?.words ?? say("Not mapped: to touch it ends the program.");
  });
  svg.addEventListener("mouseleave", fill);

  const redraw = () => { fill(); draw(); };
  const follow = () => { if (`${model.get("view")}` !== `${target}`) show(model.get("view")); };
  model.on("change:regions change:changes", () => { merged = merge(); redraw(); });
  model.on("change:selected", redraw);
  model.on("change:pages", draw);
  model.on("change:view", follow);
  redraw();
  return () => { moving = -1; };
}

export default { render };
