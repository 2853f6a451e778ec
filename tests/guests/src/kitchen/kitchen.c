// Every WIT type through a hand-written canonical ABI (wasm32, utf-8, no libc).
//
// Arguments and results of a call lie in an arena above the program's data; it grows as needed and is emptied when the call is
// over. A list, or parameters too many for registers, arrive in memory in the very form in which a result leaves: to echo them
// is to answer with their address. Everything else arrives flattened and is written down field by field.
#include <stddef.h>
#include <stdint.h>

#define API "test:kitchen/api@1.0.0"
#define EXPORT(name) __attribute__((export_name(API "#" name)))
#define DONE(name, function) \
  __attribute__((export_name("cabi_post_" API "#" name))) void function##_done(void *result) { (void)result, arena_reset(); }
#define RESOURCE(name) __attribute__((import_module("[export]" API), import_name(name)))

typedef int32_t i32;
typedef uint32_t u32;
typedef uint64_t u64;
typedef uint8_t byte;

// --- the arena of one call --------------------------------------------------------------------------------------------

enum { PAGE = 65536 };
extern byte __heap_base;
static size_t arena_used;

static void arena_reset(void) { arena_used = 0; }

static void *take(size_t align, size_t size) {
  size_t start = ((size_t)&__heap_base + arena_used + align - 1) & ~(align - 1);
  size_t end = start + size, have = (size_t)__builtin_wasm_memory_size(0) * PAGE;
  if (end < start) __builtin_trap();
  if (end > have && __builtin_wasm_memory_grow(0, (end - have + PAGE - 1) / PAGE) == (size_t)-1) __builtin_trap();
  arena_used = end - (size_t)&__heap_base;
  return (void *)start;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  for (size_t i = 0; i < size; i++) ((byte *)to)[i] = ((const byte *)from)[i];
  return to;
}

__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t align, size_t size) {
  if (size == 0) return (void *)align;
  void *new = take(align, size);
  return memcpy(new, old, old_size < size ? old_size : size);
}

// --- scalars and lists ------------------------------------------------------------------------------------------------

typedef struct { void *at; u32 length; } list;

static list *answer_list(void *at, u32 length) {
  list *result = take(4, sizeof *result);
  *result = (list){at, length};
  return result;
}

#define ECHO(name, function, type) \
  EXPORT(name) type function(type x) { return x; }
#define ECHO_LIST(name, function) \
  EXPORT(name) list *function(void *at, u32 length) { return answer_list(at, length); } \
  DONE(name, function)

ECHO("echo-bool", echo_bool, i32)
ECHO("echo-s8", echo_s8, i32)
ECHO("echo-s16", echo_s16, i32)
ECHO("echo-s32", echo_s32, i32)
ECHO("echo-s64", echo_s64, u64)
ECHO("echo-u8", echo_u8, i32)
ECHO("echo-u16", echo_u16, i32)
ECHO("echo-u32", echo_u32, i32)
ECHO("echo-u64", echo_u64, u64)
ECHO("echo-f32", echo_f32, float)
ECHO("echo-f64", echo_f64, double)
ECHO("echo-char", echo_char, i32)
ECHO("echo-enum", echo_enum, i32)
ECHO("echo-flags", echo_flags, i32)
ECHO("echo-days", echo_days, i32)
ECHO("echo-bare-result", echo_bare_result, i32)
ECHO_LIST("echo-string", echo_string)
ECHO_LIST("echo-bytes", echo_bytes)
ECHO_LIST("echo-list", echo_list)
ECHO_LIST("echo-points", echo_points)
ECHO_LIST("echo-strings", echo_strings)
ECHO_LIST("echo-shapes", echo_shapes)
ECHO_LIST("echo-deep", echo_deep)
EXPORT("echo-many") void *echo_many(void *parameters) { return parameters; }
DONE("echo-many", echo_many)

// --- flattened compounds ----------------------------------------------------------------------------------------------

