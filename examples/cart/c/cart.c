// A shopping cart in C without a libc: the canonical ABI written by hand, so that one sees what a component is.
//
// Memory: the cart and its last receipt are static; what belongs to one call (its arguments, which the caller allocates
// through cabi_realloc, and its result) lies in an arena that is emptied when the call is over.
//
// Layout of results in memory (all little endian, 4-byte aligned):
//   item          name.ptr @0, name.len @4, quantity @8                                    12 bytes
//   receipt       number @0, items.ptr @4, items.len @8, pieces @12
//   cart-error    case @0 (0 empty, 1 unknown-item, 2 invalid), string.ptr @4, string.len @8
//   result<T, E>  0 for ok or 1 for err @0, then T or E @4
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name("demo:cart/api@1.0.0#" name)))
#define POST_RETURN(name) __attribute__((export_name("cabi_post_demo:cart/api@1.0.0#" name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

enum { ITEMS_MAX = 32, NAME_BYTES_MAX = 64, QUANTITY_MAX = 1000000 };
enum { EMPTY = 0, UNKNOWN_ITEM = 1, INVALID = 2 };  // cases of cart-error
enum { INFO = 2 };                                  // of level
static const uint64_t STEP_NS = 1500000000;

IMPORT("wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration") int32_t subscribe_duration(uint64_t ns);
IMPORT("wasi:io/poll@0.2.0", "[method]pollable.block") void pollable_block(int32_t pollable);
IMPORT("wasi:io/poll@0.2.0", "[resource-drop]pollable") void pollable_drop(int32_t pollable);
IMPORT("wasi:logging/logging", "log")
void log_line(int32_t level, const char *context, size_t context_length, const char *message, size_t message_length);

// --- the arena of one call --------------------------------------------------------------------------------------------

static _Alignas(16) uint8_t arena[64 * 1024];
static size_t arena_used;

static void *arena_take(size_t align, size_t size) {
  size_t start = (arena_used + align - 1) & ~(align - 1);
  if (start > sizeof arena || size > sizeof arena - start) __builtin_trap();
  arena_used = start + size;
  return arena + start;
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  if (size == 0) return (void *)align;
  uint8_t *new = arena_take(align, size);
  for (size_t i = 0; i < old_size && i < size; i++) new[i] = ((uint8_t *)old)[i];
  return new;
}

// --- the cart ---------------------------------------------------------------------------------------------------------

typedef struct { uint32_t length, quantity; char name[NAME_BYTES_MAX]; } entry;     // as the cart keeps it
typedef struct { const char *name; uint32_t length, quantity; } item;               // as the canonical ABI wants it
typedef struct { uint32_t number; item *items; uint32_t items_length, pieces; } receipt;
typedef struct { entry entries[ITEMS_MAX]; uint32_t count; } basket;                // sorted by name

static basket cart, sold;
static uint32_t receipts_count;

static int compare(const char *a, uint32_t a_length, const char *b, uint32_t b_length) {
  for (uint32_t i = 0; i < a_length && i < b_length; i++)
    if (a[i] != b[i]) return (uint8_t)a[i] < (uint8_t)b[i] ? -1 : 1;
  return a_length == b_length ? 0 : a_length < b_length ? -1 : 1;
}

// The place of `name` among the entries, or where it would stand.
static uint32_t find(const char *name, uint32_t length, int *found) {
  for (uint32_t i = 0; i < cart.count; i++) {
    int order = compare(name, length, cart.entries[i].name, cart.entries[i].length);
    if (order <= 0) return *found = order == 0, i;
  }
  return *found = 0, cart.count;
}

static void make_receipt(const basket *b, receipt *out) {
  out->number = receipts_count;
  out->items_length = b->count;
  out->items = arena_take(_Alignof(item), b->count * sizeof(item));
  out->pieces = 0;
  for (uint32_t i = 0; i < b->count; i++) {
    out->items[i] = (item){b->entries[i].name, b->entries[i].length, b->entries[i].quantity};
    out->pieces += b->entries[i].quantity;
  }
}

