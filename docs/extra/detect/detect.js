// The page: an image is chosen, the detector looks at it, its boxes are drawn and listed.

import { loadDetector } from "./detector.js";
import { colorsOf, draw } from "./drawing.js";

const MAX_BYTES = 100e6;
const MAX_SIDE = 16384; // of a canvas, in the browsers that have the least

const element = (id) => document.getElementById(id);
const threshold = element("threshold");
let shown = null; // { bitmap, found, classes } of the image on the page
let latest = 0; // counts what was chosen, so that a slow image does not replace a later one

async function show(name, getBlob, sample = null) {
  const mine = ++latest;
  for (const button of document.querySelectorAll("[data-image]")) {
    button.setAttribute("aria-pressed", String(button === sample));
  }
  const stale = () => mine !== latest;
  try {
    say(`Reading ${name} …`);
    const bitmap = await decode(name, await getBlob());
    if (stale()) return;
    say("Loading the runtime and the model, once …");
    const detector = await loadDetector();
    if (stale()) return;
    say(`Looking at ${name} …`);
    await new Promise((painted) => setTimeout(painted)); // the network leaves the page no time to say so
    const { found, resizing, network } = await detector.detect(bitmap);
    if (stale()) return;
    shown?.bitmap.close();
    shown = { bitmap, found, classes: detector.classes };
    element("result").hidden = false;
    element("times").textContent =
      `${bitmap.width} × ${bitmap.height} pixels, resized to ${detector.side} × ${detector.side} in ` +
      `${resizing.toFixed(0)} ms; network and suppression in ${network.toFixed(0)} ms.`;
    update(`${(resizing + network).toFixed(0)} ms`);
  } catch (error) {
    if (!stale()) say(error.message, true);
  }
}

/** An ImageBitmap, turned as its EXIF data says; Error with a sentence for what cannot be read. */
async function decode(name, blob) {
  if (blob.size > MAX_BYTES) {
    throw new Error(`${name} has ${(blob.size / 1e6).toFixed(0)} MB; up to ${MAX_BYTES / 1e6} MB are read here.`);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch (error) {
    if (!(error instanceof DOMException)) throw error;
    throw new Error(`${name} is no image that this browser can read.`);
  }
  if (Math.max(bitmap.width, bitmap.height) > MAX_SIDE) {
    throw new Error(`${name} has ${bitmap.width} × ${bitmap.height} pixels; sides of up to ${MAX_SIDE} are read here.`);
  }
  return bitmap;
}

function aboveThreshold() {
  return shown.found.filter(({ score }) => score >= Number(threshold.value));
}

/** Draw and list what reaches the threshold. */
function update(time = null) {
  element("threshold-value").textContent = Number(threshold.value).toFixed(2);
  if (!shown) return;
  const { bitmap, classes } = shown;
  const detections = aboveThreshold();
  draw(element("canvas"), bitmap, detections, classes);
  const counts = classes.map((name, index) => [name, detections.filter(({ label }) => label === index + 1).length]);
  element("legend").replaceChildren(...counts.map(([name, count], index) => legend(name, count, index + 1)));
  element("rows").replaceChildren(...detections.map((detection) => row(detection, classes)));
  const list = counts.filter(([, count]) => count).map(([name, count]) => `${count} ${name}`).join(", ");
  const summary = `${detections.length} ${detections.length === 1 ? "detection" : "detections"}${list && `: ${list}`}.`;
  element("canvas").setAttribute("aria-label", `The image with ${summary}`);
  say(time === null ? summary : `${summary.slice(0, -1)}; ${time}.`);
}

function legend(name, count, label) {
  const item = document.createElement("li");
  const color = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
  const context = color.getContext("2d");
  context.fillStyle = colorsOf(label)[0];
  context.fillRect(0, 0, 1, 1);
  item.append(color, `${name}: ${count}`);
  return item;
}

function row({ label, score, box }, classes) {
  const line = document.createElement("tr");
  for (const text of [classes[label - 1], score.toFixed(3), ...box.map((corner) => corner.toFixed(1))]) {
    line.append(Object.assign(document.createElement("td"), { textContent: text }));
  }
  return line;
}

function say(sentence, wrong = false) {
  element("status").textContent = sentence;
  element("status").classList.toggle("error", wrong);
}

function showFile(file) {
  if (file) show(file.name, async () => file);
}

element("samples").addEventListener("click", (event) => {
  const button = event.target.closest("[data-image]");
  if (!button) return;
  const url = button.dataset.image;
  show(url.split("/").pop(), async () => {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`${url} could not be loaded: the server says ${response.status}.`);
    return response.blob();
  }, button);
});
element("file").addEventListener("click", (event) => (event.target.value = "")); // the same file again is a choice, too
element("file").addEventListener("change", (event) => showFile(event.target.files[0]));
threshold.addEventListener("input", () => update());
window.addEventListener("resize", () => shown && draw(element("canvas"), shown.bitmap, aboveThreshold(), shown.classes));

for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  showFile(event.dataTransfer.files[0]);
});
