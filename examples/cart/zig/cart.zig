//! A shopping cart in Zig, without WASI's libc: the canonical ABI is written by hand with Zig's own types.
//!
//! Memory: the cart and its last receipt are globals; what belongs to one call (its arguments, which the caller allocates
//! through cabi_realloc, and its result) lies in an arena that is emptied when the call is over.

const std = @import("std");

const items_max = 32;
const name_bytes_max = 64;
const quantity_max = 1_000_000;
const step_ns = 1_500_000_000;

// --- what the canonical ABI puts into memory --------------------------------------------------------------------------

const String = extern struct { ptr: [*]const u8, len: u32 };
const Item = extern struct { name: String, quantity: u32 };
const Items = extern struct { ptr: [*]const Item, len: u32 };
const Receipt = extern struct { number: u32, items: Items, pieces: u32 };
const ErrorCase = enum(u32) { empty, unknown_item, invalid };
const CartError = extern struct { case: ErrorCase, text: String };

fn Result(comptime T: type) type {
    return extern struct {
        is_err: u32,
        payload: extern union { ok: T, err: CartError },

        const Self = @This();

        fn ok(value: T) *Self {
            return keep(Self, .{ .is_err = 0, .payload = .{ .ok = value } });
        }

        fn err(case: ErrorCase, text: []const u8) *Self {
            const failure = CartError{ .case = case, .text = .{ .ptr = text.ptr, .len = text.len } };
            return keep(Self, .{ .is_err = 1, .payload = .{ .err = failure } });
        }
    };
}

const OptionalReceipt = extern struct { is_some: u32, value: Receipt };

// --- imports ----------------------------------------------------------------------------------------------------------

const clock = struct {
    extern "wasi:clocks/monotonic-clock@0.2.0" fn @"subscribe-duration"(ns: u64) i32;
};
const poll = struct {
    extern "wasi:io/poll@0.2.0" fn @"[method]pollable.block"(pollable: i32) void;
    extern "wasi:io/poll@0.2.0" fn @"[resource-drop]pollable"(pollable: i32) void;
};
const logging = struct {
    const info = 2;
    extern "wasi:logging/logging" fn log(level: u32, context: [*]const u8, context_len: usize, message: [*]const u8, message_len: usize) void;
};

// --- the arena of one call --------------------------------------------------------------------------------------------

var arena: [64 * 1024]u8 align(16) = undefined;
var arena_used: usize = 0;

fn take(alignment: usize, size: usize) [*]u8 {
    const start = (arena_used + alignment - 1) & ~(alignment - 1);
    if (start > arena.len or size > arena.len - start) @trap();
    arena_used = start + size;
    return arena[start..].ptr;
}

fn keep(comptime T: type, value: T) *T {
    const place: *T = @ptrCast(@alignCast(take(@alignOf(T), @sizeOf(T))));
    place.* = value;
    return place;
}

export fn cabi_realloc(old: [*]const u8, old_size: usize, alignment: usize, size: usize) [*]u8 {
    if (size == 0) return @ptrFromInt(alignment);
    const new = take(alignment, size);
    const kept = @min(old_size, size);
    @memcpy(new[0..kept], old[0..kept]);
    return new;
}

fn callDone(_: *anyopaque) callconv(.c) void {
    arena_used = 0;
}

// --- the cart ---------------------------------------------------------------------------------------------------------

const Entry = struct {
    bytes: [name_bytes_max]u8,
    len: usize,
    quantity: u32,

    fn name(entry: *const Entry) []const u8 {
        return entry.bytes[0..entry.len];
    }
};

