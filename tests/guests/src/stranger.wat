;; Imports what no host has, and gets along without it until it calls it.
(component
  (import "acme:teleport/beam@2.0.0" (instance $beam
    (export "engage" (func (param "speed" u32) (result u32)))))
  (core func $engage (canon lower (func $beam "engage")))
  (core module $program
    (import "beam" "engage" (func $engage (param i32) (result i32)))
    (global $calls (mut i32) (i32.const 0))
    (func (export "walk") (result i32)
      (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
      (global.get $calls))
    (func (export "teleport") (param i32) (result i32) (call $engage (local.get 0))))
  (core instance $program (instantiate $program
    (with "beam" (instance (export "engage" (func $engage))))))
  (func $walk (result u32) (canon lift (core func $program "walk")))
  (func $teleport (param "speed" u32) (result u32) (canon lift (core func $program "teleport")))
  (instance $api
    (export "walk" (func $walk))
    (export "teleport" (func $teleport)))
  (export "test:stranger/api@1.0.0" (instance $api)))