static uint32_t *failed(uint32_t error, const char *text, uint32_t length) {
  uint32_t *result = arena_take(4, 16);
  return result[0] = 1, result[1] = error, result[2] = (uint32_t)text, result[3] = length, result;
}

#define invalid(why) failed(INVALID, why, sizeof why - 1)

static uint32_t *succeeded(uint32_t value) {
  uint32_t *result = arena_take(4, 16);
  return result[0] = 0, result[1] = value, result;
}

static void do_step(const char *line, size_t length) {
  log_line(INFO, "cart", 4, line, length);
  int32_t pollable = subscribe_duration(STEP_NS);
  pollable_block(pollable);
  pollable_drop(pollable);
}

#define step(line) do_step(line, sizeof line - 1)

// --- exports ----------------------------------------------------------------------------------------------------------

EXPORT("add-item") uint32_t *add_item(const char *name, uint32_t length, uint32_t quantity) {
  int found;
  uint32_t place = find(name, length, &found);
  uint32_t before = found ? cart.entries[place].quantity : 0;
  if (length < 1 || length > NAME_BYTES_MAX) return invalid("a name has 1 to 64 bytes");
  if (quantity < 1 || quantity > QUANTITY_MAX - before) return invalid("a quantity is 1 to 1000000");
  if (!found) {
    if (cart.count == ITEMS_MAX) return invalid("a cart holds 32 different items");
    for (uint32_t i = cart.count++; i > place; i--) cart.entries[i] = cart.entries[i - 1];
    cart.entries[place].length = length;
    for (uint32_t i = 0; i < length; i++) cart.entries[place].name[i] = name[i];
  }
  return succeeded(cart.entries[place].quantity = before + quantity);
}

EXPORT("remove-item") uint32_t *remove_item(const char *name, uint32_t length) {
  int found;
  uint32_t place = find(name, length, &found);
  if (!found) return failed(UNKNOWN_ITEM, name, length);
  uint32_t quantity = cart.entries[place].quantity;
  for (cart.count--; place < cart.count; place++) cart.entries[place] = cart.entries[place + 1];
  return succeeded(quantity);
}

EXPORT("contents") uint32_t *contents(void) {
  receipt all;
  make_receipt(&cart, &all);
  uint32_t *result = arena_take(4, 8);
  return result[0] = (uint32_t)all.items, result[1] = all.items_length, result;
}

EXPORT("checkout") uint32_t *checkout(void) {
  if (cart.count == 0) return failed(EMPTY, 0, 0);
  step("checkout, step 1 of 3: reserving the goods");
  step("checkout, step 2 of 3: charging the card");
  step("checkout, step 3 of 3: booking the courier");
  receipts_count++;
  sold = cart;
  cart.count = 0;
  uint32_t *result = arena_take(4, 4 + sizeof(receipt));
  result[0] = 0;
  make_receipt(&sold, (receipt *)(result + 1));
  return result;
}

EXPORT("last-receipt") uint32_t *last_receipt(void) {
  uint32_t *result = arena_take(4, 4 + sizeof(receipt));
  result[0] = receipts_count > 0;
  if (receipts_count > 0) make_receipt(&sold, (receipt *)(result + 1));
  return result;
}

POST_RETURN("add-item") void add_item_done(void *result) { (void)result, arena_used = 0; }
POST_RETURN("remove-item") void remove_item_done(void *result) { (void)result, arena_used = 0; }
POST_RETURN("contents") void contents_done(void *result) { (void)result, arena_used = 0; }
POST_RETURN("checkout") void checkout_done(void *result) { (void)result, arena_used = 0; }
POST_RETURN("last-receipt") void last_receipt_done(void *result) { (void)result, arena_used = 0; }

// What the compiler may call when it copies structures.
void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
  return to;
}

void *memset(void *to, int value, size_t size) {
  for (size_t i = 0; i < size; i++) ((uint8_t *)to)[i] = (uint8_t)value;
  return to;
}
