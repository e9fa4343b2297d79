// What all parts of the page use: elements, requests, files to save.

export const find = (id) => document.getElementById(id);

export function createElement(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

export function createButton(className, text) {
  const button = createElement("button", className, text);
  button.type = "button";
  return button;
}

export function show(id, text) {
  find(id).textContent = text;
  find(id).hidden = !text;
}

async function request(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    console.info(error);
    throw new Error("The program behind this page does not respond. Is it still running?");
  }
}

// Load a file of the server, or throw an Error with a message for people.
export async function load(address) {
  const response = await request(address);
  if (!response.ok) throw new Error(`Expected ${address}, received status ${response.status}.`);
  return response.blob();
}

// Post an image; returns what the server says, or throws an Error with a message for people.
export async function post(address, content) {
  let body;
  try {
    body = await content.arrayBuffer();
  } catch (error) {
    console.info(error);
    throw new Error("The file cannot be read: it is a folder, or changed. Choose it again.");
  }
  const response = await request(address, {
    method: "POST",
    headers: { "Content-Type": "application/octet-stream" },
    body,
  });
  // A proxy in between may answer in its own way.
  const received = await response.json().catch(() => null);
  if (!response.ok || received === null) {
    throw new Error(received?.error ?? `Expected a prediction, received status ${response.status}.`);
  }
  return received;
}

// The parameters of an address; those that are null are left out.
export function query(parameters) {
  const pairs = Object.entries(parameters).filter(([, value]) => value != null);
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
}

export function saveFile(name, content) {
  const link = createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

// How many of the classes of a result are shown; the others, the least probable ones, are folded.
export const countShown = (classes) => (classes.length > 12 ? 10 : classes.length);

// The name of an image without its ending.
export function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "image";
}
