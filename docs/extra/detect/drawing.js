// An image with its detections on a canvas.

// fill and text, each pair with a contrast of 4.5 or more
const COLORS = [
  ["#ffb000", "#000000"],
  ["#0b57d0", "#ffffff"],
  ["#00734a", "#ffffff"],
  ["#c2185b", "#ffffff"],
  ["#5b2ecc", "#ffffff"],
  ["#00b8d9", "#000000"],
];
const LINE = 2; // CSS pixels
const FONT = 11;

/** Fill and text color of a label, from 1 on. */
export function colorsOf(label) {
  return COLORS[(label - 1) % COLORS.length];
}

/** Draw the image at the canvas's width on the page, and boxes {label, score, box} over it, the best ones on top. */
export function draw(canvas, bitmap, detections, classes) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  canvas.width = width;
  canvas.height = Math.max(1, Math.round((width * bitmap.height) / bitmap.width));
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  const scale = canvas.width / bitmap.width;
  context.font = `600 ${FONT * ratio}px system-ui, sans-serif`;
  context.textBaseline = "top";
  const boxes = detections.toReversed().map(({ label, score, box }) => ({
    colors: colorsOf(label),
    name: classes[label - 1],
    number: score.toFixed(2),
    corners: box.map((corner) => corner * scale),
  }));
  context.lineWidth = LINE * ratio;
  for (const { colors, corners } of boxes) {
    const [left, top, right, bottom] = corners;
    context.strokeStyle = colors[0];
    context.strokeRect(left, top, right - left, bottom - top);
  }
  for (const { colors, name, number, corners } of boxes) {
    const [left, top, right] = corners;
    const space = 3 * ratio;
    const widthOf = (words) => context.measureText(words).width + 2 * space;
    const words = widthOf(`${name} ${number}`) <= right - left ? `${name} ${number}` : number;
    const height = (FONT + 4) * ratio;
    const x = Math.min(Math.max(left, 0), canvas.width - widthOf(words));
    const y = Math.min(Math.max(top, 0), canvas.height - height);
    context.fillStyle = colors[0];
    context.fillRect(x, y, widthOf(words), height);
    context.fillStyle = colors[1];
    context.fillText(words, x + space, y + 2 * ratio);
  }
}
