// The model worker of simulations as a guest: a counter, a list, an account, timers, a promise, and the keys of all writes.
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name("test:model/api@1.0.0#" name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

typedef struct { const uint8_t *at; size_t length; } text;
typedef struct { uint64_t component_high, component_low; text name; } worker_id;
typedef struct { worker_id worker; uint64_t oplog_index; } promise_id;
typedef struct { worker_id worker; text args, env; uint8_t status; uint64_t component_version, retry_count; } metadata;
typedef struct { uint8_t is_there; text value; } optional_text;

IMPORT("wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration") int32_t subscribe_duration(uint64_t ns);
IMPORT("wasi:io/poll@0.2.0", "[method]pollable.block") void pollable_block(int32_t pollable);
IMPORT("wasi:io/poll@0.2.0", "[resource-drop]pollable") void pollable_drop(int32_t pollable);
IMPORT("golem:api/host@1.1.6", "get-self-metadata") void get_self_metadata(metadata *result);
IMPORT("golem:api/host@1.1.6", "create-promise") void create_promise(promise_id *result);
IMPORT("golem:api/host@1.1.6", "poll-promise")
void poll_promise(uint64_t high, uint64_t low, const uint8_t *name, size_t length, uint64_t index, optional_text *result);

#define PAGE 65536
#define CRC32_POLYNOMIAL 0xEDB88320u
#define TIMER_DIVISOR 10 // a timer is in its worker's way while it sleeps

// Parameters, and what the host hands over, live until the call is over: nothing is allocated between its end and the reading of its
// result.
static _Alignas(16) uint8_t arena[PAGE];
static size_t arena_used;

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  if (old_size != 0) __builtin_trap(); // nothing is ever resized here
  (void)old;
  size_t start = (arena_used + align - 1) & ~(align - 1);
  if (start + size > sizeof arena || start + size < start) __builtin_trap();
  arena_used = start + size;
  return arena + start;
}

static text answered;

static text *answer(const uint8_t *at, size_t length) {
  answered.at = at;
  answered.length = length;
  arena_used = 0;
  return &answered;
}

static uint64_t answer_number(uint64_t number) {
  arena_used = 0;
  return number;
}

// The decimal digits of a number, from `at` on; returns how many there are.
static size_t digits(uint64_t number, uint8_t *at) {
  size_t count = 1;
  for (uint64_t left = number; left >= 10; left /= 10) count++;
  for (size_t place = count; place-- > 0; number /= 10) at[place] = '0' + number % 10;
  return count;
}

// The keys, with a space behind each, in pages that are taken from the end of memory as they are needed.
static uint8_t *done_at;
static size_t done_length, done_room;

static void did(const uint8_t *key, size_t length) {
  if (done_length + length + 1 > done_room) {
    size_t before = __builtin_wasm_memory_grow(0, 1);
    if (before == (size_t)-1) __builtin_trap();
    if (done_at == NULL) done_at = (uint8_t *)(before * PAGE);
    done_room += PAGE;
  }
  for (size_t index = 0; index < length; index++) done_at[done_length++] = key[index];
  done_at[done_length++] = ' ';
}

EXPORT("done") text *done(void) { return answer(done_at, done_length ? done_length - 1 : 0); }

// A counter.

static uint64_t total;

EXPORT("add") uint64_t add(const uint8_t *key, size_t length, uint64_t n) {
  did(key, length);
  return answer_number(total += n);
}

EXPORT("get") uint64_t get(void) { return total; }

// A list.

static uint64_t items;
static uint32_t checksum;
static uint8_t spelled[48];

EXPORT("append") uint64_t append(const uint8_t *key, size_t length, uint64_t item) {
  did(key, length);
  size_t count = digits(item, spelled);
  uint32_t crc = ~checksum;
  for (size_t index = 0; index < count; index++) {
    crc ^= spelled[index];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (CRC32_POLYNOMIAL & -(crc & 1));
  }
  checksum = ~crc;
  return answer_number(++items);
}

EXPORT("read") text *read_list(void) {
  size_t count = digits(items, spelled);
  spelled[count++] = ' ';
  return answer(spelled, count + digits(checksum, spelled + count));
}

// An account.

static uint64_t money = 100;
static uint8_t own_name[256];
static size_t own_name_length;

static void keep_own_name(text name) {
  if (name.length > sizeof own_name) __builtin_trap();
  own_name_length = name.length;
  for (size_t index = 0; index < name.length; index++) own_name[index] = name.at[index];
}

static int is_own_name(const uint8_t *name, size_t length) {
  if (own_name_length == 0) {
    metadata self;
    get_self_metadata(&self);
    keep_own_name(self.worker.name);
  }
  if (length != own_name_length) return 0;
  for (size_t index = 0; index < length; index++)
    if (name[index] != own_name[index]) return 0;
  return 1;
}

EXPORT("transfer")
text *transfer(const uint8_t *key, size_t key_length, const uint8_t *to, size_t to_length, uint64_t n) {
  did(key, key_length);
  if (is_own_name(to, to_length) || money < n) return answer((const uint8_t *)"refused", 7);
  money -= n;
  return answer(spelled, digits(money, spelled));
}

EXPORT("balance") uint64_t balance(void) { return money; }

// Timers.

static uint64_t timers_fired;

EXPORT("set") uint64_t set(const uint8_t *key, size_t length, uint64_t delay_ns) {
  int32_t pollable = subscribe_duration(delay_ns / TIMER_DIVISOR);
  pollable_block(pollable);
  pollable_drop(pollable);
  did(key, length);
  return answer_number(++timers_fired);
}

EXPORT("fired") uint64_t fired(void) { return timers_fired; }

// A promise. Its owner's name is this worker's.

static promise_id promise;

EXPORT("open") uint64_t open_promise(void) {
  if (promise.oplog_index == 0) {
    create_promise(&promise);
    keep_own_name(promise.worker.name); // the arena is used again
  }
  return answer_number(promise.oplog_index);
}

EXPORT("peek") text *peek(void) {
  if (promise.oplog_index == 0) return answer(NULL, 0);
  optional_text found;
  const worker_id *owner = &promise.worker;
  poll_promise(owner->component_high, owner->component_low, own_name, own_name_length, promise.oplog_index, &found);
  return found.is_there ? answer(found.value.at, found.value.length) : answer(NULL, 0);
}
