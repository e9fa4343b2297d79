// The page: choose images, show results.

import { onAsk, placeSquare, showCrop } from "./crop.js";
import { countShown, createButton, createElement, find, load, post, query, show } from "./dom.js";
import { saveImage, saveValues } from "./save.js";
import { closeSeveral, predictSeveral, setTitles } from "./several.js";

// Number of the newest request: results of older ones are not shown.
let newest = 0;
let maxBytes = Infinity;
// The result that is shown; its image, whole, and the name of that; the square of it that the user
// chose, null for the default one.
let current = null;

function setBusy(text) {
  find("status").textContent = text;
  find("drop").setAttribute("aria-busy", String(Boolean(text)));
}

function showProblem(message) {
  show("error", message);
  find("drop").scrollIntoView({ block: "nearest" });
}

function showError(message) {
  setBusy("");
  find("result").hidden = true;
  showProblem(message);
}

function showThumbnail(content) {
  const image = find("thumbnail");
  if (image.src) URL.revokeObjectURL(image.src);
  image.hidden = find("clear").hidden = !content;
  find("thumbnail-square").hidden = find("thumbnail-note").hidden = true;
  if (content) image.src = URL.createObjectURL(content);
  else image.removeAttribute("src");
}

// Show what the model will see before it is classified.
function showSquare(preview, square) {
  // The browser may not know the format of the file.
  URL.revokeObjectURL(find("thumbnail").src);
  find("thumbnail").src = preview.image;
  find("thumbnail").hidden = false;
  placeSquare(find("thumbnail-view"), preview, square ?? preview.square);
  find("thumbnail-square").hidden = find("thumbnail-note").hidden = false;
}

find("thumbnail").addEventListener("error", (event) => {
  event.target.hidden = true;
});

function clear() {
  newest++;
  current = null;
  closeSeveral();
  showThumbnail(null);
  setBusy("");
  find("error").hidden = find("result").hidden = true;
  find("file").focus();
}

function createBar(item) {
  const row = createElement("li");
  const head = createElement("div", "bar-head");
  const title = createButton("title", `${item.label} `);
  if (item.tag) title.append(createElement("span", "tag", item.tag));
  const bar = createElement("progress", item.malignant ? "malignant" : "");
  bar.max = 1;
  bar.value = item.probability;
  bar.dataset.name = item.name;
  bar.setAttribute("aria-label", title.textContent);
  title.dataset.name = item.name;
  title.addEventListener("click", () => explain(item.name));
  head.append(title, createElement("span", "probability", item.percent));
  row.append(head, bar);
  if (item.description) row.append(createElement("p", "small", item.description));
  return row;
}

function createTop(item) {
  const row = createElement("li");
  row.append(
    createElement("span", "title", item.title),
    createElement("span", "probability", item.percent),
  );
  return row;
}

function showModel(model, prefix) {
  show(`${prefix}banner`, model.warning);
  show(`${prefix}model`, model.note ? `${model.text} ${model.note}` : model.text);
}

function showMalignant(malignant, isOutside) {
  show("malignant-text", malignant.text);
  show("malignant-note", malignant.note);
  find("malignant-bar").hidden = malignant.probability === null;
  find("malignant-bar").value = malignant.probability ?? 0;
  // That a prediction means nothing is said before its numbers.
  find("warnings")[isOutside ? "after" : "before"](find("malignant"));
}

function showBars(classes) {
  const shown = countShown(classes);
  const rest = classes.slice(shown);
  find("bars-note").hidden = !classes.some((item) => item.description);
  find("bars").replaceChildren(...classes.slice(0, shown).map(createBar));
  find("rest-bars").replaceChildren(...rest.map(createBar));
  find("rest-title").textContent = `${rest.length} less probable classes`;
  find("rest").hidden = rest.length === 0;
}

function showHeatMap(result) {
  find("heat-map").src = result.heat_map;
  find("heat-map-caption").textContent = result.heat_map_caption;
  find("heat-map").alt = `The same image with a heat map. ${result.heat_map_caption}`;
  for (const button of document.querySelectorAll(".bar-head button")) {
    button.setAttribute("aria-pressed", String(button.dataset.name === result.explained));
  }
}

