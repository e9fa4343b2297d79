// The square that the model sees: drawn on the whole image, moved and zoomed by the user.

import { find } from "./dom.js";

// Largest zoom, and the side length of the smallest square, pixels.
const mostZoom = 8;
const smallest = 8;
// What a key does: a part of the square to move by, or a factor of the zoom.
const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const zooms = { "+": 1.1, "=": 1.1, "-": 1 / 1.1 };
const step = 0.05;

// Whole image, its width, height and default square; and the square that is drawn.
let preview = null;
let square = null;
const pointers = new Map();

const isOpen = () => !find("crop-tools").hidden;
const shortSide = () => Math.min(preview.width, preview.height);

// Place the square on a view, an element that holds the whole image and the square.
export function placeSquare(view, { width, height }, [left, top, size]) {
  const { style } = view.querySelector(".square");
  style.left = `${(100 * left) / width}%`;
  style.top = `${(100 * top) / height}%`;
  style.width = `${(100 * size) / width}%`;
  style.height = `${(100 * size) / height}%`;
}

// The square nearest to the wanted one that is neither too small nor beyond the image.
export function limitSquare([left, top, size], { width, height }) {
  const short = Math.min(width, height);
  const fits = Math.min(Math.max(size, smallest, short / mostZoom), short);
  const shift = (size - fits) / 2;
  const inside = (start, end) => Math.min(Math.max(start + shift, 0), end - fits);
  return [inside(left, width), inside(top, height), fits];
}

function draw(wanted) {
  square = limitSquare(wanted, preview);
  const [left, top, size] = square;
  placeSquare(find("crop-view"), preview, square);
  const { style } = find("peek");
  style.width = `${(100 * preview.width) / size}%`;
  style.left = `${(-100 * left) / size}%`;
  style.top = `${(-100 * top) / size}%`;
  find("crop-zoom").value = shortSide() / size;
  const numbers = square.map((value) => Math.round(value).toLocaleString("en"));
  find("crop-state").textContent =
    `${numbers[2]} pixels wide, ${numbers[0]} from the left, ${numbers[1]} from the top`;
}

const move = (x, y) => draw([square[0] + x, square[1] + y, square[2]]);

function zoom(factor) {
  const [left, top, size] = square;
  const shift = (size - size / factor) / 2;
  draw([left + shift, top + shift, size / factor]);
}

function open(isOpened) {
  find("crop-tools").hidden = !isOpened;
  find("crop-open").setAttribute("aria-expanded", String(isOpened));
  find("crop-view").classList.toggle("open", isOpened);
  find("square").tabIndex = isOpened ? 0 : -1;
}

// Show a whole image and the square of it that was classified; null for the default one.
export function showCrop(shown, chosen) {
  preview = shown;
  find("whole").src = find("peek").src = preview.image;
  // So that a tall image is no higher than the screen.
  find("crop-view").style.maxWidth = `${(24 * preview.width) / preview.height}rem`;
  find("crop-zoom").max = Math.min(mostZoom, shortSide() / smallest);
  open(false);
  draw(chosen ?? preview.square);
  find("crop-note").textContent = chosen ? "the square that you chose" : "the bright square";
}

// Call `ask` with the square when the user wants it classified; null for the default one.
export function onAsk(ask) {
  find("crop-ask").addEventListener("click", () => ask(square));
  find("crop-default").addEventListener("click", () => ask(null));
}

find("crop-open").addEventListener("click", () => {
  open(!isOpen());
  if (isOpen()) find("square").focus();
});
find("crop-zoom").addEventListener("input", (event) => {
  zoom((event.target.value * square[2]) / shortSide());
});
find("square").addEventListener("keydown", (event) => {
  if (!isOpen() || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in steps) {
    const [x, y] = steps[event.key];
    move(x * step * square[2], y * step * square[2]);
  } else if (event.key in zooms) zoom(zooms[event.key]);
  else return;
  event.preventDefault();
});

const view = find("crop-view");
const distance = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);

view.addEventListener("pointerdown", (event) => {
  if (!isOpen() || event.button !== 0) return;
  view.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
});
view.addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  if (!event.buttons) {
    // The release went to a menu or to another window.
    pointers.delete(event.pointerId);
    return;
  }
  const other = [...pointers.values()].find(({ pointerId }) => pointerId !== event.pointerId);
  const scale = preview.width / view.clientWidth;
  if (other) zoom(distance(event, other) / Math.max(distance(before, other), 1));
  else move((event.clientX - before.clientX) * scale, (event.clientY - before.clientY) * scale);
  pointers.set(event.pointerId, event);
});
// The browser would drag the image itself, which is then dropped as if it were a new one.
view.addEventListener("dragstart", (event) => event.preventDefault());
for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
  view.addEventListener(kind, (event) => pointers.delete(event.pointerId));
}
view.addEventListener(
  "wheel",
  (event) => {
    if (!isOpen()) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  },
  { passive: false },
);