typedef struct { i32 x, y; } point;
typedef struct { byte is_some; point value; } optional_point;
typedef struct { list name; byte age; list tags; optional_point home; } person;
enum { CIRCLE, RECT, NAMED, TINTED };
typedef struct {
  byte disc;
  union { double circle; double rect[2]; person named; byte tinted; } of;
} shape;

EXPORT("echo-point") point *echo_point(i32 x, i32 y) {
  point *result = take(4, sizeof *result);
  *result = (point){x, y};
  return result;
}
DONE("echo-point", echo_point)

EXPORT("echo-person")
person *echo_person(void *name, u32 name_length, i32 age, void *tags, u32 tags_length, i32 has_home, i32 x, i32 y) {
  person *result = take(4, sizeof *result);
  *result = (person){{name, name_length}, (byte)age, {tags, tags_length}, {(byte)has_home, {x, y}}};
  return result;
}
DONE("echo-person", echo_person)

static double as_double(u64 bits) {
  double value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// The cases share their flat places: p0 is f64 or i32 and travels as i64, so does p1; the others are i32 for all.
#define FLAT_SHAPE i32 disc, u64 p0, u64 p1, i32 p2, void *p3, u32 p4, i32 p5, i32 p6, i32 p7

EXPORT("echo-shape") shape *echo_shape(FLAT_SHAPE) {
  shape *result = take(8, sizeof *result);
  result->disc = (byte)disc;
  switch (disc) {
    case CIRCLE: result->of.circle = as_double(p0); break;
    case RECT: result->of.rect[0] = as_double(p0), result->of.rect[1] = as_double(p1); break;
    case NAMED: result->of.named = (person){{(void *)(u32)p0, (u32)p1}, (byte)p2, {p3, p4}, {(byte)p5, {p6, p7}}}; break;
    case TINTED: result->of.tinted = (byte)p0; break;
  }
  return result;
}
DONE("echo-shape", echo_shape)

typedef struct { list text; u32 number; byte truth; } text_number_truth;
EXPORT("echo-tuple") text_number_truth *echo_tuple(void *text, u32 length, u32 number, i32 truth) {
  text_number_truth *result = take(4, sizeof *result);
  *result = (text_number_truth){{text, length}, number, (byte)truth};
  return result;
}
DONE("echo-tuple", echo_tuple)

EXPORT("echo-option") byte *echo_option(i32 is_some, i32 value) {
  byte *result = take(1, 2);
  return result[0] = (byte)is_some, result[1] = (byte)value, result;
}
DONE("echo-option", echo_option)

EXPORT("echo-nested-option") u32 *echo_nested_option(i32 is_some, i32 is_some_some, void *text, u32 length) {
  u32 *result = take(4, 16);
  return result[0] = is_some, result[1] = is_some_some, result[2] = (u32)text, result[3] = length, result;
}
DONE("echo-nested-option", echo_nested_option)

EXPORT("echo-result") u64 *echo_result(i32 is_err, u64 value) {
  u64 *result = take(8, 16);
  return result[0] = is_err, result[1] = value, result;
}
DONE("echo-result", echo_result)

// --- answers that differ from their arguments -------------------------------------------------------------------------

#define TEXT(text) (void *)(text), sizeof text - 1

typedef struct { byte is_err; union { double ok; list err; } of; } area_result;
EXPORT("area") area_result *area(FLAT_SHAPE) {
  (void)p2, (void)p3, (void)p4, (void)p5, (void)p6, (void)p7;
  area_result *result = take(8, sizeof *result);
  result->is_err = 0;
  switch (disc) {
    case CIRCLE: result->of.ok = 3.141592653589793 * as_double(p0) * as_double(p0); break;
    case RECT: result->of.ok = as_double(p0) * as_double(p1); break;
    case NAMED: result->is_err = 1, result->of.err = (list){(void *)(u32)p0, (u32)p1}; break;
    case TINTED: result->is_err = 1, result->of.err = (list){TEXT("a color has no area")}; break;
    default: result->of.ok = 0; break;
  }
  return result;
}
DONE("area", area)

typedef struct { byte is_some; point low, high; } bounds_result;
EXPORT("bounds") bounds_result *bounds(const point *points, u32 length) {
  bounds_result *result = take(4, sizeof *result);
  result->is_some = length > 0;
  if (length > 0) result->low = result->high = points[0];
  for (u32 i = 1; i < length; i++) {
    if (points[i].x < result->low.x) result->low.x = points[i].x;
    if (points[i].y < result->low.y) result->low.y = points[i].y;
    if (points[i].x > result->high.x) result->high.x = points[i].x;
    if (points[i].y > result->high.y) result->high.y = points[i].y;
  }
  return result;
}
DONE("bounds", bounds)

EXPORT("reverse") list *reverse(byte *bytes, u32 length) {
  for (u32 i = 0; i < length / 2; i++) {
    byte kept = bytes[i];
    bytes[i] = bytes[length - 1 - i], bytes[length - 1 - i] = kept;
  }
  return answer_list(bytes, length);
}
DONE("reverse", reverse)

EXPORT("sum") u64 sum(const u64 *numbers, u32 length) {
  u64 total = 0;
  for (u32 i = 0; i < length; i++) total += numbers[i];
  return arena_reset(), total;
}

EXPORT("check") u32 *check(i32 ok) {
  static const char why[] = "it is not";
  u32 *result = take(4, 12);
  return result[0] = !ok, result[1] = (u32)why, result[2] = sizeof why - 1, result;
}
DONE("check", check)

EXPORT("nothing") void nothing(void) {}
EXPORT("next-color") i32 next_color(i32 color) { return (color + 1) % 3; }
EXPORT("crash") void crash(void) { __builtin_trap(); }
__attribute__((export_name("double"))) u32 twice(u32 n) { return 2 * n; }

// --- a resource -------------------------------------------------------------------------------------------------------

enum { TALLIES_MAX = 4096 };
typedef struct { u64 count; byte used; } tally;
static tally tallies[TALLIES_MAX];
static u32 alive_count;

RESOURCE("[resource-new]tally") i32 tally_new(tally *);
RESOURCE("[resource-rep]tally") tally *tally_rep(i32);
RESOURCE("[resource-drop]tally") void tally_drop(i32);

static i32 make_tally(u64 count) {
  for (tally *t = tallies; t < tallies + TALLIES_MAX; t++)
    if (!t->used) return *t = (tally){count, 1}, alive_count++, tally_new(t);
  __builtin_trap();
}

EXPORT("[dtor]tally") void tally_destroy(tally *t) { t->used = 0, alive_count--; }
EXPORT("[constructor]tally") i32 tally_construct(u64 start) { return make_tally(start); }
EXPORT("[method]tally.add") u64 tally_add(tally *t, u64 n) { return t->count += n; }
EXPORT("[method]tally.value") u64 tally_value(tally *t) { return t->count; }

// An own handle arrives as a handle, a borrow of our own resource as its representation.
EXPORT("[static]tally.merge") i32 tally_merge(i32 a, tally *b) {
  u64 count = tally_rep(a)->count + b->count;
  return tally_drop(a), make_tally(count);
}

EXPORT("make-tallies") list *make_tallies(const u64 *starts, u32 length) {
  i32 *handles = take(4, length * sizeof *handles);
  for (u32 i = 0; i < length; i++) handles[i] = make_tally(starts[i]);
  return answer_list(handles, length);
}
DONE("make-tallies", make_tallies)

EXPORT("total") u64 total(tally *const *borrowed, u32 length) {
  u64 sum = 0;
  for (u32 i = 0; i < length; i++) sum += borrowed[i]->count;
  return arena_reset(), sum;
}

EXPORT("consume") u64 consume(i32 handle) {
  u64 count = tally_rep(handle)->count;
  return tally_drop(handle), count;
}

typedef struct { byte is_some; u64 value; } optional_u64;
EXPORT("maybe-value") optional_u64 *maybe_value(i32 is_some, tally *t) {
  optional_u64 *result = take(8, sizeof *result);
  *result = (optional_u64){(byte)is_some, is_some ? t->count : 0};
  return result;
}
DONE("maybe-value", maybe_value)

EXPORT("alive") u32 alive(void) { return alive_count; }
