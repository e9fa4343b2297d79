// Several images at once: a table that can be sorted and saved.

import { createButton, createElement, find, post, saveFile } from "./dom.js";

// Heading of each column, the value that it sorts by, and what it shows where that is another.
const columns = [
  { title: "Image", value: (entry) => entry.file.name },
  {
    title: "Prediction",
    value: (entry) => (entry.row ? describeClass(entry.row.predicted) : entry.error),
  },
  {
    title: "Confidence",
    value: (entry) => entry.row?.confidence ?? -1,
    text: (entry) => (entry.row ? formatPercent(entry.row.confidence) : ""),
  },
  { title: "Warnings", value: (entry) => (entry.row ? describeWarnings(entry.row) : "") },
];
// What the classes of the model are called, by their names.
let titles = {};
let entries = [];
let sorted = { column: 0, descending: false };
// Number of the newest table: rows of older ones are not shown.
let newest = 0;

export function setTitles(found) {
  titles = found;
}

// As the server writes a probability, which never reads as certain; rows are rounded.
export function formatPercent(value) {
  return value > 0.999 ? "> 99.9 %" : `${(100 * value).toFixed(1)} %`;
}

function describeClass(name) {
  return titles[name] ?? name;
}

function describeWarnings(row) {
  const texts = [];
  if (row.out_of_distribution) texts.push("out of distribution");
  if (row.uncertain) texts.push("uncertain");
  return texts.join(", ");
}

// Cells that begin like a formula would be one in a spreadsheet program.
function formatCell(value) {
  let text = value === null || value === undefined ? "" : String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function formatTable(rows) {
  const names = Object.keys(rows[0]);
  const lines = rows.map((row) => names.map((name) => formatCell(row[name])).join(","));
  return [names.map(formatCell).join(","), ...lines].join("\r\n") + "\r\n";
}

function createRow(entry, choose) {
  const row = createElement("tr");
  row.dataset.name = entry.file.name;
  const image = createElement("td");
  image.append(entry.thumbnail);
  const name = createElement("td");
  const button = createButton("link", entry.file.name);
  button.addEventListener("click", () => choose(entry.file));
  name.append(button);
  row.append(image, name);
  for (const { value, text = value } of columns.slice(1)) {
    row.append(createElement("td", "", text(entry)));
  }
  return row;
}

function drawRows(choose) {
  // A row that is drawn again keeps the focus.
  const focused = document.activeElement?.closest("#several-rows tr")?.dataset.name;
  const { value } = columns[sorted.column];
  const order = [...entries].sort((first, second) => {
    const [a, b] = [value(first), value(second)];
    const sign = typeof a === "number" && typeof b === "number" ? a - b : `${a}`.localeCompare(b);
    return sorted.descending ? -sign : sign;
  });
  find("several-rows").replaceChildren(...order.map((entry) => createRow(entry, choose)));
  const again = [...find("several-rows").children].find((row) => row.dataset.name === focused);
  again?.querySelector("button").focus({ preventScroll: true });
  [...find("several-heads").children].slice(1).forEach((head, i) => {
    const direction = sorted.descending ? "descending" : "ascending";
    head.setAttribute("aria-sort", i === sorted.column ? direction : "none");
  });
}

function drawHeads(choose) {
  const heads = columns.map(({ title }, i) => {
    const head = createElement("th");
    const button = createButton("link", title);
    head.scope = "col";
    button.addEventListener("click", () => {
      sorted = { column: i, descending: sorted.column === i && !sorted.descending };
      drawRows(choose);
    });
    head.append(button);
    return head;
  });
  find("several-heads").replaceChildren(createElement("td"), ...heads);
}

function createThumbnail(file) {
  const image = createElement("img");
  image.alt = "";
  image.width = image.height = 48;
  image.src = URL.createObjectURL(file);
  image.addEventListener("error", () => (image.hidden = true));
  return image;
}

export function closeSeveral() {
  newest++;
  for (const entry of entries) URL.revokeObjectURL(entry.thumbnail.src);
  entries = [];
  find("several").hidden = true;
}

// Predict files, one after the other. `choose` shows the whole result of a file, `check` returns
// why it cannot be sent, `say` tells how far it is, `isInFront` whether nothing was chosen since.
export async function predictSeveral(files, { choose, check, say, isInFront }) {
  closeSeveral();
  const table = newest;
  sorted = { column: 0, descending: false };
  drawHeads(choose);
  for (const [i, file] of files.entries()) {
    say(`Classifying ${i + 1} of ${files.length}: ${file.name} …`);
    const entry = { file, thumbnail: createThumbnail(file), row: null, error: check(file) };
    try {
      if (!entry.error) entry.row = { ...(await post("/api/predict", file)), image: file.name };
    } catch (error) {
      entry.error = error.message;
    }
    if (table !== newest) {
      URL.revokeObjectURL(entry.thumbnail.src);
      return;
    }
    entries.push(entry);
    find("several-title").textContent = `${entries.length} of ${files.length} images`;
    find("several").hidden = false;
    drawRows(choose);
  }
  say("");
  find("several-title").textContent = `${files.length} images`;
  if (!isInFront()) return;
  find("several-title").focus({ preventScroll: true });
  find("several").scrollIntoView({ block: "start" });
}

find("save-table").addEventListener("click", () => {
  const rows = entries.filter((entry) => entry.row).map((entry) => entry.row);
  if (rows.length) saveFile("predictions.csv", new Blob([formatTable(rows)], { type: "text/csv" }));
});
