// The guest of the benchmarks: a few instructions around each host call.
#include <stddef.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name("test:bench/api@1.0.0#" name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

typedef struct { uint64_t seconds; uint32_t nanoseconds; } datetime;

IMPORT("wasi:clocks/wall-clock@0.2.0", "now") void wall_clock_now(datetime *result);
IMPORT("wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration") int32_t subscribe_duration(uint64_t ns);
IMPORT("wasi:io/poll@0.2.0", "[method]pollable.block") void pollable_block(int32_t pollable);
IMPORT("wasi:io/poll@0.2.0", "[resource-drop]pollable") void pollable_drop(int32_t pollable);
IMPORT("wasi:logging/logging", "log")
void log_line(int32_t level, const char *context, size_t context_length, const char *message, size_t message_length);

static uint64_t count;

EXPORT("add") uint64_t add(uint64_t n) { return count += n; }
EXPORT("get") uint64_t get(void) { return count; }

EXPORT("clock-reads") uint64_t clock_reads(uint32_t n) {
  datetime now = {0, 0};
  while (n-- > 0) wall_clock_now(&now);
  return now.seconds;
}

EXPORT("sleep") void sleep_ms(uint64_t ms) {
  int32_t pollable = subscribe_duration(ms * 1000000);
  pollable_block(pollable);
  pollable_drop(pollable);
}

EXPORT("sleep-lateness") int64_t sleep_lateness(uint64_t ms) {
  datetime before, after;
  wall_clock_now(&before);
  sleep_ms(ms);
  wall_clock_now(&after);
  int64_t passed = (int64_t)(after.seconds - before.seconds) * 1000000000 + after.nanoseconds - before.nanoseconds;
  return passed - (int64_t)ms * 1000000;
}

EXPORT("spin") uint64_t spin(uint64_t n) {
  uint64_t state = n + 1;
  while (n-- > 0) state = (state ^ n) * 6364136223846793005u;
  return state;
}

EXPORT("spin-forever") void spin_forever(void) {
  for (volatile uint64_t rounds = 0;; rounds++) continue;
}

EXPORT("allocate") uint32_t allocate(uint32_t pages) {
  size_t before = __builtin_wasm_memory_grow(0, pages);
  if (before == (size_t)-1) return 0;
  for (size_t page = before; page < before + pages; page++) *(volatile uint8_t *)(page * 65536) = 1;
  return (uint32_t)(before + pages);
}

EXPORT("log-lines") void log_lines(uint32_t n) {
  while (n-- > 0) log_line(2 /* info */, "bench", 5, "a line of the log", 17);
}

EXPORT("crash") void crash(void) { __builtin_trap(); }

__attribute__((noinline)) static uint64_t descend(uint64_t depth) {
  volatile uint64_t kept = depth;  // so that there is something to keep on every level
  return depth == 0 ? 0 : descend(depth - 1) + (kept == depth);
}

EXPORT("recurse") uint64_t recurse(uint64_t depth) { return descend(depth); }