// Show where the image has evidence for another class.
async function explain(name) {
  const { content, square } = current;
  const isShown = () => current?.content === content && current.square === square;
  find("error").hidden = true;
  try {
    const result = await post(`/predict${query({ class: name, square })}`, content);
    if (!isShown()) return;
    current.result = { ...current.result, ...result };
    showHeatMap(result);
    find("split").value = 100;
    moveSplit();
  } catch (error) {
    // The prediction still holds.
    if (isShown()) showProblem(error.message);
  }
}

function showResult(result, source) {
  showModel(result.model, "result-");
  find("source").textContent = source;
  find("prediction").textContent = result.heading;
  find("top").replaceChildren(...result.top.map(createTop));
  find("top").hidden = result.top.length === 0;
  show("set", result.set);
  show("decision", result.decision);
  find("warnings").replaceChildren(
    ...result.warnings.map((item) => createElement("p", `warning ${item.kind}`, item.text)),
  );
  showMalignant(result.malignant, result.out_of_distribution);
  find("disclaimer").textContent = result.disclaimer;
  find("image").src = result.image;
  find("split").value = 100;
  moveSplit();
  showBars(result.classes);
  showHeatMap(result);
  setBusy("");
  find("result").hidden = false;
  find("prediction").focus({ preventScroll: true });
  find("result").scrollIntoView({ block: "start" });
}

function moveSplit() {
  find("heat-map").style.setProperty("--split", `${find("split").value}%`);
}

find("split").addEventListener("input", moveSplit);

function checkSize(content) {
  return content.size > maxBytes
    ? `The file is larger than ${maxBytes / 1e6} MB. Choose a smaller one.`
    : null;
}

async function predict(content, source, { preview = null, square = null } = {}) {
  const request = ++newest;
  find("error").hidden = true;
  find("result").hidden = true;
  if (!preview) showThumbnail(content);
  const reason = checkSize(content);
  if (reason) {
    showError(reason);
    return;
  }
  setBusy(`Classifying ${source} …`);
  try {
    const whole = preview ?? (await post("/preview", content));
    if (request !== newest) return;
    showSquare(whole, square);
    const result = await post(`/predict${query({ square })}`, content);
    if (request !== newest) return;
    current = { content, source, result, square, preview: whole };
    showResult(result, source);
    showCrop(whole, square);
  } catch (error) {
    if (request === newest) showError(error.message);
  }
}

function choose(files, name) {
  if (files.length === 1) {
    closeSeveral();
    predict(files[0], name ?? files[0].name);
  } else if (files.length > 1) {
    const request = ++newest;
    find("error").hidden = find("result").hidden = true;
    showThumbnail(null);
    find("clear").hidden = false;
    const isInFront = () => request === newest;
    predictSeveral([...files], {
      choose: (file) => predict(file, file.name),
      check: checkSize,
      say: (text) => isInFront() && setBusy(text),
      isInFront,
    });
  }
}

for (const id of ["file", "camera"]) {
  find(id).addEventListener("change", (event) => {
    choose([...event.target.files]);
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
  choose([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  choose([...event.clipboardData.files], "pasted image");
});

find("clear").addEventListener("click", clear);
onAsk((square) => predict(current.content, current.source, { ...current, square }));
find("save-image").addEventListener("click", () => saveImage(current));
find("save-values").addEventListener("click", () => {
  saveValues(current).catch((error) => showProblem(error.message));
});
find("print").addEventListener("click", () => window.print());

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
    const request = ++newest;
    try {
      const content = await load(image.src);
      if (request === newest) choose([content], label);
    } catch (error) {
      if (request === newest) showError(error.message);
    }
  });
  return button;
}

async function start() {
  const settings = JSON.parse(await (await load("/settings")).text());
  maxBytes = settings.max_upload_bytes;
  find("limits").textContent =
    `, up to ${maxBytes / 1e6} MB and ${settings.max_pixels / 1e6} megapixels`;
  showModel(settings.model, "");
  show("advice", settings.disclaimer);
  setTitles(settings.titles);
  find("examples").append(...settings.examples.map(createExample));
  find("tryout").hidden = settings.examples.length === 0;
}

start().catch((error) => showError(error.message));