/// Entries sorted by name.
const Basket = struct {
    entries: [items_max]Entry = undefined,
    count: usize = 0,

    const Place = struct { index: usize, found: bool };

    /// Where `name` is, or where it would stand.
    fn find(basket: *const Basket, name: []const u8) Place {
        for (basket.entries[0..basket.count], 0..) |*entry, index| switch (std.mem.order(u8, name, entry.name())) {
            .lt => return .{ .index = index, .found = false },
            .eq => return .{ .index = index, .found = true },
            .gt => {},
        };
        return .{ .index = basket.count, .found = false };
    }

    fn insert(basket: *Basket, index: usize, name: []const u8) void {
        var i = basket.count;
        while (i > index) : (i -= 1) basket.entries[i] = basket.entries[i - 1];
        basket.count += 1;
        const entry = &basket.entries[index];
        entry.len = name.len;
        entry.quantity = 0;
        @memcpy(entry.bytes[0..name.len], name);
    }

    fn remove(basket: *Basket, index: usize) void {
        basket.count -= 1;
        for (index..basket.count) |i| basket.entries[i] = basket.entries[i + 1];
    }

    fn items(basket: *const Basket) Items {
        const list: [*]Item = @ptrCast(@alignCast(take(@alignOf(Item), basket.count * @sizeOf(Item))));
        for (basket.entries[0..basket.count], 0..) |*entry, i|
            list[i] = .{ .name = .{ .ptr = entry.name().ptr, .len = entry.name().len }, .quantity = entry.quantity };
        return .{ .ptr = list, .len = basket.count };
    }

    fn pieces(basket: *const Basket) u32 {
        var sum: u32 = 0;
        for (basket.entries[0..basket.count]) |entry| sum += entry.quantity;
        return sum;
    }
};

var cart = Basket{};
var sold = Basket{};
var receipts_count: u32 = 0;

fn newestReceipt() Receipt {
    return .{ .number = receipts_count, .items = sold.items(), .pieces = sold.pieces() };
}

fn step(comptime line: []const u8) void {
    logging.log(logging.info, "cart", 4, line.ptr, line.len);
    const pollable = clock.@"subscribe-duration"(step_ns);
    poll.@"[method]pollable.block"(pollable);
    poll.@"[resource-drop]pollable"(pollable);
}

// --- exports ----------------------------------------------------------------------------------------------------------

fn addItem(name_ptr: [*]const u8, name_len: usize, quantity: u32) callconv(.c) *Result(u32) {
    const name = name_ptr[0..name_len];
    const place = cart.find(name);
    const before = if (place.found) cart.entries[place.index].quantity else 0;
    if (name.len < 1 or name.len > name_bytes_max) return Result(u32).err(.invalid, "a name has 1 to 64 bytes");
    if (quantity < 1 or quantity > quantity_max - before) return Result(u32).err(.invalid, "a quantity is 1 to 1000000");
    if (!place.found) {
        if (cart.count == items_max) return Result(u32).err(.invalid, "a cart holds 32 different items");
        cart.insert(place.index, name);
    }
    cart.entries[place.index].quantity = before + quantity;
    return Result(u32).ok(before + quantity);
}

fn removeItem(name_ptr: [*]const u8, name_len: usize) callconv(.c) *Result(u32) {
    const place = cart.find(name_ptr[0..name_len]);
    if (!place.found) return Result(u32).err(.unknown_item, name_ptr[0..name_len]);
    const quantity = cart.entries[place.index].quantity;
    cart.remove(place.index);
    return Result(u32).ok(quantity);
}

fn contents() callconv(.c) *Items {
    return keep(Items, cart.items());
}

fn checkout() callconv(.c) *Result(Receipt) {
    if (cart.count == 0) return Result(Receipt).err(.empty, "");
    step("checkout, step 1 of 3: reserving the goods");
    step("checkout, step 2 of 3: charging the card");
    step("checkout, step 3 of 3: booking the courier");
    receipts_count += 1;
    sold = cart;
    cart.count = 0;
    return Result(Receipt).ok(newestReceipt());
}

fn lastReceipt() callconv(.c) *OptionalReceipt {
    const value = if (receipts_count > 0) newestReceipt() else std.mem.zeroes(Receipt);
    return keep(OptionalReceipt, .{ .is_some = @intFromBool(receipts_count > 0), .value = value });
}

comptime {
    const functions = .{
        .{ "add-item", &addItem },
        .{ "remove-item", &removeItem },
        .{ "contents", &contents },
        .{ "checkout", &checkout },
        .{ "last-receipt", &lastReceipt },
    };
    for (functions) |function| {
        const name = "demo:cart/api@1.0.0#" ++ function[0];
        @export(function[1], .{ .name = name });
        @export(&callDone, .{ .name = "cabi_post_" ++ name });
    }
}
