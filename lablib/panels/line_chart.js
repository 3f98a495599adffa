// Lines that move along a common x axis: the newest point is at the right edge.
//
// Traits from the kernel: `points` (rows of 32-bit floats: x, then a number for each line, NaN where
// it is not known), `lines` (name, color, dashes of each), `x_label`, `y_label`.

const HEIGHT = 340, TOP = 10, BOTTOM = 46, LEFT = 76, RIGHT = 24, GRID = "#dddddd", INK = "#333333";
const DASHES = { solid: [], dashed: [14, 9], dotted: [3, 5] };

// A step of 1, 2 or 5 times a power of ten, so that `span` has at most `count` of them.
function chooseStep(span, count) {
  const power = 10 ** Math.floor(Math.log10(span / count));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => span / step <= count);
}

function listTicks(low, high, count) {
  if (!(high > low)) return [low];
  const step = chooseStep(high - low, count), first = Math.ceil(low / step - 1e-9);
  const ticks = [];
  for (let number = first; number * step <= high * (1 + 1e-9); number++) ticks.push(number * step || 0);
  return ticks;
}

const format = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });

function render({ model, el }) {
  const root = el.appendChild(document.createElement("div"));
  root.className = "lab-lines";
  const canvas = root.appendChild(document.createElement("canvas"));
  canvas.setAttribute("role", "img");
  const context = canvas.getContext("2d");
  let top = 0, asked = 0;

  function unpack() {
    const view = model.get("points"), columns = model.get("lines").length + 1;
    const all = new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
    return { all, columns, rows: Math.floor(all.length / columns) };
  }

  // Room above the largest number; in steps, so that the chart doesn't breathe.
  function fitTop({ all, columns }) {
    let largest = 0;
    all.forEach((value, place) => { if (place % columns && value > largest) largest = value; });
    const needed = 1.05 * largest || 1;
    if (!(needed <= top && top <= 2 * needed)) top = 1.2 * needed;
  }

  function draw() {
    asked = 0;
    const points = unpack(), { all, columns, rows } = points;
    fitTop(points);
    const width = Math.max(400, root.clientWidth || 900), ratio = window.devicePixelRatio || 1;
    if (canvas.width !== width * ratio) {
      Object.assign(canvas, { width: width * ratio, height: HEIGHT * ratio });
      Object.assign(canvas.style, { width: `${width}px`, height: `${HEIGHT}px` });
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, HEIGHT);
    const first = rows ? all[0] : 0, last = rows ? all[(rows - 1) * columns] : 1;
    const right = width - RIGHT, bottom = HEIGHT - BOTTOM;
    const xOf = (x) => LEFT + (right - LEFT) * (last > first ? (x - first) / (last - first) : 1);
    const yOf = (y) => bottom - (bottom - TOP) * y / top;
    drawAxes({ first, last, right, bottom, xOf, yOf });
    model.get("lines").forEach((line, index) => drawLine(line, index + 1, points, xOf, yOf));
    const words = `Lines from ${first.toFixed(1)} to ${last.toFixed(1)}: ${model.get("x_label")}`;
    canvas.setAttribute("aria-label", words);
  }

  function drawAxes({ first, last, right, bottom, xOf, yOf }) {
    const style = getComputedStyle(root);
    Object.assign(context, { fillStyle: style.color, strokeStyle: GRID, lineWidth: 1 });
    context.font = `${style.fontSize} ${style.fontFamily}`;
    context.setLineDash([]);
    context.textAlign = "right";
    for (const tick of listTicks(0, top, 6)) {
      context.beginPath(); context.moveTo(LEFT, yOf(tick)); context.lineTo(right, yOf(tick)); context.stroke();
      context.fillText(format(tick), LEFT - 8, yOf(tick) + 5);
    }
    context.textAlign = "center";
    for (const tick of listTicks(first, last, 8)) context.fillText(format(tick), xOf(tick), bottom + 20);
    context.fillText(model.get("x_label"), (LEFT + right) / 2, HEIGHT - 6);
    context.save();
    context.translate(16, (TOP + bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText(model.get("y_label"), 0, 0);
    context.restore();
    context.strokeStyle = INK;
    context.beginPath(); context.moveTo(LEFT, TOP); context.lineTo(LEFT, bottom); context.lineTo(right, bottom); context.stroke();
  }

  // Where a number is not known it stays as it was, so that nothing seems to move before it has.
  function drawLine({ color, dashes }, column, { all, columns, rows }, xOf, yOf) {
    Object.assign(context, { strokeStyle: color, lineWidth: 3, lineJoin: "round" });
    context.setLineDash(DASHES[dashes]);
    context.beginPath();
    let held = NaN;
    for (let row = 0; row < rows; row++) {
      const value = all[row * columns + column];
      if (!Number.isNaN(value)) held = value;
      if (!Number.isNaN(held)) context.lineTo(xOf(all[row * columns]), yOf(held));
    }
    context.stroke();
  }

  const redraw = () => { asked ||= requestAnimationFrame(draw); };
  model.on("change:points change:lines", redraw);
  const watcher = new ResizeObserver(redraw);
  watcher.observe(root);
  draw();
  return () => { watcher.disconnect(); cancelAnimationFrame(asked); };
}

export default { render };
