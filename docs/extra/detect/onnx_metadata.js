// What an ONNX file says about itself, which the runtime for browsers does not pass on: the entries of `metadata_props`.

const METADATA_PROPS = 14; // fields of onnx.ModelProto and onnx.StringStringEntryProto
const KEY = 1;
const VALUE = 2;

/** The entries by their keys. bytes: a Uint8Array; RangeError where they are no ONNX file. */
export function readMetadata(bytes) {
  const entries = {};
  for (const [field, content] of fields(bytes)) {
    if (field === METADATA_PROPS) {
      const entry = new Map(fields(content));
      entries[text(entry.get(KEY))] = text(entry.get(VALUE));
    }
  }
  return entries;
}

/** The fields of a protobuf message that hold bytes, with their numbers. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    for (let value = 0, factor = 1; ; factor *= 128) {
      if (at >= bytes.length) throw new RangeError("the model's file is cut off");
      const byte = bytes[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key % 8;
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      if (at + length > bytes.length) throw new RangeError("the model's file is cut off");
      yield [Math.floor(key / 8), bytes.subarray(at, at + length)];
      at += length;
    } else throw new RangeError("the model's file is no ONNX file");
  }
}

function text(bytes) {
  return new TextDecoder().decode(bytes);
}
