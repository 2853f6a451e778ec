"""Large payloads and components: content-addressed, fetched from peer to peer, held by a majority before a log names them."""
