// Goes away for a while, and comes back: timers, promises, a counter, through a hand-written canonical ABI.
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name("test:errand/api@1.0.0#" name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

typedef struct { const uint8_t *at; size_t length; } list;
typedef struct { uint64_t component_high, component_low; list worker; uint64_t oplog_index; } promise;

IMPORT("wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration") int32_t subscribe_duration(uint64_t ns);
IMPORT("wasi:io/poll@0.2.0", "[method]pollable.block") void pollable_block(int32_t pollable);
IMPORT("wasi:io/poll@0.2.0", "[resource-drop]pollable") void pollable_drop(int32_t pollable);
IMPORT("wasi:logging/logging", "log")
void log_line(int32_t level, const char *context, size_t context_length, const char *message, size_t message_length);
IMPORT("golem:api/host@1.1.6", "create-promise") void create_promise(promise *result);
IMPORT("golem:api/host@1.1.6", "await-promise")
void await_promise(uint64_t high, uint64_t low, const uint8_t *name, size_t name_length, uint64_t index, list *result);

// What the host hands over stays: a worker's name or an answer now and then, until the arena is full.
static _Alignas(16) uint8_t arena[1 << 20];
static size_t arena_used;

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  if (old_size != 0) __builtin_trap();  // nothing is ever resized here
  (void)old;
  size_t start = (arena_used + align - 1) & ~(align - 1);
  if (start + size > sizeof arena || start + size < start) __builtin_trap();
  arena_used = start + size;
  return arena + start;
}

static uint64_t count;
static promise asked;
static list answered;

EXPORT("add") uint64_t add(uint64_t n) { return count += n; }
EXPORT("get") uint64_t get(void) { return count; }

static void say(const char *word) { log_line(2 /* info */, "errand", 6, word, 5); }

EXPORT("work") uint64_t work(uint64_t ms) {
  say("began");
  int32_t pollable = subscribe_duration(ms * 1000000);
  pollable_block(pollable);
  pollable_drop(pollable);
  count++;
  say("ended");
  return count;
}

EXPORT("ask") uint64_t ask(void) {
  create_promise(&asked);
  return asked.oplog_index;
}

EXPORT("answer") list *answer(void) {
  await_promise(
      asked.component_high, asked.component_low, asked.worker.at, asked.worker.length, asked.oplog_index, &answered);
  return &answered;
}
