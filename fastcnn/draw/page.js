"use strict";

// Strokes are lists of points in shares of the board's side, so that they outlive its size; `past` holds what Undo goes back to.
const PEN = 0.085; // width of a stroke: some 2.4 of the 20 pixels that a digit is scaled to, as in MNIST
const byId = (id) => document.getElementById(id);
const [board, seen, pen, undoButton, clearButton] = ["board", "seen", "pen", "undo", "clear"].map(byId);
let strokes = [];
let past = [];
let pointer = null; // the one that draws: its id
let network = null; // what /network.json tells
let last = null; // the last reading, to be painted again where the colours change

// --- The board ---------------------------------------------------------------------------------------------------------

function paintStrokes(context, side) {
  context.lineWidth = PEN * side;
  context.lineCap = context.lineJoin = "round";
  for (const stroke of strokes) {
    const points = stroke.map(([x, y]) => [x * side, y * side]);
    context.beginPath();
    context.moveTo(...points[0]);
    for (let i = 1; i < points.length - 1; i++) { // through the middles between points, so that corners of the hand are round
      const [x, y] = points[i];
      context.quadraticCurveTo(x, y, (x + points[i + 1][0]) / 2, (y + points[i + 1][1]) / 2);
    }
    context.lineTo(...points[points.length - 1]); // of a single point: a dot, by its round ends
    context.stroke();
  }
}

function paintBoard() {
  const side = Math.max(1, Math.round(board.clientWidth * devicePixelRatio));
  if (board.width !== side) board.width = board.height = side;
  const context = board.getContext("2d");
  context.clearRect(0, 0, side, side);
  context.strokeStyle = colour("--ink");
  paintStrokes(context, side);
}

function pixels(side) {
  const canvas = pixels.canvas ??= document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#000";
  context.fillRect(0, 0, side, side);
  context.strokeStyle = "#fff";
  paintStrokes(context, side);
  const rgba = context.getImageData(0, 0, side, side).data;
  return Uint8Array.from({ length: side * side }, (_, i) => rgba[4 * i]);
}

function changed() {
  const blank = strokes.length === 0;
  const held = document.activeElement;
  byId("hint").hidden = !blank;
  clearButton.disabled = blank;
  undoButton.disabled = past.length === 0;
  if (held?.disabled) board.focus({ preventScroll: true }); // a button that has nothing more to do
  requestAnimationFrame(paintBoard);
  read();
}

function remember() {
  past.push(strokes.map((stroke) => stroke));
  if (past.length > 500) past.shift();
}

function undo() {
  if (pointer !== null || past.length === 0) return;
  strokes = past.pop();
  keys.down = false;
  changed();
}

function clear() {
  if (pointer !== null || strokes.length === 0) return;
  remember(); // Undo brings it back
  strokes = [];
  keys.down = false;
  changed();
}

// --- Mouse, pen and finger ---------------------------------------------------------------------------------------------

function place(event) {
  const box = board.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
}

board.addEventListener("pointerdown", (event) => {
  if (pointer !== null || event.button !== 0) return;
  pointer = event.pointerId;
  board.setPointerCapture(pointer);
  remember();
  strokes.push([place(event)]);
  keys.down = false;
  pen.hidden = true;
  byKeys(false);
  changed();
});

board.addEventListener("pointermove", (event) => {
  if (event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents?.() ?? [];
  strokes[strokes.length - 1].push(...(events.length ? events : [event]).map(place));
  changed();
});

for (const kind of ["pointerup", "pointercancel"]) {
  board.addEventListener(kind, (event) => {
    if (event.pointerId === pointer) pointer = null;
  });
}

// --- Keys --------------------------------------------------------------------------------------------------------------

const keys = { x: 0.5, y: 0.3, down: false };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Show a ring around the board, and how to draw by keys: to those who use them. */
function byKeys(on) {
  document.body.classList.toggle("keyed", on);
}

function showPen() {
  byKeys(true);
  pen.hidden = false;
  pen.style.left = `${100 * keys.x}%`;
  pen.style.top = `${100 * keys.y}%`;
  pen.classList.toggle("down", keys.down);
}

board.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || pointer !== null) return;
  const arrow = ARROWS[event.key];
  if (arrow) {
    const step = event.shiftKey ? 0.01 : 0.03;
    keys.x = Math.min(1, Math.max(0, keys.x + arrow[0] * step));
    keys.y = Math.min(1, Math.max(0, keys.y + arrow[1] * step));
  }
  const toggled = event.key === " " && !event.repeat;
  if (toggled) keys.down = !keys.down;
  if (!arrow && event.key !== " ") return;
  event.preventDefault(); // the page stays where it is
  if (toggled && keys.down) {
    remember();
    strokes.push([]);
  }
  if (keys.down && (arrow || toggled)) {
    strokes[strokes.length - 1].push([keys.x, keys.y]);
    changed();
  }
  showPen();
});

board.addEventListener("focus", () => byKeys(board.matches(":focus-visible"))); // not by a click
board.addEventListener("blur", () => {
  byKeys(false);
  keys.down = false;
  pen.hidden = true;
});

