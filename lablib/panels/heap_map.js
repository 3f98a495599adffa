// The blocks of a heap along its addresses, like the lines of a text: low ones at the top left.
//
// Traits from the kernel: `first` (the address of the first block), `sizes` (bytes of each block as
// unsigned 32-bit numbers), `states` (a number each, into `state_names`), `styles`, `row_bytes`.

const LEFT = 120, TOP = 4, BOTTOM = 20, RIGHT = 8, ROOM = 400, INK = "#333333";

function makeHatch(context, style) {
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const brush = tile.getContext("2d");
  brush.fillStyle = style.color;
  brush.fillRect(0, 0, 8, 8);
  brush.strokeStyle = brush.fillStyle = INK;
  const line = (...points) => { brush.beginPath(); brush.moveTo(points[0], points[1]); brush.lineTo(points[2], points[3]); brush.stroke(); };
  if (["stripes", "crosses"].includes(style.hatch)) { line(0, 8, 8, 0); line(-2, 2, 2, -2); line(6, 10, 10, 6); }
  if (["back_stripes", "crosses"].includes(style.hatch)) { line(0, 0, 8, 8); line(-2, 6, 2, 10); line(6, -2, 10, 2); }
  if (style.hatch === "dots") brush.fillRect(3, 3, 2, 2);
  return context.createPattern(tile, "repeat");
}

function render({ model, el }) {
  // A text of `texts` in the reader's language, with its {fields} filled in.
  const say = (text, fields = {}) =>
    (model.get("texts")[text] ?? text).replace(/\{(\w+)\}/g, (_, name) => fields[name]);
  const root = el.appendChild(document.createElement("div"));
  root.className = "lab-heap";
  const canvas = root.appendChild(document.createElement("canvas"));
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  const detail = root.appendChild(document.createElement("div"));
  detail.className = "lab-detail";
  detail.setAttribute("role", "status");
  const hint = say("Point at a block, or walk through them with the arrow keys.");
  detail.textContent = hint;

  const context = canvas.getContext("2d");
  const names = model.get("state_names"), styles = model.get("styles");
  const hatches = names.map((name) => makeHatch(context, styles[name]));
  let offsets = [0], sizes = [], states = [], chosen = -1;

  function unpack() {
    const read = (name, Kind) => {
      const view = model.get(name);
      return new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
    };
    sizes = read("sizes", Uint32Array);
    states = read("states", Uint8Array);
    offsets = new Float64Array(sizes.length + 1);
    sizes.forEach((size, index) => { offsets[index + 1] = offsets[index] + size; });
    if (chosen >= sizes.length) chosen = -1;
  }

  // Lines begin at multiples of their length, as pages do.
  const lead = () => model.get("first") % model.get("row_bytes");
  const countRows = () => Math.max(1, Math.ceil((lead() + offsets[sizes.length]) / model.get("row_bytes")));
  const rowHeight = () => Math.min(22, ROOM / countRows());

  function draw() {
    const width = Math.max(400, root.clientWidth || 900), rows = countRows(), height = rowHeight();
    const ratio = window.devicePixelRatio || 1, whole = TOP + rows * height + BOTTOM;
    Object.assign(canvas, { width: width * ratio, height: whole * ratio });
    Object.assign(canvas.style, { width: `${width}px`, height: `${whole}px` });
    context.scale(ratio, ratio);
    for (let index = 0; index < sizes.length; index++) drawBlock(index, width, height);
    if (chosen >= 0) drawBlock(chosen, width, height, true);
    drawAxes(width, height, rows);
  }

  function drawBlock(index, width, height, isChosen = false) {
    const rowBytes = model.get("row_bytes"), scale = (width - LEFT - RIGHT) / rowBytes;
    const end = lead() + offsets[index + 1];
    for (let at = lead() + offsets[index]; at < end;) {
      const row = Math.floor(at / rowBytes), length = Math.min(end, (row + 1) * rowBytes) - at;
      const x = LEFT + (at - row * rowBytes) * scale, y = TOP + row * height + 1;
      context.fillStyle = hatches[states[index]];
      context.fillRect(x, y, length * scale, height - 2);
      if (isChosen || length * scale > 4) {
        context.strokeStyle = isChosen ? "#000000" : INK;
        context.lineWidth = isChosen ? 3 : 0.7;
        context.strokeRect(x, y, length * scale, height - 2);
      }
      at += length;
    }
  }

  function drawAxes(width, height, rows) {
    const rowBytes = model.get("row_bytes"), first = model.get("first") - lead();
    const style = getComputedStyle(root);
    context.fillStyle = style.color;
    context.font = `12px ${style.getPropertyValue("--jp-code-font-family") || "monospace"}`;
    const every = Math.ceil(14 / height);
    for (let row = 0; row < rows; row += every)
      context.fillText(`0x${(first + row * rowBytes).toString(16)}`, 0, TOP + (row + 0.5) * height + 4);
    const bytes = rowBytes >= 1 << 20 ? `${rowBytes / (1 << 20)} MiB` : `${rowBytes / 1024} KiB`;
    const line = rowBytes === 4096 ? "a line is {bytes}, one page" : "a line is {bytes}";
    context.fillText(say(line, { bytes }), LEFT, TOP + rows * height + 15);
  }

  function tell(index) {
    if (index < 0 || index >= sizes.length) { detail.textContent = hint; return; }
    const address = model.get("first") + offsets[index];
    detail.textContent = say("Block {number} of {count}, {state}: {size} bytes with its header, {start} to {end}", {
      number: (index + 1).toLocaleString("en"),
      count: sizes.length.toLocaleString("en"),
      state: styles[names[states[index]]].label,
      size: sizes[index].toLocaleString("en"),
      start: `0x${address.toString(16)}`,
      end: `0x${(address + sizes[index]).toString(16)}`,
    });
  }

  function findBlock(event) {
    const box = canvas.getBoundingClientRect(), rowBytes = model.get("row_bytes");
    const row = Math.floor((event.clientY - box.top - TOP) / rowHeight());
    const across = (event.clientX - box.left - LEFT) / (box.width - LEFT - RIGHT);
    const offset = (row + across) * rowBytes - lead();
    if (across < 0 || across > 1 || offset < 0 || offset >= offsets[sizes.length]) return -1;
    let low = 0, high = sizes.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (offsets[middle] <= offset) low = middle; else high = middle - 1;
    }
    return low;
  }

  function choose(index) { chosen = index; tell(index); draw(); }

  canvas.addEventListener("mousemove", (event) => tell(findBlock(event)));
  canvas.addEventListener("mouseleave", () => tell(chosen));
  canvas.addEventListener("click", (event) => choose(findBlock(event)));
  canvas.addEventListener("keydown", (event) => {
    const last = sizes.length - 1;
    const next = { ArrowRight: chosen + 1, ArrowDown: chosen + 1, ArrowLeft: chosen - 1, ArrowUp: chosen - 1,
      Home: 0, End: last }[event.key];
    if (next === undefined) return;
    choose(Math.max(0, Math.min(last, next)));
    event.preventDefault();
    event.stopPropagation();
  });

  const update = () => {
    unpack();
    canvas.setAttribute("aria-label", model.get("words"));
    tell(chosen);
    draw();
  };
  model.on("change:sizes change:states change:first change:row_bytes", update);
  const watcher = new ResizeObserver(draw);
  watcher.observe(root);
  update();
  return () => watcher.disconnect();
}

export default { render };
