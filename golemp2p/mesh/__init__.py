"""The transport between nodes: both ends are proved, nobody else reads or changes a byte, and small things share a write.

    network     who is connected: dial by key, listen, one connection per pair     link, door, conduct, backoff, registry
    session     one connection: everything queued in a turn leaves in one write    opening, writer, asking, serving, calls
    frames      length and CBOR: messages, requests, answers, chunks, credit       hello: versions and limits
    records     sealed in order, closed by a sealed end                            one per flush
    handshake   mesh key, own keys, fresh secrets                                  Secret Handshake
    streams     bytes: TCP over IPv4 and IPv6, or memory in tests

The lower four are sans-IO: bytes in, bytes out.
"""