document.addEventListener("keydown", (event) => {
  const command = (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey;
  if (event.key === "Escape") clear();
  else if (command && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
  }
});
undoButton.addEventListener("click", undo);
clearButton.addEventListener("click", clear);

// --- Reading: one request at a time, and after it one more where the drawing has changed meanwhile ----------------------

let busy = false;
let waiting = false;

async function read() {
  if (network === null) return;
  if (strokes.length === 0) {
    waiting = false;
    show(null);
    return;
  }
  if (busy) {
    waiting = true;
    return;
  }
  busy = true;
  try {
    do {
      waiting = false;
      const found = await asked("/read", {
        method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: pixels(network.side),
      });
      if (strokes.length) show(found);
      byId("failure").hidden = true;
    } while (waiting && strokes.length);
  } catch (error) {
    fail(error);
  } finally {
    busy = false;
  }
}

async function asked(path, options) {
  const answer = await fetch(path, options);
  if (!answer.ok) throw new Error((await answer.text()).trim());
  return answer.json();
}

function fail(error) {
  const away = error instanceof TypeError; // what fetch throws where nobody answers
  byId("failure").textContent = away ? "No answer: is `fastcnn draw` still running? Start it again, and draw on." : `Not read: ${error.message}`;
  byId("failure").hidden = false;
}

// --- What it makes of it -----------------------------------------------------------------------------------------------

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function rgb(name) {
  const number = parseInt(colour(name).slice(1).replace(/^(.)(.)(.)$/, "$1$1$2$2$3$3"), 16);
  return [number >> 16, (number >> 8) & 255, number & 255];
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** Paint values 0..255 as that much of a colour over the paper. */
function paint(canvas, values, [red, green, blue]) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; i++) image.data.set([red, green, blue, values ? values[i] : 0], 4 * i);
  context.putImageData(image, 0, 0);
}

function percent(share) {
  if (share >= 0.9995 && share < 1) return "> 99.9 %";
  return share > 0 && share < 0.0005 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

function show(reading) {
  last = reading;
  document.body.classList.toggle("empty", reading === null);
  const shares = reading?.probabilities ?? network.classes.map(() => 0);
  const best = shares.indexOf(Math.max(...shares));
  byId("digit").textContent = reading ? network.classes[best] : "–";
  byId("share").textContent = reading ? percent(shares[best]) : "\u00a0";
  byId("bars").querySelectorAll("li").forEach((row, i) => {
    row.classList.toggle("best", reading !== null && i === best);
    row.querySelector("i").style.setProperty("--share", `${100 * shares[i]}%`);
    row.querySelector(".value").textContent = reading ? percent(shares[i]) : "";
    row.querySelector(".bar").setAttribute("aria-valuenow", (100 * shares[i]).toFixed(1));
  });
  byId("speed").textContent = reading ? `Read in ${reading.milliseconds.toFixed(1)} ms` : "\u00a0";
  paintReading();
  announce(reading ? `Read as ${network.classes[best]}, ${percent(shares[best])}` : "");
}

function paintReading() {
  paint(seen, last && bytes(last.image), rgb("--ink"));
  const accent = rgb("--c0");
  document.querySelectorAll(".maps").forEach((maps, layer) => {
    const values = last && bytes(last.maps[layer]);
    maps.querySelectorAll("canvas").forEach((canvas, i) => {
      const size = canvas.width * canvas.height;
      paint(canvas, values && values.subarray(i * size, (i + 1) * size), accent);
    });
  });
}

/** Tell a screen reader, once the hand rests. */
function announce(text) {
  clearTimeout(announce.timer);
  announce.timer = setTimeout(() => { byId("live").textContent = text; }, 700);
}

// --- The page of this network ------------------------------------------------------------------------------------------

function element(kind, className, text = "") {
  const made = document.createElement(kind);
  made.className = className;
  made.textContent = text;
  return made;
}

function lay(about) {
  const accuracy = about.accuracy === null ? "" : `: ${(100 * about.accuracy).toFixed(2)}\u00a0% of its test images right`;
  byId("source").textContent = about.source + accuracy;
  if (about.dataset === "digits") {
    byId("notice").textContent =
      "Trained on scikit-learn's small digits, this network sees 8\u00a0×\u00a08 pixels, and errs more often than one trained on MNIST.";
    byId("notice").hidden = false;
  }
  seen.width = seen.height = about.size;
  byId("seen-name").textContent = `What it sees, ${about.size}\u00a0×\u00a0${about.size}`;
  for (const name of about.classes) {
    const row = element("li", "");
    const bar = element("div", "bar");
    bar.setAttribute("role", "meter");
    bar.setAttribute("aria-label", `Probability of ${name}, in percent`);
    bar.setAttribute("aria-valuemin", "0");
    bar.setAttribute("aria-valuemax", "100");
    bar.append(document.createElement("i"));
    row.append(element("span", "name", name), bar, element("span", "value"));
    byId("bars").append(row);
  }
  about.maps.forEach(({ name, shape: [channels, height, width] }, i) => {
    const layer = element("div", "layer");
    const title = element("h2", "", `Convolution ${i + 1}`);
    title.append(element("small", "", `${channels} feature maps of ${height}\u00a0×\u00a0${width}`));
    title.title = name;
    const maps = element("div", "maps");
    for (let map = 0; map < channels; map++) {
      const canvas = document.createElement("canvas");
      canvas.width = width;
      canvas.height = height;
      maps.append(canvas);
    }
    layer.append(title, maps);
    byId("layers").append(layer);
  });
}

async function begin() {
  new ResizeObserver(paintBoard).observe(board);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    paintBoard();
    if (network) paintReading();
  });
  try {
    network = await asked("/network.json");
  } catch (error) {
    fail(error);
    return;
  }
  lay(network);
  show(null);
  read(); // what was drawn meanwhile
}

begin();
