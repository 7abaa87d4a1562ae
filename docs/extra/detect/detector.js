// The detector: a file of `refinedet export --end_to_end true --pixels uint8`, in ONNX Runtime for browsers.

import { readMetadata } from "./onnx_metadata.js";
import { networkInput } from "./resize.js";

const MODEL = "model.onnx";
// pinned, and refused by the browser where a byte differs
const RUNTIME = "https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/";
const SCRIPT = "ort.wasm.bundle.min.mjs";
const SCRIPT_INTEGRITY = "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG";
const WASM = "ort-wasm-simd-threaded.wasm";
const WASM_INTEGRITY = "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM";

let loading = null;

/** The detector, loaded once. Error with a sentence where something cannot be loaded; the next call tries again. */
export function loadDetector() {
  loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function load() {
  const [ort, wasm, model] = await Promise.all([
    importChecked(RUNTIME + SCRIPT, SCRIPT_INTEGRITY),
    fetchBytes(RUNTIME + WASM, { integrity: WASM_INTEGRITY }),
    fetchBytes(MODEL),
  ]);
  const info = JSON.parse(readMetadata(model).refinedet ?? "{}");
  if (info.outputs !== "detections" || info.pixels !== "uint8") {
    throw new Error(`${MODEL}: expected a file of refinedet export with --end_to_end true --pixels uint8.`);
  }
  ort.env.wasm.wasmBinary = wasm.buffer;
  ort.env.wasm.numThreads = 1; // more need headers that plain file servers do not send
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return new Detector(ort, session, info);
}

class Detector {
  constructor(ort, session, info) {
    this.ort = ort;
    this.session = session;
    this.classes = info.classes;
    this.side = info.input_size[0];
  }

  /** Detections in an ImageBitmap, by falling score: {label, score, box}, box in pixels of the image; and the times. */
  async detect(bitmap) {
    const start = performance.now();
    const pixels = networkInput(bitmap, this.side);
    const resized = performance.now();
    const images = new this.ort.Tensor("uint8", pixels, [1, 3, this.side, this.side]);
    const { boxes, scores, labels, count } = await this.session.run({ images });
    const end = performance.now();
    const scale = [bitmap.width, bitmap.height, bitmap.width, bitmap.height];
    const found = Array.from({ length: Number(count.data[0]) }, (_, row) => ({
      label: Number(labels.data[row]),
      score: scores.data[row],
      box: scale.map((size, corner) => Math.min(Math.max(boxes.data[4 * row + corner], 0), 1) * size),
    }));
    return { found, resizing: resized - start, network: end - resized };
  }
}

/** A module whose bytes the browser checks: import() alone has no place to say what they have to be. */
async function importChecked(url, integrity) {
  await new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { type: "module", src: url, integrity });
    script.crossOrigin = "anonymous";
    script.onload = resolve;
    script.onerror = () => reject(new Error(`The runtime could not be loaded from ${new URL(url).host}.`));
    document.head.append(script);
  });
  return import(url);
}

async function fetchBytes(url, options) {
  const response = await fetch(url, options).catch(() => null);
  if (!response?.ok) {
    const what = response ? `the server says ${response.status}` : "there is no connection, or the file is another one";
    throw new Error(`${url.split("/").pop()} could not be loaded: ${what}.`);
  }
  return new Uint8Array(await response.arrayBuffer());
}
