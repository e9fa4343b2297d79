// One result as a picture and as values.

import { find, post, query, saveFile, stem } from "./dom.js";

const size = 480;
const margin = 24;
const line = 26;

function drawText(context, text, x, y, width) {
  let row = "";
  for (const word of text.split(" ")) {
    if (row && context.measureText(`${row} ${word}`).width > width) {
      context.fillText(row, x, y);
      [row, y] = ["", y + line];
    }
    row = row ? `${row} ${word}` : word;
  }
  context.fillText(row, x, y);
  return y + line;
}

// Image, heat map, heading, probabilities and disclaimer on one white picture.
function drawResult({ result, source, square }) {
  const canvas = document.createElement("canvas");
  canvas.width = 2 * size + 3 * margin;
  canvas.height = size + (result.classes.length + 10) * line + 3 * margin;
  const context = canvas.getContext("2d");
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(find("image"), margin, margin, size, size);
  context.drawImage(find("heat-map"), size + 2 * margin, margin, size, size);
  context.fillStyle = "#1b2423";
  const width = canvas.width - 2 * margin;
  const write = (text, font, y) => {
    context.font = font;
    return drawText(context, text, margin, y, width);
  };
  let y = size + 2 * margin + line / 2;
  y = write(square ? `${source}, a square chosen by hand` : source, "16px sans-serif", y);
  y = write(result.heading, "bold 20px sans-serif", y);
  if (result.malignant.text) y = write(result.malignant.text, "16px sans-serif", y);
  for (const item of result.warnings) y = write(item.text, "bold 16px sans-serif", y);
  for (const item of result.classes) {
    y = write(`${item.percent}  ${item.label}`, "16px sans-serif", y);
  }
  y = write(`${result.heat_map_caption}.`, "16px sans-serif", y);
  y = write(result.model.text, "16px sans-serif", y);
  write(result.disclaimer, "16px sans-serif", y);
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
