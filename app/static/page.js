"use strict";

const find = (id) => document.getElementById(id);
// Number of the newest request: results of older ones are not shown.
let newest = 0;
let maxBytes = Infinity;
// Of more classes than this, the least probable ones are folded.
const mostBars = 12;

function createElement(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function show(id, text) {
  find(id).textContent = text;
  find(id).hidden = !text;
}

function showError(message) {
  find("status").textContent = "";
  find("result").hidden = true;
  show("error", message);
}

function createBar(item) {
  const row = createElement("li");
  const head = createElement("div", "bar-head");
  const title = createElement("span", "title", `${item.label} `);
  if (item.tag) title.append(createElement("span", "tag", item.tag));
  const bar = createElement("progress", item.malignant ? "malignant" : "");
  bar.max = 1;
  bar.value = item.probability;
  bar.dataset.name = item.name;
  bar.setAttribute("aria-label", title.textContent);
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
  const shown = classes.length > mostBars ? mostBars - 2 : classes.length;
  const rest = classes.slice(shown);
  find("bars-note").hidden = !classes.some((item) => item.description);
  find("bars").replaceChildren(...classes.slice(0, shown).map(createBar));
  find("rest-bars").replaceChildren(...rest.map(createBar));
  find("rest-title").textContent = `${rest.length} less probable classes`;
  find("rest").hidden = rest.length === 0;
}

function showResult(result, source) {
  showModel(result.model, "result-");
  find("source").textContent = source;
  find("prediction").textContent = result.heading;
  find("top").replaceChildren(...result.top.map(createTop));
  find("top").hidden = result.top.length === 0;
  show("set", result.set);
  find("warnings").replaceChildren(
    ...result.warnings.map((item) => createElement("p", `warning ${item.kind}`, item.text)),
  );
  showMalignant(result.malignant, result.out_of_distribution);
  find("disclaimer").textContent = result.disclaimer;
  find("image").src = result.image;
  find("heat-map").src = result.heat_map;
  find("heat-map-caption").textContent = result.heat_map_caption;
  find("heat-map").alt = `The same image with a heat map. ${result.heat_map_caption}`;
  showBars(result.classes);
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
  showModel(settings.model, "");
  show("advice", settings.disclaimer);
  find("examples").append(...settings.examples.map(createExample));
  find("tryout").hidden = settings.examples.length === 0;
}

start();
