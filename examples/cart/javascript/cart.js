// A shopping cart in JavaScript. The worker's memory is the database: nothing here knows about durability.

import { log } from "wasi:logging/logging";
import { subscribeDuration } from "wasi:clocks/monotonic-clock@0.2.0";

const ITEMS_MAX = 32;
const NAME_BYTES_MAX = 64;
const QUANTITY_MAX = 1_000_000;
const STEPS = ["reserving the goods", "charging the card", "booking the courier"];
const STEP_NS = 1_500_000_000;

const quantities = new Map();
const receipts = [];

// What a function throws becomes the error side of its result.
function fail(tag, val) {
  throw val === undefined ? { tag } : { tag, val };
}

function utf8Length(text) {
  return encodeURIComponent(text).replace(/%../g, "x").length;
}

// Strings compare by UTF-16 units in JavaScript; by code points, as here, they stand as their bytes do in UTF-8.
function byName([a], [b]) {
  const [left, right] = [[...a], [...b]];
  const i = left.findIndex((character, at) => character !== right[at]);
  if (i < 0) return left.length - right.length;
  return i < right.length ? left[i].codePointAt(0) - right[i].codePointAt(0) : 1;
}

export const api = {
  addItem(name, quantity) {
    const length = utf8Length(name);
    const before = quantities.get(name) ?? 0;
    if (length < 1 || length > NAME_BYTES_MAX) fail("invalid", "a name has 1 to 64 bytes");
    if (quantity < 1 || quantity > QUANTITY_MAX - before) fail("invalid", "a quantity is 1 to 1000000");
    if (before === 0 && quantities.size === ITEMS_MAX) fail("invalid", "a cart holds 32 different items");
    quantities.set(name, before + quantity);
    return before + quantity;
  },

  removeItem(name) {
    if (!quantities.has(name)) fail("unknown-item", name);
    const quantity = quantities.get(name);
    quantities.delete(name);
    return quantity;
  },

  contents() {
    return [...quantities].sort(byName).map(([name, quantity]) => ({ name, quantity }));
  },

  checkout() {
    if (quantities.size === 0) fail("empty");
    STEPS.forEach((what, i) => {
      log("info", "cart", `checkout, step ${i + 1} of ${STEPS.length}: ${what}`);
      subscribeDuration(STEP_NS).block();
    });
    const items = api.contents();
    const receipt = { number: receipts.length + 1, items, pieces: items.reduce((sum, item) => sum + item.quantity, 0) };
    receipts.push(receipt);
    quantities.clear();
    return receipt;
  },

  lastReceipt() {
    return receipts.at(-1);
  },
};
