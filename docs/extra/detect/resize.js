// Images to the network's input, pixel for pixel as the Python pipeline makes it: cv2.resize with INTER_LINEAR, whose
// weights are integers of 11 bits, to planes in BGR order. A browser's own scaling gives other pixels.

const BITS = 11;
const BAND = 256; // rows of the image that are read at a time: a photograph of 50 megapixels would be 200 MB at once

/** Planes (3, side, side) of an ImageBitmap, as a Uint8Array. */
export function networkInput(bitmap, side) {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, Math.min(height, BAND + 1));
  const context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  const columns = taps(width, side, true);
  const rows = taps(height, side, false);
  const planes = new Uint8Array(3 * side * side);
  for (let y = 0; y < side; ) {
    const top = rows.low[y];
    context.drawImage(bitmap, 0, -top);
    const band = context.getImageData(0, 0, width, canvas.height).data;
    for (; y < side && rows.high[y] - top < canvas.height; y++) {
      const low = 4 * width * (rows.low[y] - top);
      const high = 4 * width * (rows.high[y] - top);
      for (let x = 0; x < side; x++) {
        const left = 4 * columns.low[x];
        const right = 4 * columns.high[x];
        for (let channel = 0; channel < 3; channel++) {
          const above = band[low + left + channel] * columns.weight[x] + band[low + right + channel] * columns.rest[x];
          const below = band[high + left + channel] * columns.weight[x] + band[high + right + channel] * columns.rest[x];
          const sum = ((rows.weight[y] * (above >> 4)) >> 16) + ((rows.rest[y] * (below >> 4)) >> 16);
          planes[((2 - channel) * side + y) * side + x] = (sum + 2) >> 2;
        }
      }
    }
  }
  return planes;
}

/** For each place of an axis of the output, which two pixels of the image it lies between, and their weights. Over the
 * border they are the same pixel: then one has the whole weight along a row, as in OpenCV, but not from row to row. */
function taps(size, side, whole) {
  const [low, high, weight, rest] = Array.from({ length: 4 }, () => new Int32Array(side));
  for (let place = 0; place < side; place++) {
    const exact = Math.fround((place + 0.5) * (1 / (side / size)) - 0.5);
    const first = Math.floor(exact);
    low[place] = Math.min(Math.max(first, 0), size - 1);
    high[place] = Math.min(Math.max(first + 1, 0), size - 1);
    const share = whole && low[place] === high[place] ? 0 : Math.fround(exact - first);
    weight[place] = roundHalfToEven(Math.fround(1 - share) * (1 << BITS));
    rest[place] = roundHalfToEven(share * (1 << BITS));
  }
  return { low, high, weight, rest };
}

function roundHalfToEven(value) {
  const rounded = Math.round(value);
  return rounded - value === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}
