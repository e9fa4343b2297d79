"use strict";

const find = (id) => document.getElementById(id);
// With a no-break space, as in the warnings.
const percent = (probability) =>
  probability > 0 && probability < 0.001 ? "< 0.1\u00a0%" : `${(100 * probability).toFixed(1)}\u00a0%`;
const capitalize = (text) => text[0].toUpperCase() + text.slice(1);
// Number of the newest request: results of older ones are not shown.
let newest = 0;
let maxBytes = Infinity;

function createElement(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function showError(message) {
  find("status").textContent = "";
  find("result").hidden = true;
  find("error").textContent = message;
  find("error").hidden = false;
}

function createBar(item) {
  const row = createElement("li");
  const head = createElement("div", "bar-head");
  const title = createElement("span", "", `${item.title} (${item.name}) `);
  title.id = `bar-${item.name}`;
  if (item.malignant) title.append(createElement("span", "tag", "cancer or precancer"));
  const bar = createElement("progress");
  bar.max = 1;
  bar.value = item.probability;
  bar.setAttribute("aria-labelledby", title.id);
  head.append(title, createElement("span", "probability", percent(item.probability)));
  row.append(head, bar, createElement("p", "small", item.description));
  return row;
}

function showResult(result, source) {
  const predicted = result.prediction;
  const summary = `${capitalize(predicted.title)}, ${percent(predicted.probability)}`;
  const isOutside = result.warnings.some((item) => item.kind === "out_of_distribution");
  find("source").textContent = source;
  find("prediction").textContent = isOutside ? "Not a dermatoscopic image?" : summary;
  find("description").textContent = isOutside
    ? `The model predicts: ${summary}.`
    : predicted.description;
  find("warnings").replaceChildren(
    ...result.warnings.map((item) => createElement("p", `warning ${item.kind}`, item.text)),
  );
  find("image").src = result.image;
  find("heat-map").src = result.heat_map;
  const caption = result.heat_map_is_empty
    ? `No region increases the score for ${predicted.title} (Grad-CAM)`
    : `Bright regions increase the score for ${predicted.title} (Grad-CAM)`;
  find("heat-map-caption").textContent = caption;
  find("heat-map").alt = `The same image with a heat map. ${caption}`;
  find("bars").replaceChildren(...result.classes.map(createBar));
  find("status").textContent = "";
  find("result").hidden = false;
  find("prediction").focus({ preventScroll: true });
  find("result").scrollIntoView({ block: "start" });
}

async function predict(content, source) {
  const request = ++newest;
  find("error").hidden = true;
  find("result").hidden = true;
  if (content.size > maxBytes) {
    showError(`The file is larger than ${maxBytes / 1e6} MB. Choose a smaller one.`);
    return;
  }
  find("status").textContent = `Classifying ${source} …`;
  let message = "The program behind this page does not respond. Is it still running?";
  let result = null;
  try {
    const response = await fetch("/predict", {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: content,
    });
    const received = await response.json();
    if (response.ok) result = received;
    else message = received.error;
  } catch (error) {
    console.info(error);
  }
  if (request !== newest) return;
  if (result) showResult(result, source);
  else showError(message);
}

for (const id of ["file", "camera"]) {
  find(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) predict(file, file.name);
    // So that the same file can be chosen again.
    event.target.value = "";
  });
}

// An image that is dropped elsewhere on the page must not replace it.
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => event.preventDefault());
}
document.addEventListener("dragover", () => find("drop").classList.add("over"));
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, () => find("drop").classList.remove("over"));
}
document.addEventListener("drop", (event) => {
  const [file] = event.dataTransfer.files;
  if (file) predict(file, file.name);
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) predict(file, "pasted image");
});

function createExample(example) {
  const label = `Generated example: ${example.title}`;
  const button = createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", label);
  const image = createElement("img");
  image.src = `/examples/${example.name}`;
  image.alt = "";
  button.append(image, createElement("span", "", example.title));
  button.addEventListener("click", async () => {
    predict(await (await fetch(image.src)).blob(), label);
  });
  return button;
}

async function start() {
  const settings = await (await fetch("/settings")).json();
  maxBytes = settings.max_upload_bytes;
  find("limits").textContent =
    `, up to ${maxBytes / 1e6} MB and ${settings.max_pixels / 1e6} megapixels`;
  find("note").textContent = settings.note && `Note: ${settings.note}`;
  find("examples").append(...settings.examples.map(createExample));
}

start();
