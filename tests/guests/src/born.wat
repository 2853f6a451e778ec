;; Asks the host for random numbers while it is being instantiated: such calls belong into the journal too.
;; It draws once in its start function and keeps what it got; `draw` asks again.
(component
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-u64" (func (result u64)))))
  (core func $draw (canon lower (func $random "get-random-u64")))
  (core module $program
    (import "random" "draw" (func $draw (result i64)))
    (global $born (mut i64) (i64.const 0))
    (func $start (global.set $born (call $draw)))
    (start $start)
    (func (export "born") (result i64) (global.get $born))
    (func (export "draw") (result i64) (call $draw)))
  (core instance $program (instantiate $program
    (with "random" (instance (export "draw" (func $draw))))))
  (func $born (result u64) (canon lift (core func $program "born")))
  (func $draw-again (result u64) (canon lift (core func $program "draw")))
  (instance $api
    (export "born" (func $born))
    (export "draw" (func $draw-again)))
  (export "test:born/api@1.0.0" (instance $api)))
