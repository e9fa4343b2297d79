// One result as an image and as values.

import { countShown, find, post, query, saveFile, stem } from "./dom.js";

const size = 480;
const margin = 24;
const line = 26;

// Divide a text into lines that fit.
function wrap(context, text, font, width) {
  context.font = font;
  const rows = [];
  let row = "";
  for (const word of text.split(" ")) {
    if (row && context.measureText(`${row} ${word}`).width > width) {
      rows.push({ text: row, font });
      row = "";
    }
    row = row ? `${row} ${word}` : word;
  }
  return [...rows, { text: row, font }];
}

// The texts of a result, the disclaimer last, each with its font.
export function listTexts({ result, source, square }) {
  const [plain, bold, heading] = ["16px sans-serif", "bold 16px sans-serif", "bold 20px sans-serif"];
  const shown = countShown(result.classes);
  const rest = result.classes.length - shown;
  return [
    [result.model.warning, bold],
    [square ? `${source}, a square chosen by hand` : source, plain],
    [result.heading, heading],
    [result.set, plain],
    [result.malignant.text, plain],
    [result.decision, plain],
    [result.malignant.note, plain],
    ...result.warnings.map((item) => [item.text, bold]),
    ...result.classes.slice(0, shown).map((item) => [`${item.percent}  ${item.label}`, plain]),
    [rest ? `${rest} less probable classes` : "", plain],
    [`${result.heat_map_caption}.`, plain],
    [[result.model.text, result.model.note].filter(Boolean).join(" "), plain],
    [result.disclaimer, plain],
  ].filter(([text]) => text);
}

// Image, heat map, heading, probabilities and disclaimer on one white image.
export function drawResult(current) {
  const canvas = document.createElement("canvas");
  canvas.width = 2 * size + 3 * margin;
  const context = canvas.getContext("2d");
  const rows = listTexts(current).flatMap(([text, font]) =>
    wrap(context, text, font, canvas.width - 2 * margin),
  );
  canvas.height = size + 3 * margin + rows.length * line;
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(find("image"), margin, margin, size, size);
  context.drawImage(find("heat-map"), size + 2 * margin, margin, size, size);
  context.fillStyle = "#1b2423";
  for (const [index, row] of rows.entries()) {
    context.font = row.font;
    context.fillText(row.text, margin, size + 2 * margin + (index + 0.5) * line);
  }
  return canvas;
}

export function saveImage(current) {
  const name = `${stem(current.source)}.png`;
  drawResult(current).toBlob((content) => saveFile(name, content));
}

export async function saveValues({ content, source, square }) {
  const row = { ...(await post(`/api/predict${query({ square })}`, content)), image: source };
  // Left, top and side length in pixels, as the address takes them.
  if (square) row.square = square;
  const text = JSON.stringify(row, null, 2) + "\n";
  saveFile(`${stem(source)}.json`, new Blob([text], { type: "application/json" }));
}
