;; A counter: the smallest worker worth having. It adds, it answers, and it never loses count.
;;
;; WIT:  package demo:counter@1.0.0;
;;       interface api { add: func(n: u64) -> u64; get: func() -> u64; }
(component
  ;; The program: one number in a global. Nobody saves it anywhere: the worker's log does.
  (core module $program
    (global $count (mut i64) (i64.const 0))
    (func (export "add") (param $n i64) (result i64)
      (global.set $count (i64.add (global.get $count) (local.get $n)))
      (global.get $count))
    (func (export "get") (result i64)
      (global.get $count)))
  (core instance $program (instantiate $program))

  ;; Its functions with WIT types, exported as an interface.
  (func $add (param "n" u64) (result u64) (canon lift (core func $program "add")))
  (func $get (result u64) (canon lift (core func $program "get")))
  (instance $api
    (export "add" (func $add))
    (export "get" (func $get)))
  (export "demo:counter/api@1.0.0" (instance $api)))
