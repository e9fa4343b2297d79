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

// Post an image; returns what the server says, or throws an Error with a message for people.
export async function post(address, content) {
  let response;
  try {
    response = await fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream" },
      body: content,
    });
  } catch (error) {
    console.info(error);
    throw new Error("The program behind this page does not respond. Is it still running?");
  }
  const received = await response.json();
  if (!response.ok) throw new Error(received.error);
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

// The name of an image without its ending.
export function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "image";
}
