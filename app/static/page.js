"use strict";

const find = (id) => document.getElementById(id);
const percent = (share) =>
  share > 0 && share < 0.001 ? "< 0.1%" : `${(100 * share).toFixed(1)}%`;
// The last picture asked for; answers to earlier ones are not shown.
let latest = 0;
let maxBytes = Infinity;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function fail(sentence) {
  find("status").textContent = "";
  find("result").hidden = true;
  find("error").textContent = sentence;
  find("error").hidden = false;
}

function makeBar(item) {
  const row = element("li");
  const head = element("div", "bar-head");
  const title = element("span", "", `${item.title} (${item.name}) `);
  title.id = `bar-${item.name}`;
  if (item.malignant) title.append(element("span", "tag", "cancer or precancer"));
  const bar = element("progress");
  bar.max = 1;
  bar.value = item.probability;
  bar.setAttribute("aria-labelledby", title.id);
  head.append(title, element("span", "share", percent(item.probability)));
  row.append(head, bar, element("p", "small", item.sentence));
  return row;
}

function show(result, name) {
  const answer = result.answer;
  find("source").textContent = name;
  const title = `${answer.title[0].toUpperCase()}${answer.title.slice(1)}`;
  const named = `${title}, ${percent(answer.probability)}`;
  const unlike = result.warnings.some((item) => item.kind === "unlike");
  find("answer").textContent = unlike ? "Not a dermatoscopic picture?" : named;
  find("sentence").textContent = unlike ? `The model answers: ${named}.` : answer.sentence;
  find("warnings").replaceChildren(
    ...result.warnings.map((item) => element("p", `warning ${item.kind}`, item.text)),
  );
  find("picture").src = result.picture;
  find("heat").src = result.heat;
  const caption = result.heat_is_empty
    ? `Nothing in the picture speaks for ${answer.title} (Grad-CAM)`
    : `Bright where the model looked for ${answer.title} (Grad-CAM)`;
  find("heat-caption").textContent = caption;
  find("heat").alt = `The same picture with a heat map. ${caption}`;
  find("bars").replaceChildren(...result.classes.map(makeBar));
  find("status").textContent = "";
  find("result").hidden = false;
  find("answer").focus({ preventScroll: true });
  find("result").scrollIntoView({ block: "start" });
}

async function ask(content, name) {
  const mine = ++latest;
  find("error").hidden = true;
  find("result").hidden = true;
  if (content.size > maxBytes) {
    fail(`This file is larger than ${maxBytes / 1e6} MB; choose a smaller one.`);
    return;
  }
  find("status").textContent = `Looking at ${name} …`;
  let sentence = "The page's program does not answer; is it still running?";
  let result = null;
  try {
    const response = await fetch("/predict", {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: content,
    });
    const received = await response.json();
    if (response.ok) result = received;
    else sentence = received.error;
  } catch (error) {
    console.info(error);
  }
  if (mine !== latest) return;
  if (result) show(result, name);
  else fail(sentence);
}

for (const id of ["file", "camera"]) {
  find(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) ask(file, file.name);
    // So that the same file can be chosen again.
    event.target.value = "";
  });
}

// A picture dropped beside the field must not replace the page.
for (const kind of ["dragover", "drop"]) {
  document.addEventListener(kind, (event) => event.preventDefault());
}
document.addEventListener("dragover", () => find("drop").classList.add("over"));
for (const kind of ["dragleave", "drop"]) {
  document.addEventListener(kind, () => find("drop").classList.remove("over"));
}
document.addEventListener("drop", (event) => {
  const [file] = event.dataTransfer.files;
  if (file) ask(file, file.name);
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) ask(file, "the pasted picture");
});

async function start() {
  const settings = await (await fetch("/settings")).json();
  maxBytes = settings.bytes;
  find("note").textContent = settings.note && `Note: ${settings.note}.`;
  for (const example of settings.examples) {
    const button = element("button");
    button.type = "button";
    const image = element("img");
    image.src = `/examples/${example.name}`;
    image.alt = "";
    button.append(image, element("span", "", example.title));
    button.setAttribute("aria-label", `Painted example: ${example.title}`);
    button.addEventListener("click", async () => {
      const content = await (await fetch(image.src)).blob();
      ask(content, `Painted example: ${example.title}`);
    });
    find("examples").append(button);
  }
}

start();
