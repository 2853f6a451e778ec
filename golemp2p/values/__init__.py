"""WIT values in all their forms, driven by one tree of types (``model.wit``).

    json      JSON in and out (json_decode: the reading half)      params     the parameters of an invocation
    check     complete check of values that are already Python     cbor       the journal's encoding of values
    wave      text, reading and printing (wave_parse, wave_text)   cbor_types a component's type, for its entry
    names     function names; resolve: what they mean              typ        a type as Golem's JSON
    wit_text  WIT text of a component (wit_interface)              analysed   export trees, JSON schemas

Below them: ``compiled`` (work done once per type), ``mismatch`` (errors that know their path), ``scalars``, ``handles``,
``type_text``.
"""
